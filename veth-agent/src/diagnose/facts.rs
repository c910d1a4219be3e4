//! What is asked of each namespace beside its links, addresses and routes. Plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    collect::{Drops, EndReading},
    fastpath::EndFacts,
    firewall::{Chain, Rule},
    types::{EndId, IfIndex, MacAddr, NetnsCookie},
};

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `net.ipv4.ip_forward`; this and the next three are asked only where there are two links.
    pub forwards_ipv4: bool,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_ipv6: bool,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter: u8,
    /// `net.ipv4.conf.all.proxy_arp`.
    pub proxy_arp: bool,
    /// Neighbours.
    pub neighbours: Vec<Neighbour>,
    /// Queueing disciplines that dropped something.
    pub qdiscs: Vec<Qdisc>,
    /// How the kernel would send to the addresses that were asked for.
    pub routes: BTreeMap<IpAddr, Result<Way, Refusal>>,
    /// Path MTUs that the kernel has learned, in bytes.
    pub path_mtus: Vec<PathMtu>,
    /// Rules of firewalls; looked at only where packets of others pass.
    pub firewall: Firewall,
    /// `net.bridge.bridge-nf-call-*`: what a bridge forwards passes firewalls of IP.
    pub bridge_calls_ip: bool,
    /// Packets that firewalls had dropped on account of its ends, when the look began.
    pub dropped_before: Option<u64>,
    /// What stands on the hooks of ends, where ours is not alone.
    pub hooks: BTreeMap<IfIndex, EndFacts>,
    /// Links of BPF by the id of their program.
    pub bpf_links: BTreeMap<u32, Vec<u32>>,
    /// By which numbers it knows others that were looked into; asked only where the other end of a pair
    /// was not seen.
    pub numbers: BTreeMap<i32, NetnsCookie>,
    /// Ends whose peer is in none of the namespaces that were looked into, then and some time later.
    pub lost: BTreeSet<IfIndex>,
    /// What could not be read, and why.
    pub unread: BTreeSet<String>,
}

/// What programs of ours have counted, where they are at work.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By end.
    pub readings: BTreeMap<EndId, EndReading>,
    /// What was lost, by end.
    pub drops: BTreeMap<EndId, Vec<Drops>>,
}

/// An entry of a neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link.
    pub dev: IfIndex,
    /// Who.
    pub address: IpAddr,
    /// What it is thought to be.
    pub mac: Option<MacAddr>,
    /// What is known of it.
    pub state: NeighbourState,
}

/// `NUD_*`, `include/uapi/linux/neighbour.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Nobody has answered.
    Unanswered {
        /// Seconds since it became so.
        age: u32,
    },
    /// Somebody has.
    Known,
    /// An operator said so.
    Permanent,
}

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// The link.
    pub dev: IfIndex,
    /// Its kind.
    pub kind: String,
    /// It is the root.
    pub root: bool,
    /// Packets that it has sent.
    pub sent: u64,
    /// Packets that it has dropped.
    pub drops: u32,
    /// Packets that wait in it.
    pub queued: u32,
}

impl Qdisc {
    /// It is no queue, but a hook for programs and filters.
    #[must_use]
    pub fn is_hook(&self) -> bool {
        matches!(self.kind.as_str(), "clsact" | "ingress")
    }
}

/// Where a packet would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The link.
    pub dev: IfIndex,
    /// Through whom.
    pub via: Option<IpAddr>,
    /// From which address.
    pub source: Option<IpAddr>,
}

/// Why a packet would not go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// What the kernel has learned of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// To whom.
    pub to: IpAddr,
    /// By which link.
    pub dev: IfIndex,
    /// Bytes.
    pub mtu: u32,
}

/// Firewalls of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Base chains of nftables.
    pub chains: Vec<Chain>,
    /// Rules and policies that drop or reject.
    pub rules: Vec<Rule>,
}
