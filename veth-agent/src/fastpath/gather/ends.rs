//! What stands at a near end.

use aya::programs::SchedClassifier;

use super::sysctl;
use crate::{
    datapath::{self, HookName, Pins},
    fastpath::EndFacts,
    inventory::Link,
    netlink::{self, NetlinkError},
    types::NetnsCookie,
};

/// Looks at one end.
pub fn look(pins: &Pins, netns: NetnsCookie, link: &Link) -> Result<EndFacts, String> {
    let ours = datapath::program_ids(pins, netns);
    let mut facts =
        EndFacts { forwards_ipv4: sysctl::forwards_ipv4(&link.name), ..Default::default() };
    for (hook, ours) in HookName::BOTH.into_iter().zip(ours) {
        let chain = chain(link, hook).map_err(|error| format!("{}: {error}", link.name))?;
        let is_ours = |entry: &Entry| ours.is_some() && entry.program == ours;
        match hook {
            HookName::Ingress => {
                let behind = chain.iter().skip_while(|entry| !is_ours(entry)).skip(1);
                facts.behind_on_ingress = behind.map(Entry::describe).collect();
            }
            HookName::Egress => {
                let beside = chain.iter().filter(|entry| !is_ours(entry));
                facts.beside_on_egress = beside.map(Entry::describe).collect();
            }
        }
    }
    facts.qdisc = root_qdisc(link).map_err(|error| format!("{}: {error}", link.name))?;
    Ok(facts)
}

/// A program or filter on a hook.
struct Entry {
    program: Option<u32>,
    name: String,
}

impl Entry {
    fn describe(&self) -> String {
        match self.program {
            Some(id) => format!("program {} (id {id})", self.name),
            None => self.name.clone(),
        }
    }
}

/// All that runs on a hook, in order.
fn chain(link: &Link, hook: HookName) -> Result<Vec<Entry>, NetlinkError> {
    let mut chain = Vec::new();
    // A kernel without TCX has no such chain.
    if let Ok((_, programs)) = SchedClassifier::query_tcx(&link.name, datapath::attach_type(hook)) {
        chain.extend(programs.iter().map(|program| Entry {
            program: Some(program.id()),
            name: program.name_as_str().unwrap_or("?").to_owned(),
        }));
    }
    let filters = netlink::block_on(async |connection| {
        datapath::filters(&connection, link.index, hook).await
    })?;
    chain.extend(filters.iter().map(|filter| Entry {
        program: filter.program,
        name: format!("filter at priority {}", filter.priority),
    }));
    Ok(chain)
}

fn root_qdisc(link: &Link) -> Result<Option<String>, NetlinkError> {
    netlink::block_on(async |connection| netlink::root_qdisc(&connection, link.index.0).await)
}
