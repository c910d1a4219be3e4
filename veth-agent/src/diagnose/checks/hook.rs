//! Programs of others, ahead of ours: what they take, ours does not see.

use crate::{
    diagnose::{Case, End, Finding},
    fastpath::EndFacts,
    shell::quote,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    case.ends()
        .filter_map(|end| {
            let hooks = case.facts(end.netns)?.hooks.get(&end.id.ifindex)?;
            ahead(case, &end, hooks)
        })
        .collect()
}

fn ahead(case: &Case<'_>, end: &End<'_>, hooks: &EndFacts) -> Option<Finding> {
    let first = hooks.ahead_on_ingress.first()?;
    let what = format!("on {} ingress, {first} runs ahead of ours", case.name_of(end));
    let finding = Finding::warning("hook", end.id, what).because(
        "what it takes is not counted and not redirected",
        "BPF_PROG_QUERY, RTM_GETTFILTER",
    );
    Some(match priority_of(first) {
        Some(priority) => {
            let command = format!("filter del dev {} ingress pref {priority}", end.word());
            finding.mended_by(case.tc(end.netns, &command))
        }
        // Ours go to the front when they are attached.
        None => again(case, end, finding),
    })
}

/// Priority of a filter that is told as such, with a program or without.
pub fn priority_of(filter: &str) -> Option<&str> {
    let filter = filter.strip_prefix("program ").unwrap_or(filter);
    filter.strip_prefix("filter at priority ")?.split(' ').next()
}

fn again(case: &Case<'_>, end: &End<'_>, finding: Finding) -> Finding {
    let detached = finding.mended_by(format!("veth-agent detach {}", quote(&case.pair_of(end.id))));
    let declared =
        case.pairs.iter().any(|pair| pair.mark.is_some() && pair.ends().any(|own| own == end.id));
    detached
        .mended_by(if declared { "veth-agent apply -f FILE" } else { "veth-agent run" }.to_owned())
}
