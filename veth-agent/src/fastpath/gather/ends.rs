//! What stands at a near end.

use super::sysctl;
use crate::{
    datapath::{self, Filter, HookName, Pins},
    fastpath::EndFacts,
    inventory::{self, Link},
    netlink::{self, Connection, NetlinkError},
    types::NetnsCookie,
};

/// Looks at one end.
pub fn look(pins: &Pins, netns: NetnsCookie, link: &Link) -> Result<EndFacts, String> {
    let ours = datapath::program_ids(pins, netns);
    let mut facts =
        EndFacts { forwards_ipv4: sysctl::forwards_ipv4(&link.name), ..Default::default() };
    let asked = netlink::block_on(async |connection| ask(&connection, link).await);
    let (filters, qdisc) = asked.map_err(|error| format!("{}: {error}", link.name))?;
    facts.qdisc = qdisc;
    for ((hook, ours), filters) in HookName::BOTH.into_iter().zip(ours).zip(&filters) {
        let chain = chain(link, hook, filters);
        let is_ours = |entry: &Entry| ours.is_some() && entry.program == ours;
        match hook {
            HookName::Ingress => {
                let ahead = chain.iter().take_while(|entry| !is_ours(entry));
                facts.ahead_on_ingress = ahead.map(Entry::describe).collect();
                let behind = chain.iter().skip_while(|entry| !is_ours(entry)).skip(1);
                facts.behind_on_ingress = behind.map(Entry::describe).collect();
            }
            HookName::Egress => {
                let beside = chain.iter().filter(|entry| !is_ours(entry));
                facts.beside_on_egress = beside.map(Entry::describe).collect();
            }
        }
    }
    Ok(facts)
}

/// Id of the XDP program on an interface.
pub fn xdp_program(link: &Link) -> Result<Option<u32>, NetlinkError> {
    let found = netlink::block_on(async |connection| netlink::link(&connection, link.index).await)?;
    Ok(inventory::read_link(&found).xdp)
}

/// The filters on both hooks and the root qdisc, over one socket.
async fn ask(
    connection: &Connection,
    link: &Link,
) -> Result<([Vec<Filter>; 2], Option<String>), NetlinkError> {
    let [ingress, egress] = HookName::BOTH;
    let filters = [
        datapath::filters(connection, link.index, ingress).await?,
        datapath::filters(connection, link.index, egress).await?,
    ];
    Ok((filters, netlink::root_qdisc(connection, link.index.0).await?))
}

/// A program or filter on a hook.
struct Entry {
    program: Option<u32>,
    name: String,
}

impl Entry {
    fn describe(&self) -> String {
        match self.program {
            Some(id) if self.name.is_empty() => format!("a program without a name (id {id})"),
            Some(id) => format!("program {} (id {id})", self.name),
            None => self.name.clone(),
        }
    }
}

/// All that runs on a hook, in order.
fn chain(link: &Link, hook: HookName, filters: &[Filter]) -> Vec<Entry> {
    let programs = datapath::tcx_chain(&link.name, hook);
    let mut chain: Vec<_> = programs
        .iter()
        .map(|program| Entry {
            program: Some(program.id()),
            name: program.name_as_str().unwrap_or("?").to_owned(),
        })
        .collect();
    chain.extend(filters.iter().map(|filter| Entry {
        program: filter.program,
        name: format!("filter at priority {}", filter.priority),
    }));
    chain
}
