//! What is to be known of a namespace before its pairs may be redirected between. Plain data.

use std::collections::BTreeMap;

use crate::{
    datapath::Unfit,
    firewall::{Chain, Legacy},
    inventory::Route,
    types::IfIndex,
};

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
