//! Which ends need programs, and which slots and pins belong to nothing any more. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{EndHooks, HookName};
use crate::types::{EndId, NetnsCookie};

/// Work on one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachEnd {
    /// Which end.
    pub end: EndId,
    /// It needs a slot with counters of zero.
    pub fresh: bool,
    /// The hooks without a program of ours.
    pub hooks: Vec<HookName>,
}

/// All work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ends to attach to, by namespace.
    pub attach: BTreeMap<NetnsCookie, Vec<AttachEnd>>,
}

/// Plans the attaching of `wanted`, given what is attached and who has a slot.
///
/// A slot without any program is a remnant: its interface is gone and the index was given anew.
pub fn plan(
    wanted: &BTreeSet<EndId>,
    attached: &BTreeMap<EndId, EndHooks>,
    has_slot: impl Fn(EndId) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    for end in wanted {
        let seen = attached.get(end).copied().unwrap_or_default();
        let fresh = seen.empty() || !has_slot(*end);
        if seen.complete() && !fresh {
            continue;
        }
        let hooks = HookName::BOTH.into_iter().filter(|hook| seen.get(*hook).is_none()).collect();
        plan.attach.entry(end.netns).or_default().push(AttachEnd { end: *end, fresh, hooks });
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        datapath::{Hook, Method},
        types::IfIndex,
    };

    const END: EndId = EndId { netns: NetnsCookie(4), ifindex: IfIndex(7) };
    const ON: Option<Hook> = Some(Hook { method: Method::Tcx, ahead: 0, of: 1, program: 1 });

    fn work(seen: EndHooks, has_slot: bool) -> Vec<AttachEnd> {
        let plan = plan(&BTreeSet::from([END]), &BTreeMap::from([(END, seen)]), |_| has_slot);
        plan.attach.into_values().flatten().collect()
    }

    #[test]
    fn nothing_is_done_twice() {
        assert_eq!(work(EndHooks { ingress: ON, egress: ON, xdp: None }, true), []);
    }

    #[test]
    fn a_crash_between_the_hooks_keeps_the_counters() {
        let hooks = vec![HookName::Egress];
        let seen = EndHooks { ingress: ON, ..EndHooks::default() };
        assert_eq!(work(seen, true), [AttachEnd { end: END, fresh: false, hooks }]);
    }

    #[test]
    fn a_reused_ifindex_inherits_nothing() {
        let hooks = HookName::BOTH.to_vec();
        let all = [AttachEnd { end: END, fresh: true, hooks }];
        assert_eq!(work(EndHooks::default(), true), all);
        assert_eq!(work(EndHooks::default(), false), all);
    }

    #[test]
    fn programs_without_a_slot_get_one() {
        let seen = EndHooks { ingress: ON, egress: ON, xdp: None };
        assert_eq!(work(seen, false), [AttachEnd { end: END, fresh: true, hooks: vec![] }]);
    }
}
