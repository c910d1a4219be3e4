//! `veth-agent list`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Failure, escape, netns_view::NetnsView, print, say_unseen, seen_hooks, table::lay_out,
};
use crate::{
    cli::ListOutput,
    datapath::{EndHooks, Pins},
    inventory::{self, Depth, LinkKind, OperState, Pair, Snapshot},
    types::{EndId, MacAddr},
};

/// Prints every pair.
pub fn list(pins: &Pins, output: ListOutput) -> Result<(), Failure> {
    let snapshot = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let hooks = seen_hooks(pins, &snapshot);
    let pairs: Vec<_> =
        snapshot.pairs().iter().map(|pair| describe(&snapshot, &hooks, pair)).collect();
    let text = match output {
        ListOutput::Json => json(&pairs)?,
        ListOutput::Table => table(&TABLE, &pairs),
        ListOutput::Wide => table(&WIDE, &pairs),
    };
    say_unseen(&snapshot);
    print(text.as_bytes())
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    pairs: &'a [PairView],
}

#[derive(Serialize)]
struct PairView {
    name: String,
    datapath: &'static str,
    state: &'static str,
    pod: Option<()>,
    ends: Vec<EndView>,
}

#[derive(Serialize)]
struct EndView {
    interface: String,
    ifindex: u32,
    kind: &'static str,
    netns: NetnsView,
    mac: Option<MacAddr>,
    mtu: u32,
    state: OperState,
    admin_up: bool,
    carrier: bool,
    addresses: Vec<String>,
    bridge: Option<String>,
    hooks: HooksView,
}

#[derive(Serialize)]
struct HooksView {
    ingress: Option<&'static str>,
    egress: Option<&'static str>,
    xdp: Option<&'static str>,
}

fn describe(snapshot: &Snapshot, hooks: &BTreeMap<EndId, EndHooks>, pair: &Pair) -> PairView {
    let end = |end| describe_end(snapshot, end, hooks.get(&end).copied().unwrap_or_default());
    PairView {
        name: pair.name.clone(),
        datapath: pair.datapath().as_str(),
        state: snapshot.state(pair).as_str(),
        pod: None,
        ends: pair.ends().filter_map(end).collect(),
    }
}

fn describe_end(snapshot: &Snapshot, end: EndId, hooks: EndHooks) -> Option<EndView> {
    let netns = snapshot.namespaces.get(&end.netns)?;
    let link = snapshot.link(end)?;
    Some(EndView {
        interface: link.name.clone(),
        ifindex: link.index.0,
        kind: if link.kind == LinkKind::Netkit { "netkit" } else { "veth" },
        netns: NetnsView::new(snapshot, netns),
        mac: link.mac,
        mtu: link.mtu,
        state: link.state,
        admin_up: link.admin_up,
        carrier: link.carrier,
        addresses: link.addresses.iter().map(|address| address.net.to_string()).collect(),
        bridge: snapshot.bridge_of(end).map(str::to_owned),
        hooks: HooksView {
            ingress: hooks.ingress.map(|hook| hook.method.as_str()),
            egress: hooks.egress.map(|hook| hook.method.as_str()),
            xdp: hooks.xdp.map(|hook| hook.method.as_str()),
        },
    })
}

fn json(pairs: &[PairView]) -> Result<String, Failure> {
    let document = Document { schema_version: 1, pairs };
    serde_json::to_string(&document).map(|text| text + "\n").map_err(Failure::failed)
}

/// A column: its title, and what it says of an end.
type Column = (&'static str, fn(&PairView, &EndView) -> String);

const PAIR: Column = ("PAIR", |pair, _| pair.name.clone());
const NETNS: Column = ("NETNS", |_, end| end.netns.label.clone());
const INTERFACE: Column = ("INTERFACE", |_, end| end.interface.clone());
const STATE: Column = ("STATE", |_, end| oper_state(end.state).to_owned());
const MTU: Column = ("MTU", |_, end| end.mtu.to_string());
const HOOKS: Column = ("HOOKS", |_, end| hooks(&end.hooks));
const ADDRESSES: Column = ("ADDRESSES", |_, end| {
    let mut shown = end.addresses.iter().filter(|address| !address.starts_with("fe80:"));
    let first = shown.next().cloned().unwrap_or_else(|| "-".to_owned());
    match shown.count() {
        0 => first,
        more => format!("{first} +{more}"),
    }
});

const TABLE: [Column; 7] = [PAIR, NETNS, INTERFACE, STATE, MTU, HOOKS, ADDRESSES];
const WIDE: [Column; 13] = [
    PAIR,
    ("DATAPATH", |pair, _| pair.datapath.to_owned()),
    NETNS,
    ("INODE", |_, end| end.netns.inode.to_string()),
    INTERFACE,
    ("INDEX", |_, end| end.ifindex.to_string()),
    ("KIND", |_, end| end.kind.to_owned()),
    STATE,
    MTU,
    ("MAC", |_, end| end.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string())),
    HOOKS,
    ("BRIDGE", |_, end| end.bridge.clone().unwrap_or_else(|| "-".to_owned())),
    ("ADDRESSES", |_, end| match end.addresses.as_slice() {
        [] => "-".to_owned(),
        addresses => addresses.join(","),
    }),
];

const fn oper_state(state: OperState) -> &'static str {
    match state {
        OperState::Up => "up",
        OperState::Down => "down",
        OperState::LowerLayerDown => "lowerlayerdown",
        OperState::Dormant => "dormant",
        OperState::Unknown => "unknown",
    }
}

fn hooks(hooks: &HooksView) -> String {
    let tc = match (hooks.ingress, hooks.egress) {
        (Some(ingress), Some(egress)) if ingress == egress => ingress.to_owned(),
        (None, None) => "-".to_owned(),
        (ingress, egress) => format!("{}/{}", ingress.unwrap_or("-"), egress.unwrap_or("-")),
    };
    match hooks.xdp {
        Some(xdp) => format!("{xdp}+{tc}"),
        None => tc,
    }
}

fn table(columns: &[Column], pairs: &[PairView]) -> String {
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
    for pair in pairs {
        for end in &pair.ends {
            rows.push(
                columns.iter().map(|(_, say)| escape(&say(pair, end)).into_owned()).collect(),
            );
        }
    }
    lay_out(&rows)
}
