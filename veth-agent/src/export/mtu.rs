//! Families about packets that do not fit.

use prometheus::proto::{MetricFamily, MetricType};
use veth_common::{
    counters::Direction,
    mtu::{Family, Figure},
};

use super::metrics::{Reading, counter, family, label};

/// A figure, and what tells its series from the others of its family: family of protocols, direction.
type Series = (Figure, Option<Family>, Option<Direction>);

/// The families, of ends that have a slot. Zeros are shown, so that a rate can be had of the first one.
pub fn families(readings: &[Reading<'_>]) -> Vec<MetricFamily> {
    let oversize = Direction::BOTH.map(|way| (Figure::Oversize(way), None, Some(way)));
    let reached = Family::BOTH.map(|family| (Figure::Reached(family), Some(family), None));
    vec![
        of(
            readings,
            "veth_agent_oversize_packets_total",
            "Packets at the end that are larger than what comes next takes: its peer (tx), the narrowest \
             other port of its bridge (rx). Of a GSO packet, its segments.",
            &oversize,
        ),
        of(
            readings,
            "veth_agent_fragments_total",
            "IP fragments at the end.",
            &each(Figure::Fragment),
        ),
        of(
            readings,
            "veth_agent_icmp_mtu_errors_total",
            "ICMP errors at the end that name an MTU: fragmentation needed, packet too big.",
            &each(Figure::Error),
        ),
        of(
            readings,
            "veth_agent_icmp_mtu_errors_reached_total",
            "Such errors that arrived in the namespace that sent what they are about.",
            &reached,
        ),
    ]
}

/// All series of a figure that has both a family and a direction.
fn each(figure: impl Fn(Family, Direction) -> Figure) -> Vec<Series> {
    let series = |family| Direction::BOTH.map(|way| (figure(family, way), Some(family), Some(way)));
    Family::BOTH.into_iter().flat_map(series).collect()
}

fn of(readings: &[Reading<'_>], name: &str, help: &str, series: &[Series]) -> MetricFamily {
    let mut metrics = Vec::with_capacity(readings.len() * series.len());
    for reading in readings {
        let Some(counters) = reading.of_end.mtu else { continue };
        for (figure, family, direction) in series {
            let direction = direction.map(|way| label("direction", way.as_str()));
            let family = family.map(|family| label("family", family.as_str()));
            let labels = direction.into_iter().chain(family).chain(reading.labels());
            metrics.push(counter(labels.collect(), counters.get(*figure)));
        }
    }
    family(name, help, MetricType::COUNTER, metrics)
}
