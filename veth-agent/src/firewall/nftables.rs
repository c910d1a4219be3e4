//! Base chains of nftables, over netlink (`include/uapi/linux/netfilter/nf_tables.h`). The tool need
//! not be installed.

use std::collections::BTreeMap;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc::{EINVAL, EOPNOTSUPP, EPROTONOSUPPORT};

use super::{Chain, Hook};
use crate::netlink::{self, NetlinkError, attributes, nested, text};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte, the message in the lower.
const GET_CHAIN: u16 = 10 << 8 | 4;
pub(super) const GET_RULE: u16 = 10 << 8 | 7;
/// `struct nfgenmsg`: any family, version 0.
pub(super) const GENERIC: [u8; 4] = [0; 4];

/// Attributes of a chain.
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
const CHAIN_COUNTERS: u16 = 8;
/// Attributes of a hook.
const HOOK_NUMBER: u16 = 1;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;
/// Attributes of a rule.
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
/// Attribute of a counter.
const COUNTER_PACKETS: u16 = 2;

/// `NF_DROP`.
pub(super) const DROP: u32 = 0;

/// The base chains of the calling thread's namespace.
///
/// # Errors
/// What cannot be read, in one line.
pub fn base_chains() -> Result<Vec<Chain>, String> {
    let failed = |error: NetlinkError| format!("nftables: {error}");
    let chains = match netlink::dump(NETLINK_NETFILTER, "nftables chains", GET_CHAIN, &GENERIC) {
        Ok(chains) => chains,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut chains: Vec<_> = chains.iter().filter_map(|(_, message)| chain(message)).collect();
    if chains.iter().any(|chain| chain.rules > 0) {
        let rules = netlink::dump(NETLINK_NETFILTER, "nftables rules", GET_RULE, &GENERIC);
        let first = first_rules(&rules.map_err(failed)?);
        for chain in &mut chains {
            let key = (chain.family, chain.table.clone(), chain.name.clone());
            chain.first_rule = first.get(&key).copied();
        }
    }
    Ok(chains)
}

pub(super) fn packets(counter: &[u8]) -> Option<u64> {
    let packets = attributes(counter);
    packets.get(&COUNTER_PACKETS)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// A kernel without nftables says so in one of these ways.
pub(super) fn is_absent(error: &NetlinkError) -> bool {
    match error {
        NetlinkError::Refused(error) | NetlinkError::Socket(error) => {
            matches!(error.raw_os_error(), Some(EINVAL | EOPNOTSUPP | EPROTONOSUPPORT))
        }
        _ => false,
    }
}

pub(super) fn number(bytes: Option<&Vec<u8>>) -> Option<u32> {
    bytes?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A base chain; another chain has no hook.
fn chain(message: &[u8]) -> Option<Chain> {
    let family = family(*message.first()?);
    let attributes = attributes(message.get(GENERIC.len()..)?);
    let hook = netlink::attributes(attributes.get(&CHAIN_HOOK)?);
    Some(Chain {
        family,
        table: text(attributes.get(&CHAIN_TABLE)?),
        name: text(attributes.get(&CHAIN_NAME)?),
        hook: hook_of(family, number(hook.get(&HOOK_NUMBER))?)?,
        devices: devices(&hook),
        rules: number(attributes.get(&CHAIN_USE)).unwrap_or(0),
        first_rule: None,
        drops: number(attributes.get(&CHAIN_POLICY)) == Some(DROP),
        packets: attributes.get(&CHAIN_COUNTERS).and_then(|counters| packets(counters)),
    })
}

fn devices(hook: &BTreeMap<u16, Vec<u8>>) -> Vec<String> {
    let one = hook.get(&HOOK_DEVICE).map(|name| text(name));
    let many = hook.get(&HOOK_DEVICES).map(Vec::as_slice).unwrap_or_default();
    one.into_iter().chain(nested(many).map(|(_, name)| text(&name))).collect()
}

/// `NFPROTO_*`, `include/uapi/linux/netfilter.h`.
const fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

/// `enum nf_inet_hooks`, and `enum nf_dev_hooks` for devices.
const fn hook_of(family: &str, number: u32) -> Option<Hook> {
    Some(match (matches!(family.as_bytes(), b"netdev"), number) {
        (true, 0) | (false, 5) => Hook::Ingress,
        (true, 1) => Hook::Egress,
        (false, 0) => Hook::Prerouting,
        (false, 1) => Hook::Input,
        (false, 2) => Hook::Forward,
        (false, 3) => Hook::Output,
        (false, 4) => Hook::Postrouting,
        _ => return None,
    })
}

/// Family, table and name of a chain.
pub(super) type ChainKey = (&'static str, String, String);

/// Handle of the first rule of each chain.
fn first_rules(rules: &[(u16, Vec<u8>)]) -> BTreeMap<ChainKey, u64> {
    let mut first = BTreeMap::new();
    for (_, message) in rules {
        if let Some((key, handle)) = rule(message) {
            first.entry(key).or_insert(handle);
        }
    }
    first
}

pub(super) fn rule(message: &[u8]) -> Option<(ChainKey, u64)> {
    let attributes = attributes(message.get(GENERIC.len()..)?);
    let table = text(attributes.get(&RULE_TABLE)?);
    let chain = text(attributes.get(&RULE_CHAIN)?);
    let handle =
        attributes.get(&RULE_HANDLE)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    Some(((family(*message.first()?), table, chain), handle?))
}
