//! Programs of others, ahead of ours: what they take, ours does not see.

use crate::{
    diagnose::{Case, End, Finding},
    fastpath::EndFacts,
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
    Some(match first.strip_prefix("filter at priority ") {
        Some(priority) => {
            let command = format!("filter del dev {} ingress pref {priority}", end.word());
            finding.mended_by(case.tc(end.netns, &command))
        }
        None => finding.mended_by(format!(
            "veth-agent detach {}",
            crate::diagnose::quote(&case.pair_of(end.id))
        )),
    })
}
