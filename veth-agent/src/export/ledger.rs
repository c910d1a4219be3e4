//! What the ledgers of living pairs say. While packets are on their way, they are unaccounted for.

use prometheus::proto::{MetricFamily, MetricType};

use super::{
    View,
    metrics::{self, gauge, label},
    view::LiveEnd,
};
use crate::{
    collect::AllDrops,
    datapath::Maps,
    ledger::{self, Side},
};

/// The family, of pairs whose ledgers have begun.
pub fn family(view: &View, maps: &Maps, drops: &AllDrops) -> MetricFamily {
    let metrics = view.live.values().flat_map(|live| of_end(live, maps, drops));
    let help = "Segments that were put into the pair and neither came out nor were dropped by the \
                kernel's word: sent by the end (tx), sent to it (rx). Zero at rest.";
    let name = "veth_agent_pair_unaccounted_segments";
    metrics::family(name, help, MetricType::GAUGE, metrics.collect())
}

fn of_end(live: &LiveEnd, maps: &Maps, drops: &AllDrops) -> Vec<prometheus::proto::Metric> {
    let Some(peer) = live.peer else { return Vec::new() };
    let [own, other] = [live.end, peer].map(|end| Side::read(maps, drops, end));
    let ways = [("tx", &own, &other), ("rx", &other, &own)];
    let known = ways.into_iter().filter_map(|(direction, from, to)| {
        let segments = ledger::unaccounted(maps, from, to)?;
        let labels = vec![
            label("direction", direction),
            label("interface", &live.labels.interface),
            label("netns", &live.labels.netns),
        ];
        Some(gauge(labels, metrics::signed(segments)))
    });
    known.collect()
}
