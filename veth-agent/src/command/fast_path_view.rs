//! What `status` says of the fast path.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{escape, existing_maps};
use crate::{
    datapath::{DatapathError, Pins},
    fastpath::{self, Obstacle, Plan, Verdict, lease},
    inventory::Snapshot,
};

/// What only the daemon knows more about.
const UNREADY: &str =
    "not made ready for XDP; `veth-agent run` does it, and its log says why where it cannot";

/// The fast path of this node.
#[derive(Serialize)]
pub struct FastPathView {
    /// Seconds for which packets may still take it; `null` where nobody keeps it up.
    lease_seconds: Option<u64>,
    pairs: Vec<PairView>,
}

#[derive(Serialize)]
struct PairView {
    pair: String,
    state: &'static str,
    reasons: Vec<String>,
    #[serde(skip)]
    verdict: String,
}

impl FastPathView {
    /// Looks at the node as the daemon does; `None` where no pair asks for the fast path.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn take(pins: &Pins, snapshot: &Snapshot) -> Result<Option<Self>, DatapathError> {
        let near = fastpath::near_ends(snapshot);
        let mut plan = Plan::default();
        let mut lease_seconds = None;
        if pins.exist() {
            let maps = existing_maps(pins)?;
            let facts = fastpath::gather(pins, snapshot, &near);
            plan = fastpath::plan_for(&maps, snapshot, &facts)?;
            lease_seconds = lease::remaining(&maps).ok().flatten().map(|left| left.as_secs());
        } else if !near.is_empty() {
            plan = fastpath::plan(snapshot, &BTreeMap::new(), &|_| None);
        }
        for end in plan.unready() {
            plan.give_up(end, UNREADY.to_owned());
        }
        let pairs: Vec<_> = plan.verdicts.into_iter().map(PairView::new).collect();
        Ok((!pairs.is_empty()).then_some(Self { lease_seconds, pairs }))
    }

    /// For people.
    pub fn lines(&self) -> String {
        let mut text = match self.lease_seconds {
            Some(left) => format!("fast path: kept up, good for {left} s\n"),
            None => "fast path: idle, because no `veth-agent run` keeps it up\n".to_owned(),
        };
        for pair in &self.pairs {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}: {}", escape(&pair.pair), escape(&pair.verdict));
        }
        text
    }
}

impl PairView {
    fn new((pair, verdict): (String, Verdict)) -> Self {
        let words = |obstacles: &[Obstacle]| obstacles.iter().map(ToString::to_string).collect();
        let (state, reasons) = match &verdict {
            Verdict::Active(skipped) => ("active", words(skipped)),
            Verdict::Refused(obstacles) => ("refused", words(obstacles)),
            Verdict::Idle(why) => ("idle", vec![why.clone()]),
        };
        Self { pair, state, reasons, verdict: verdict.to_string() }
    }
}
