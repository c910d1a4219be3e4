//! Properties over random topologies.

use std::fmt::Write as _;

use proptest::{collection::vec, prelude::*};

use super::kernel::{Kernel, wanted};

const PLACES: [&str; 3] = ["host", "n1", "n2"];
const PAIRS: usize = 3;

/// What stays the same while settings change: where the ends lie.
#[derive(Clone, Debug)]
struct Frame {
    bridges: Vec<usize>,
    pairs: Vec<[usize; 2]>,
}

#[derive(Clone, Debug)]
struct End {
    up: bool,
    mtu: Option<u16>,
    mac: bool,
    bridge: bool,
    /// Prefix lengths of the addresses `.1` and `.2`, and of the IPv6 one.
    prefixes: [Option<u8>; 3],
    direct: Option<u32>,
    over_gateway: bool,
    from_first: bool,
    connected: bool,
    ipv6_route: Option<u32>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let place = || 0..PLACES.len();
    (vec(place(), 0..3), vec([place(), place()], 1..=PAIRS))
        .prop_map(|(bridges, pairs)| Frame { bridges, pairs })
}

fn prefix(lengths: &'static [u8]) -> impl Strategy<Value = Option<u8>> {
    prop::option::of(prop::sample::select(lengths))
}

fn end() -> impl Strategy<Value = End> {
    let prefixes = (prefix(&[24, 25, 32]), prefix(&[24, 32]), prefix(&[64, 128]));
    let link =
        (prop::bool::weighted(0.8), prop::option::of(1280_u16..9000), any::<bool>(), any::<bool>());
    let routes = (
        prop::option::of(0_u32..3),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(prop::sample::select(&[0_u32, 5, 1024][..])),
    );
    (link, prefixes, routes).prop_map(
        |(
            (up, mtu, mac, bridge),
            (one, two, six),
            (direct, over_gateway, from_first, connected, ipv6_route),
        )| End {
            up,
            mtu,
            mac,
            bridge,
            prefixes: [one, two, six],
            direct,
            over_gateway,
            from_first,
            connected,
            ipv6_route,
        },
    )
}

fn settings() -> impl Strategy<Value = Vec<End>> {
    vec(end(), 2 * PAIRS)
}

fn place(place: usize) -> String {
    match PLACES[place] {
        "host" => String::new(),
        name => format!(", namespace: {name}"),
    }
}

/// The end as YAML. Its number makes its names, addresses and destinations its own.
fn end_yaml(frame: &Frame, number: usize, at: usize, end: &End) -> String {
    let mut yaml = format!("{{interface: e{number}{}, up: {}", place(at), end.up);
    let bridge = frame.bridges.iter().position(|bridge| *bridge == at).filter(|_| end.bridge);
    let _ = bridge.map(|bridge| write!(yaml, ", bridge: br{bridge}"));
    let _ = end.mtu.map(|mtu| write!(yaml, ", mtu: {mtu}"));
    if end.mac {
        let _ = write!(yaml, ", mac: 02:00:00:00:00:0{number}");
    }
    let hosts =
        [format!("10.0.{number}.1"), format!("10.0.{number}.2"), format!("fd00:{number}::1")];
    let addresses: Vec<_> = hosts
        .iter()
        .zip(end.prefixes)
        .filter_map(|(host, prefix)| Some(format!("'{host}/{}'", prefix?)))
        .collect();
    let routes = if end.up { routes(number, end, &hosts) } else { Vec::new() };
    let _ =
        write!(yaml, ", addresses: [{}], routes: [{}]}}", addresses.join(", "), routes.join(", "));
    yaml
}

fn routes(number: usize, end: &End, hosts: &[String; 3]) -> Vec<String> {
    let [one, two, _] = end.prefixes;
    let in_24 = one == Some(24) || two == Some(24);
    let first = one.map(|_| &hosts[0]).or(two.map(|_| &hosts[1])).filter(|_| end.from_first);
    let source = first.map(|first| format!(", source: {first}")).unwrap_or_default();
    let gateway = (end.over_gateway && in_24)
        .then(|| format!("{{to: default, via: 10.0.{number}.254, metric: {number}{source}}}"));
    let direct =
        end.direct.map(|metric| format!("{{to: 172.16.{number}.0/24, metric: {metric}{source}}}"));
    let connected = (end.connected && in_24).then(|| format!("{{to: 10.0.{number}.0/24}}"));
    let ipv6 =
        end.ipv6_route.map(|metric| format!("{{to: 'fd01:{number}::/64', metric: {metric}}}"));
    [gateway, direct, connected, ipv6].into_iter().flatten().collect()
}

fn yaml(frame: &Frame, ends: &[End]) -> String {
    let mut yaml = "namespaces: [{name: n1}, {name: n2}]\nbridges:\n - {name: any}\n".to_owned();
    for (number, at) in frame.bridges.iter().enumerate() {
        let _ = writeln!(yaml, " - {{name: br{number}{}}}", place(*at));
    }
    yaml.push_str("pairs:\n");
    for (number, places) in frame.pairs.iter().enumerate() {
        let [one, two] = [0, 1]
            .map(|side| end_yaml(frame, 2 * number + side, places[side], &ends[2 * number + side]));
        let _ = writeln!(yaml, " - {{name: p{number}, ends: [{one}, {two}]}}");
    }
    yaml
}

proptest! {
    #[test]
    fn a_second_run_changes_nothing_and_delete_leaves_nothing(frame in frame(), ends in settings()) {
        let yaml = yaml(&frame, &ends);
        let mut kernel = Kernel::new();
        let before = kernel.seen.clone();
        kernel.apply(&yaml);
        let deletion = kernel.plan_delete(&yaml);
        prop_assert_eq!((&deletion.notes, &deletion.left), (&vec![], &vec![]));
        kernel.run(&deletion);
        prop_assert_eq!(kernel.seen, before);
        prop_assert!(kernel.attached.is_empty());
    }

    #[test]
    fn any_settings_lead_to_any_others_in_one_run(
        frame in frame(),
        first in settings(),
        second in settings(),
        promote in any::<bool>(),
        keep in any::<bool>(),
    ) {
        let mut kernel = Kernel::new();
        (kernel.promote_secondaries, kernel.keep_addr_on_down) = (promote, keep);
        kernel.apply(&yaml(&frame, &first));
        let there = kernel.seen.namespaces.values().map(|netns| netns.links.len()).sum::<usize>();
        kernel.apply(&yaml(&frame, &second));
        let now = kernel.seen.namespaces.values().map(|netns| netns.links.len()).sum::<usize>();
        prop_assert_eq!(there, now);
    }

    #[test]
    fn a_plan_that_was_cut_short_is_finished_by_the_next(
        frame in frame(),
        ends in settings(),
        cut in any::<prop::sample::Index>(),
    ) {
        let yaml = yaml(&frame, &ends);
        let mut kernel = Kernel::new();
        let mut plan = kernel.plan_topology(&wanted(&yaml)).unwrap();
        let after = cut.index(plan.actions.len());
        plan.actions.truncate(after);
        kernel.run(&plan);
        kernel.apply(&yaml);
    }
}
