//! `veth-agent status`.

use std::{collections::BTreeMap, fmt::Write as _, thread, time::Duration};

use serde::Serialize;

use super::{
    Failure, drops_view::DropsView, escape, fast_path_view::FastPathView, netns_view::NetnsView,
    print, say, say_unseen, seen_hooks, table::lay_out,
};
use crate::{
    cli::{StatusArgs, StatusOutput},
    datapath::{self, Daemon, EndHooks, Hook, HookName, Method, Pins, Runs},
    inventory::{self, Depth, Snapshot},
    preflight::{Feature, State, release},
    types::EndId,
};

/// Prints what is attached and what the kernel offers.
pub fn status(pins: &Pins, args: &StatusArgs) -> Result<(), Failure> {
    let snapshot = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let hooks = seen_hooks(pins, &snapshot);
    let runs = match args.measure {
        Some(time) => measure(pins, time)?,
        None => datapath::runs(pins).unwrap_or_default(),
    };
    let fast_path = FastPathView::take(pins, &snapshot).unwrap_or_else(|error| {
        say(&format!("the fast path cannot be seen: {error}; run it as root"));
        None
    });
    let document = Document::new(pins, ends(&snapshot, &hooks, &runs), fast_path);
    let text = match args.output {
        StatusOutput::Json => serde_json::to_string(&document).map_err(Failure::failed)? + "\n",
        StatusOutput::Table => table(&document),
    };
    say_unseen(&snapshot);
    print(text.as_bytes())
}

/// Runs of our programs within the next `time`.
fn measure(pins: &Pins, time: Duration) -> Result<BTreeMap<u32, Runs>, Failure> {
    Feature::BpfStats.require().map_err(Failure::failed)?;
    let refused = |error| Failure::failed(format!("runs cannot be timed: {error}; run it as root"));
    let _counting = datapath::count_runs().map_err(refused)?;
    let before = datapath::runs(pins).map_err(Failure::failed)?;
    thread::sleep(time);
    let mut runs = datapath::runs(pins).map_err(Failure::failed)?;
    for (program, runs) in &mut runs {
        *runs = runs.since(before.get(program).copied().unwrap_or_default());
    }
    Ok(runs)
}

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    version: &'static str,
    kernel: String,
    attach: Option<&'static str>,
    bpffs: String,
    daemon: bool,
    ends: Vec<EndView>,
    fast_path: Option<FastPathView>,
    drops: DropsView,
    features: Vec<FeatureView>,
}

#[derive(Serialize)]
struct EndView {
    pair: String,
    interface: String,
    ifindex: u32,
    netns: NetnsView,
    hooks: HooksView,
}

#[derive(Serialize)]
struct HooksView {
    ingress: Option<HookView>,
    egress: Option<HookView>,
    xdp: Option<HookView>,
}

#[derive(Serialize)]
struct HookView {
    method: &'static str,
    priority: Option<u16>,
    position: usize,
    of: usize,
    program: u32,
    ns_per_packet: Option<u64>,
}

#[derive(Serialize)]
struct FeatureView {
    feature: Feature,
    name: &'static str,
    since: String,
    state: &'static str,
    reason: Option<String>,
    without: &'static str,
}

impl Document {
    fn new(pins: &Pins, ends: Vec<EndView>, fast_path: Option<FastPathView>) -> Self {
        Self {
            schema_version: 1,
            version: env!("CARGO_PKG_VERSION"),
            kernel: release(),
            attach: match Feature::Tcx.state() {
                State::Present => Some("tcx"),
                State::Absent => Some("clsact"),
                State::Unknown(_) => None,
            },
            bpffs: pins.base().display().to_string(),
            daemon: Daemon::is_running(pins),
            ends,
            fast_path,
            drops: DropsView::take(pins),
            features: Feature::ALL.into_iter().map(FeatureView::new).collect(),
        }
    }
}

impl HookView {
    fn new(hook: Hook, runs: &BTreeMap<u32, Runs>) -> Self {
        Self {
            method: hook.method.as_str(),
            priority: match hook.method {
                Method::Tcx | Method::Xdp => None,
                Method::Clsact { priority, .. } => Some(priority),
            },
            position: hook.ahead + 1,
            of: hook.of,
            program: hook.program,
            ns_per_packet: runs.get(&hook.program).and_then(|runs| runs.nanoseconds()),
        }
    }
}

impl FeatureView {
    fn new(feature: Feature) -> Self {
        let facts = feature.facts();
        let (state, reason) = match feature.state() {
            State::Present => ("present", None),
            State::Absent => ("absent", None),
            State::Unknown(why) => ("unknown", Some(why.clone())),
        };
        let (name, without) = (facts.name, facts.without);
        Self { feature, name, since: facts.since.to_string(), state, reason, without }
    }
}

fn ends(
    snapshot: &Snapshot,
    hooks: &BTreeMap<EndId, EndHooks>,
    runs: &BTreeMap<u32, Runs>,
) -> Vec<EndView> {
    let pairs = snapshot.pairs();
    let ends = pairs.iter().flat_map(|pair| pair.ends().map(|end| (pair.name.clone(), end)));
    ends.filter_map(|(pair, end)| {
        let netns = snapshot.namespaces.get(&end.netns)?;
        let found = hooks.get(&end).copied().unwrap_or_default();
        let hook = |name| Some(HookView::new(found.get(name)?, runs));
        Some(EndView {
            pair,
            interface: snapshot.link(end)?.name.clone(),
            ifindex: end.ifindex.0,
            netns: NetnsView::new(snapshot, netns),
            hooks: HooksView {
                ingress: hook(HookName::Ingress),
                egress: hook(HookName::Egress),
                xdp: found.xdp.map(|hook| HookView::new(hook, runs)),
            },
        })
    })
    .collect()
}

fn table(document: &Document) -> String {
    let mut text = String::new();
    let daemon = if document.daemon { "is running" } else { "is not running" };
    // Writing into a string does not fail.
    let _ = writeln!(
        text,
        "veth-agent {} on Linux {}\nprograms attach by {}; `veth-agent run` {daemon}\n",
        document.version,
        document.kernel,
        document.attach.unwrap_or("an unknown way")
    );
    if document.ends.is_empty() {
        text.push_str("no veth pairs\n");
    } else {
        text.push_str(&lay_out(&end_rows(&document.ends)));
    }
    let blind = document.ends.iter().flat_map(blind_spots).collect::<String>();
    if !blind.is_empty() {
        text.push('\n');
        text.push_str(&blind);
    }
    if let Some(fast_path) = &document.fast_path {
        text.push('\n');
        text.push_str(&fast_path.lines());
    }
    text.push('\n');
    text.push_str(&document.drops.line());
    text.push('\n');
    text.push_str(&lay_out(&feature_rows(&document.features)));
    text
}

fn end_rows(ends: &[EndView]) -> Vec<Vec<String>> {
    let titles = ["NETNS", "INTERFACE", "HOOK", "BY", "POSITION", "NS/PACKET"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for end in ends {
        let xdp = end.hooks.xdp.as_ref().map(|hook| ("xdp", Some(hook)));
        let tc = end.hooks.both().map(|(name, hook)| (name.as_str(), hook));
        for (name, hook) in xdp.into_iter().chain(tc) {
            let mut row = vec![
                escape(&end.netns.label).into_owned(),
                escape(&end.interface).into_owned(),
                name.to_owned(),
            ];
            row.extend(hook.map_or_else(|| ["-"; 3].map(str::to_owned), HookView::cells));
            rows.push(row);
        }
    }
    rows
}

impl HooksView {
    fn both(&self) -> [(HookName, Option<&HookView>); 2] {
        [(HookName::Ingress, self.ingress.as_ref()), (HookName::Egress, self.egress.as_ref())]
    }
}

impl HookView {
    fn cells(&self) -> [String; 3] {
        let by = match self.priority {
            Some(priority) => format!("{} {priority}", self.method),
            None => self.method.to_owned(),
        };
        let time = self.ns_per_packet.map_or_else(|| "-".to_owned(), |time| time.to_string());
        [by, format!("{} of {}", self.position, self.of), time]
    }
}

/// Where our program does not see every packet.
fn blind_spots(end: &EndView) -> Vec<String> {
    let spot = |(name, hook): (HookName, Option<&HookView>)| {
        let ahead = hook?.position - 1;
        let others = match ahead {
            0 => return None,
            1 => "1 program or filter runs".to_owned(),
            more => format!("{more} programs or filters run"),
        };
        let (netns, interface) = (escape(&end.netns.label), escape(&end.interface));
        Some(format!(
            "{netns}/{interface} {name}: {others} ahead of ours; what is taken there is not counted\n"
        ))
    };
    end.hooks.both().into_iter().filter_map(spot).collect()
}

fn feature_rows(features: &[FeatureView]) -> Vec<Vec<String>> {
    let titles = ["FEATURE", "LINUX", "HERE"].map(str::to_owned).to_vec();
    let row = |feature: &FeatureView| {
        let here = match (feature.state, &feature.reason) {
            ("present", _) => "yes".to_owned(),
            (_, Some(reason)) => format!("unknown: {reason}"),
            _ => format!("no: {}", feature.without),
        };
        vec![feature.name.to_owned(), feature.since.clone(), here]
    };
    std::iter::once(titles).chain(features.iter().map(row)).collect()
}
