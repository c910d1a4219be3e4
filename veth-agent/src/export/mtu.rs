//! Families about packets that do not fit. Zeros are shown, so that a rate can be had of the first one.

use veth_common::{
    counters::Direction,
    mtu::{Family, Figure},
};

use super::text::{Counter, Series};

/// The families, of ends that have a slot.
pub fn counters() -> Vec<Counter> {
    vec![
        Counter {
            name: "veth_agent_oversize_packets_total",
            help: "Packets at the end that are larger than what comes next takes: its peer (tx), the \
                   narrowest other port of its bridge (rx). Of a GSO packet, its segments.",
            series: Direction::BOTH.map(|way| of(Figure::Oversize(way), None, Some(way))).into(),
        },
        Counter {
            name: "veth_agent_fragments_total",
            help: "IP fragments at the end.",
            series: each(Figure::Fragment),
        },
        Counter {
            name: "veth_agent_icmp_mtu_errors_total",
            help: "ICMP errors at the end that name an MTU: fragmentation needed, packet too big.",
            series: each(Figure::Error),
        },
        Counter {
            name: "veth_agent_icmp_mtu_errors_reached_total",
            help: "Such errors that arrived in the namespace that sent what they are about.",
            series: Family::BOTH
                .map(|family| of(Figure::Reached(family), Some(family), None))
                .into(),
        },
    ]
}

/// All series of a figure that has both a family and a direction.
fn each(figure: impl Fn(Family, Direction) -> Figure) -> Vec<Series> {
    let series =
        |family| Direction::BOTH.map(|way| of(figure(family, way), Some(family), Some(way)));
    Family::BOTH.into_iter().flat_map(series).collect()
}

fn of(figure: Figure, family: Option<Family>, direction: Option<Direction>) -> Series {
    let direction = direction.map(|way| ("direction", way.as_str()));
    let family = family.map(|family| ("family", family.as_str()));
    Series {
        labels: direction.into_iter().chain(family).collect(),
        value: Box::new(move |end| end.mtu.map(|counters| counters.get(figure))),
    }
}
