//! What the MTU graph says of living ends. Of one that is gone, there is nothing to say.

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::{
    View,
    labels::EndLabels,
    metrics::{family, gauge, label},
};
use crate::mtu::Kind;

/// The families of sizes.
pub fn families(view: &View) -> [MetricFamily; 2] {
    let mtus = view.live.values().map(|live| gauge(labels(&live.labels), f64::from(live.mtu)));
    let mismatches = view.live.values().flat_map(|live| {
        live.mismatches.iter().map(|(kind, differs)| {
            let mut labels = labels(&live.labels);
            labels.insert(1, label("kind", kind.as_str()));
            gauge(labels, if *differs { 1.0 } else { 0.0 })
        })
    });
    let help = "Whether packets that the end sends, or that come by it, are larger than what comes \
                next takes: its peer, another port of its bridge, the host's way out, or the end \
                itself where a route over it promises more.";
    [
        family("veth_agent_mtu_bytes", "MTU of the end.", MetricType::GAUGE, mtus.collect()),
        family("veth_agent_mtu_mismatch", help, MetricType::GAUGE, mismatches.collect()),
    ]
}

fn labels(EndLabels { netns, interface }: &EndLabels) -> Vec<LabelPair> {
    vec![label("interface", interface), label("netns", netns)]
}

/// What may differ at an end: the ports of a bridge, and others, each have a kind of their own.
pub const fn kinds(is_port: bool) -> [Kind; 3] {
    [if is_port { Kind::Bridge } else { Kind::Uplink }, Kind::Peer, Kind::Route]
}
