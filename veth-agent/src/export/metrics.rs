//! The metrics page.

use std::borrow::Cow;

use prometheus::{
    Encoder as _, Registry, TextEncoder,
    process_collector::ProcessCollector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use veth_common::{
    counters::{Counters, Direction},
    fastpath::Fallback,
    names,
};

use super::{
    SharedView, View,
    labels::{EndLabels, PairInfo},
    ledger, mtu, sizes,
    text::{self, Series},
};
use crate::{
    collect::{self, AllDrops, DropsByReason, EndReading},
    datapath::Maps,
    preflight::release,
};

/// Makes the page.
pub struct Metrics {
    agent: Agent,
    /// The figures of this process. The agent's own stay out of it: gathering sorts all samples,
    /// and these come in order.
    process: Registry,
}

impl Metrics {
    /// A page over `view`, for an agent that attaches by `attach` (`tcx` or `clsact`).
    ///
    /// # Errors
    /// When two collectors claim one name.
    pub fn new(view: SharedView, attach: &'static str) -> Result<Self, prometheus::Error> {
        let process = Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { agent: Agent { view, attach, kernel: release() }, process })
    }

    /// The page, in Prometheus' text format.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn page(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut page = Vec::with_capacity(1 << 16);
        let mut families = self.agent.families(&mut page);
        families.extend(self.process.gather());
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(page)
    }
}

/// The content type of the page.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

struct Agent {
    view: SharedView,
    attach: &'static str,
    kernel: String,
}

impl Agent {
    /// All families that have a sample, but for the counters of every end, which go straight to `page`.
    fn families(&self, page: &mut Vec<u8>) -> Vec<MetricFamily> {
        let mut guard = self.view.lock();
        let (view, maps, drop_reader) = &mut *guard;
        let lost = drop_reader.lost(maps);
        let drops = drop_reader.read(maps).unwrap_or_default();
        let readings = Reading::all(view, maps, &drops);
        for counter in traffic().iter().chain(&mtu::counters()) {
            counter.write(&readings, page);
        }
        let mut families = vec![
            redirects(&readings),
            fallbacks(&readings),
            drops_of_ends(&readings),
            drops_of_nobody(&drops),
            pair_info(&readings),
            link_up(&readings),
        ];
        families.extend(sizes::families(view));
        families.push(ledger::family(view, maps, &drops));
        families.extend(of_the_node(view, maps, &drops, lost));
        families.push(self.build_info());
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

/// What one end's series say.
pub struct Reading<'a> {
    labels: &'a EndLabels,
    info: &'a PairInfo,
    /// What was counted.
    pub of_end: EndReading,
    drops: Cow<'a, DropsByReason>,
    /// The labels as text.
    pub text: String,
    up: bool,
}

impl<'a> Reading<'a> {
    fn all(view: &'a View, maps: &Maps, drops: &AllDrops) -> Vec<Self> {
        let lost = |end| drops.of_ends.get(&end).map(|drops| collect::by_reason(drops));
        let live = view.live.values().map(|live| Self {
            labels: &live.labels,
            info: &live.info,
            of_end: collect::read(maps, live.end),
            drops: Cow::Owned(lost(live.end).unwrap_or_default()),
            text: text::of_end(&live.labels.interface, &live.labels.netns),
            up: live.up,
        });
        let gone = view.gone.iter().map(|(labels, gone)| Self {
            labels,
            info: &gone.info,
            of_end: gone.last,
            drops: Cow::Borrowed(&gone.drops),
            text: text::of_end(&labels.interface, &labels.netns),
            up: false,
        });
        live.chain(gone).collect()
    }

    fn labels(&self) -> Vec<LabelPair> {
        let EndLabels { netns, interface } = self.labels;
        vec![label("interface", interface), label("netns", netns)]
    }
}

fn traffic() -> Vec<text::Counter> {
    type Field = fn(&Counters) -> u64;
    const FAMILIES: [(&str, &str, Field); 3] = [
        (
            "veth_agent_packets_total",
            "Packets at the end's TC hook; a GSO super-frame is one.",
            |counters| counters.packets,
        ),
        (
            "veth_agent_bytes_total",
            "Bytes at the end's TC hook, Ethernet headers included.",
            |counters| counters.bytes,
        ),
        ("veth_agent_segments_total", "Frames that a wire would have carried.", |counters| {
            counters.segments
        }),
    ];
    let series = |field: Field| {
        Direction::BOTH.map(|direction| Series {
            labels: vec![("direction", direction.as_str())],
            value: Box::new(move |end| Some(field(end.counters?.direction(direction)))),
        })
    };
    FAMILIES
        .map(|(name, help, field)| text::Counter { name, help, series: series(field).into() })
        .into()
}

/// Of ends that have a place in the fast path, by method.
fn redirects(readings: &[Reading<'_>]) -> MetricFamily {
    let near = readings.iter().filter(|reading| reading.of_end.fallbacks.is_some());
    let metrics = near.flat_map(|reading| {
        let methods = reading
            .of_end
            .counters
            .map(|counters| ["tc", "xdp"].into_iter().zip(counters.redirected));
        methods.into_iter().flatten().map(|(method, count)| {
            let mut labels = reading.labels();
            labels.insert(1, label("method", method));
            counter(labels, count)
        })
    });
    let help =
        "Packets that arrived at the end and went straight into the far end of another pair.";
    family("veth_agent_redirects_total", help, MetricType::COUNTER, metrics.collect())
}

fn fallbacks(readings: &[Reading<'_>]) -> MetricFamily {
    let metrics = readings.iter().flat_map(|reading| {
        reading.of_end.fallbacks.into_iter().flat_map(|fallbacks| {
            Fallback::ALL.into_iter().zip(fallbacks.by_reason).map(|(reason, count)| {
                let mut labels = reading.labels();
                labels.push(label("reason", reason.as_str()));
                counter(labels, count)
            })
        })
    });
    let help = "Packets that arrived at an end of the fast path and went to the stack, by reason.";
    family("veth_agent_redirect_fallbacks_total", help, MetricType::COUNTER, metrics.collect())
}

/// Of ends that have lost something, by what it is called.
fn drops_of_ends(readings: &[Reading<'_>]) -> MetricFamily {
    let metrics = readings.iter().flat_map(|reading| {
        reading.drops.iter().map(|(reason, packets)| {
            let mut labels = reading.labels();
            labels.push(label("reason", reason));
            counter(labels, *packets)
        })
    });
    let help = "Packets of the end that the kernel dropped, by its reason.";
    family("veth_agent_drops_total", help, MetricType::COUNTER, metrics.collect())
}

fn drops_of_nobody(drops: &AllDrops) -> MetricFamily {
    let sums = collect::by_reason(&drops.of_nobody);
    let metrics =
        sums.iter().map(|(reason, packets)| counter(vec![label("reason", reason)], *packets));
    let help = "Packets that the kernel dropped and that belong to no end of a pair.";
    family("veth_agent_drops_unattributed_total", help, MetricType::COUNTER, metrics.collect())
}

fn pair_info(readings: &[Reading<'_>]) -> MetricFamily {
    let metrics = readings.iter().map(|reading| {
        let info = reading.info;
        let labels = [
            ("bridge", info.bridge.as_str()),
            ("datapath", info.datapath),
            ("interface", &reading.labels.interface),
            ("namespace", ""),
            ("netns", &reading.labels.netns),
            ("pair", &info.pair),
            ("peer_interface", &info.peer_interface),
            ("peer_netns", &info.peer_netns),
            ("pod", ""),
            ("pod_uid", ""),
        ];
        gauge(labels.into_iter().map(|(name, value)| label(name, value)).collect(), 1.0)
    });
    let help = "Which pair an end belongs to; always 1.";
    family("veth_agent_pair_info", help, MetricType::GAUGE, metrics.collect())
}

fn link_up(readings: &[Reading<'_>]) -> MetricFamily {
    let metrics =
        readings.iter().map(|reading| gauge(reading.labels(), if reading.up { 1.0 } else { 0.0 }));
    let help = "Whether the end is administratively up and has a carrier.";
    family("veth_agent_link_up", help, MetricType::GAUGE, metrics.collect())
}

fn of_the_node(view: &View, maps: &Maps, drops: &AllDrops, drops_lost: u64) -> Vec<MetricFamily> {
    let pairs = view.pairs.iter().map(|(state, count)| {
        gauge(vec![label("state", state.as_str())], approximate(*count as u64))
    });
    let attach_errors = view.attach_errors.iter().map(|((hook, cause), count)| {
        counter(vec![label("cause", cause), label("hook", hook)], *count)
    });
    let unknown = collect::unknown(maps).unwrap_or_default();
    let lost = view.events_lost.iter().map(|(source, count)| (*source, *count));
    let lost = lost
        .chain([("drops", drops_lost), ("end_without_slot", unknown)])
        .map(|(source, count)| counter(vec![label("source", source)], count));
    let (entries, capacity) = map_fill(view, maps, drops);
    vec![
        family(
            "veth_agent_pairs",
            "Pairs on this node, by state.",
            MetricType::GAUGE,
            pairs.collect(),
        ),
        family(
            "veth_agent_attach_errors_total",
            "Attempts to attach a program that failed.",
            MetricType::COUNTER,
            attach_errors.collect(),
        ),
        family(
            "veth_agent_events_lost_total",
            "Events that were lost, by where: netlink overruns, drops that found no room, packets \
             of ends without a slot.",
            MetricType::COUNTER,
            lost.collect(),
        ),
        family(
            "veth_agent_map_entries",
            "Entries in use of a BPF map.",
            MetricType::GAUGE,
            entries,
        ),
        family(
            "veth_agent_map_capacity",
            "Entries that a BPF map has room for.",
            MetricType::GAUGE,
            capacity,
        ),
    ]
}

fn map_fill(view: &View, maps: &Maps, drops: &AllDrops) -> (Vec<Metric>, Vec<Metric>) {
    let ends = maps.ends.keys().filter(Result::is_ok).count();
    let journal = maps.journal.keys().filter(Result::is_ok).count();
    let endpoints = maps.endpoints.keys().filter(Result::is_ok).count();
    let all = maps.capacity as usize;
    let filled = [
        (names::MAP_ADDRESSES, view.addresses, maps.address_capacity as usize),
        // A slot of the counters is in use exactly where an end has it.
        (names::MAP_COUNTERS, ends, all),
        (names::MAP_DROP_COUNTS, drops.entries, maps.drop_capacity as usize),
        (names::MAP_ENDPOINTS, endpoints, maps.endpoint_capacity as usize),
        (names::MAP_ENDS, ends, all),
        (names::MAP_JOURNAL, journal, all),
    ];
    let metric = |name, value: usize| gauge(vec![label("map", name)], approximate(value as u64));
    (
        filled.iter().map(|(name, entries, _)| metric(name, *entries)).collect(),
        filled.iter().map(|(name, _, capacity)| metric(name, *capacity)).collect(),
    )
}

impl Agent {
    fn build_info(&self) -> MetricFamily {
        let labels = vec![
            label("attach", self.attach),
            label("kernel", &self.kernel),
            label("version", env!("CARGO_PKG_VERSION")),
        ];
        let help = "The agent and the kernel that it runs on; always 1.";
        family("veth_agent_build_info", help, MetricType::GAUGE, vec![gauge(labels, 1.0)])
    }
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: Vec<Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// The text format has only floating point: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the exposition format has no integers")]
pub(super) const fn approximate(value: u64) -> f64 {
    value as f64
}

/// As [`approximate`].
#[expect(clippy::cast_precision_loss, reason = "the exposition format has no integers")]
pub(super) const fn signed(value: i64) -> f64 {
    value as f64
}

fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(approximate(value));
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}
