//! Namespaces that were made for a pair, and have none.

use crate::{
    diagnose::{Case, Finding},
    inventory::Namespace,
    mark,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let namespaces = case.snapshot.namespaces.values();
    namespaces
        .filter(|netns| is_deserted(netns))
        .filter_map(|netns| deserted(case, netns))
        .collect()
}

fn is_deserted(netns: &Namespace) -> bool {
    let marked = netns.link_named("lo").and_then(|lo| lo.alias.as_deref()) == Some(mark::NETNS);
    marked && !netns.links.values().any(|link| link.kind.is_paired())
}

fn deserted(case: &Case<'_>, netns: &Namespace) -> Option<Finding> {
    let lo = netns.link_named("lo")?;
    let what = format!("{} has no end left of the pair that it was made for", case.label(netns));
    Some(
        Finding::error("gone", netns.end(lo.index), what)
            .because(format!("lo is marked {:?}", mark::NETNS), "IFLA_IFALIAS")
            .because("a deleted end, or namespace, takes both ends with it", "drivers/net/veth.c")
            .mended_by("veth-agent apply -f FILE".to_owned()),
    )
}
