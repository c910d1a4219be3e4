//! What is to be known of a namespace before its pairs may be redirected between. Plain data.

use std::collections::BTreeMap;

use crate::{datapath::Unfit, inventory::Route, types::IfIndex};

/// A namespace in which near ends lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_ipv6: bool,
    /// Routes of the main table.
    pub routes: Vec<Route>,
    /// Rules of the routing policy that a namespace is not born with, as `ip rule` shows them.
    pub rules: Vec<String>,
    /// Base chains of nftables.
    pub chains: Vec<Chain>,
    /// Tables of legacy iptables and ebtables.
    pub legacy: Vec<Legacy>,
    /// `net.bridge.bridge-nf-call-*`: bridged packets pass the chains of IP, too.
    pub bridge_calls_ip: bool,
    /// Policies of XFRM.
    pub xfrm_policies: usize,
    /// Near ends.
    pub ends: BTreeMap<IfIndex, EndFacts>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// What stands at a near end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndFacts {
    /// `net.ipv4.conf.IF.forwarding`.
    pub forwards_ipv4: bool,
    /// Its root queueing discipline.
    pub qdisc: Option<String>,
    /// Programs and filters ahead of ours on ingress.
    pub ahead_on_ingress: Vec<String>,
    /// Programs and filters behind ours on ingress.
    pub behind_on_ingress: Vec<String>,
    /// Programs and filters beside ours on egress.
    pub beside_on_egress: Vec<String>,
    /// What matters to XDP; looked at only where the datapath is `xdp`.
    pub xdp: XdpFacts,
}

/// What stands at a pair's ends where XDP is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdpFacts {
    /// Our program is on the near end.
    pub attached: bool,
    /// Id of somebody else's program on the near end.
    pub foreign: Option<u32>,
    /// The largest packet that the kernel can redirect, in bytes without the Ethernet header, where
    /// there is a limit.
    pub largest: Option<u32>,
    /// Offloads of the far end that are not as XDP needs them, or why they cannot be seen.
    pub unfit: Option<Result<Unfit, String>>,
}

/// Where a base chain of nftables stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// On the way to this host's own sockets.
    Input,
    /// From one interface to another.
    Forward,
    /// From this host's own sockets.
    Output,
    /// Behind routing.
    Postrouting,
    /// Of one device, at its ingress.
    Ingress,
    /// Of one device, at its egress.
    Egress,
}

/// A base chain of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `ip`, `ip6`, `inet`, `bridge`, `netdev` or another.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub hook: Hook,
    /// The devices that it is for, in the family `netdev`.
    pub devices: Vec<String>,
    /// How many rules it has.
    pub rules: u32,
    /// Handle of the first one, as `nft -a` shows it.
    pub first_rule: Option<u64>,
    /// What no rule takes is dropped.
    pub drops: bool,
}

/// A table of legacy iptables or ebtables in which something stands on the forward path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// The tool that shows it: `iptables`, `ip6tables` or `ebtables`.
    pub tool: &'static str,
    /// Its name.
    pub table: String,
    /// The first rule or policy, as the tool writes it.
    pub rule: String,
}
