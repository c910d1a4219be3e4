//! Rules and policies of nftables that drop or reject, and the chains that packets come to them by
//! (`include/uapi/linux/netfilter/nf_tables.h`).

use std::collections::{BTreeMap, BTreeSet};

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{
    Chain, Place, Rule,
    nftables::{ChainKey, DROP, GENERIC, GET_RULE, is_absent, number, packets, rule},
    reach::places_of,
    words,
};
use crate::netlink::{self, attributes, nested, text};

const GET_ELEMENTS: u16 = 10 << 8 | 13;

const RULE_EXPRESSIONS: u16 = 4;
/// Attributes of an expression, and of those that matter here.
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const LOOKUP_SET: u16 = 1;
const LOOKUP_INTO: u16 = 3;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const TARGET_NAME: u16 = 1;
/// Attributes of a list of elements, and of an element.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_DATA: u16 = 2;

/// `NFT_REG_VERDICT`: what is looked up is a verdict.
const VERDICT_REGISTER: u32 = 0;

/// What drops or rejects, of all chains that packets come to.
///
/// # Errors
/// What cannot be read, in one line.
pub fn rules(chains: &[Chain]) -> Result<Vec<Rule>, String> {
    let failed = |error| format!("nftables: {error}");
    let messages = match netlink::dump(NETLINK_NETFILTER, "nftables rules", GET_RULE, &GENERIC) {
        Ok(messages) => messages,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut read = Vec::new();
    let mut leads_to: BTreeMap<ChainKey, BTreeSet<ChainKey>> = BTreeMap::new();
    for (_, message) in &messages {
        let Some((key, does)) = expressions(message) else { continue };
        let mut does = does;
        if let Some(map) = does.map.clone() {
            let verdicts = elements(message, &key, &map).map_err(failed)?;
            does.drops_by_map = verdicts.iter().any(Verdict::drops);
            does.chains.extend(verdicts.into_iter().filter_map(|verdict| verdict.chain));
        }
        let targets = does.chains.iter().map(|chain| (key.0.0, key.0.1.clone(), chain.clone()));
        leads_to.entry(key.0.clone()).or_default().extend(targets);
        read.push((key, does));
    }
    let met = places_of(
        chains.iter().map(|chain| {
            ((chain.family, chain.table.clone(), chain.name.clone()), Place::of(chain))
        }),
        &leads_to,
    );
    let rules = read.into_iter().filter(|(_, does)| does.drops || does.drops_by_map);
    let rules = rules.filter_map(|((key, handle), does)| {
        Some(of_expressions(met.get(&key)?.clone(), key, handle, &does))
    });
    Ok(rules.chain(chains.iter().filter(|chain| chain.drops).map(policy)).collect())
}

fn of_expressions(met: BTreeSet<Place>, key: ChainKey, handle: u64, does: &Expressions) -> Rule {
    let (family, table, chain) = key;
    Rule {
        name: format!("nft {family} {table} {chain}: rule handle {handle}"),
        place: format!("nft {family} {table} {chain}"),
        met,
        handle: Some(handle),
        // It counts what its map lets through, too.
        packets: does.packets.filter(|_| !does.drops_by_map),
        takes_all: !does.chooses,
        remove: (!does.drops_by_map).then(|| words::delete_rule(family, &table, &chain, handle)),
    }
}

/// What no rule of a chain takes.
fn policy(chain: &Chain) -> Rule {
    let Chain { family, table, name, .. } = chain;
    let place = format!("nft {family} {table} {name}");
    Rule {
        name: format!("{place}, policy drop"),
        place,
        met: BTreeSet::from([Place::of(chain)]),
        handle: None,
        packets: chain.packets,
        takes_all: false,
        remove: None,
    }
}

/// What the expressions of a rule do, as far as it matters here.
#[derive(Default)]
struct Expressions {
    drops: bool,
    /// A verdict of its map drops.
    drops_by_map: bool,
    /// They look at the packet first.
    chooses: bool,
    packets: Option<u64>,
    /// Where packets are sent on to.
    chains: BTreeSet<String>,
    /// The map that verdicts are looked up in.
    map: Option<String>,
}

impl Expressions {
    fn read(list: &[u8]) -> Self {
        let mut expressions = Self::default();
        for (_, expression) in nested(list) {
            let expression = attributes(&expression);
            let name = expression.get(&EXPRESSION_NAME).map(|name| text(name));
            let data = expression.get(&EXPRESSION_DATA).map(Vec::as_slice).unwrap_or_default();
            expressions.add(name.as_deref().unwrap_or_default(), data);
        }
        expressions
    }

    fn add(&mut self, name: &str, data: &[u8]) {
        match name {
            "immediate" => {
                let verdict = attributes(data).get(&IMMEDIATE_DATA).map(|data| Verdict::read(data));
                let verdict = verdict.unwrap_or_default();
                self.drops |= verdict.drops();
                self.chains.extend(verdict.chain);
            }
            "reject" => self.drops = true,
            "target" => self.drops |= is_reject(data),
            "counter" => self.packets = packets(data),
            "log" => {}
            _ => {
                self.map = self.map.take().or_else(|| map(name, data));
                self.chooses = true;
                // What was counted before is not all taken.
                self.packets = None;
            }
        }
    }
}

/// A map of verdicts that an expression looks into.
fn map(name: &str, data: &[u8]) -> Option<String> {
    let lookup = attributes(data);
    let verdicts = name == "lookup" && number(lookup.get(&LOOKUP_INTO)) == Some(VERDICT_REGISTER);
    verdicts.then(|| lookup.get(&LOOKUP_SET).map(|name| text(name)))?
}

#[derive(Default)]
struct Verdict {
    code: Option<u32>,
    chain: Option<String>,
}

impl Verdict {
    fn read(data: &[u8]) -> Self {
        let data = attributes(data);
        let verdict = data.get(&DATA_VERDICT).map(|verdict| attributes(verdict));
        let verdict = verdict.unwrap_or_default();
        let chain = verdict.get(&VERDICT_CHAIN).map(|name| text(name));
        Self { code: number(verdict.get(&VERDICT_CODE)), chain }
    }

    fn drops(&self) -> bool {
        self.code == Some(DROP)
    }
}

/// What `iptables-nft` makes of `-j REJECT`.
fn is_reject(target: &[u8]) -> bool {
    attributes(target).get(&TARGET_NAME).is_some_and(|name| text(name) == "REJECT")
}

fn expressions(message: &[u8]) -> Option<((ChainKey, u64), Expressions)> {
    let key = rule(message)?;
    let attributes = attributes(message.get(GENERIC.len()..)?);
    let expressions = attributes.get(&RULE_EXPRESSIONS).map(Vec::as_slice).unwrap_or_default();
    Some((key, Expressions::read(expressions)))
}

/// The verdicts of a map that a rule looks into.
fn elements(
    rule: &[u8],
    ((_, table, _), _): &(ChainKey, u64),
    map: &str,
) -> Result<Vec<Verdict>, netlink::NetlinkError> {
    let mut body = GENERIC.to_vec();
    body[0] = rule.first().copied().unwrap_or_default();
    add_text(&mut body, LIST_TABLE, table);
    add_text(&mut body, LIST_SET, map);
    let lists = netlink::dump(NETLINK_NETFILTER, "nftables elements", GET_ELEMENTS, &body)?;
    let verdicts = lists.iter().flat_map(|(_, message)| {
        let list = attributes(message.get(GENERIC.len()..).unwrap_or_default());
        let elements = list.get(&LIST_ELEMENTS).map(Vec::as_slice).unwrap_or_default();
        let verdicts = nested(elements).filter_map(|(_, element)| {
            attributes(&element).get(&ELEMENT_DATA).map(|data| Verdict::read(data))
        });
        verdicts.collect::<Vec<_>>()
    });
    Ok(verdicts.collect())
}

/// An attribute that is text, padded to the next.
fn add_text(body: &mut Vec<u8>, kind: u16, text: &str) {
    let length = u16::try_from(4 + text.len() + 1).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(text.as_bytes());
    body.push(0);
    body.resize(body.len().next_multiple_of(4), 0);
}
