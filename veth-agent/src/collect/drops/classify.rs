//! What the end of a packet means.
//!
//! `kfree_skb` is not a list of drops: packets also end there when their work is done. And the kernel does
//! not give every drop a reason; where it gives none, the function tells.

/// What the end of a packet means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Its work was done, or it was for somebody else to begin with.
    Normal,
    /// It was lost.
    Drop {
        /// By what people are to know it: the kernel's reason in lower case, or ours where it gives none.
        name: String,
        /// Where.
        stage: Stage,
    },
}

/// Where a packet was lost, as the programs on the ends of a pair see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Inside the pair, behind the egress hook of the end that sends, which it is counted for: queueing
    /// disciplines, size.
    Leaving,
    /// Inside the pair, ahead of the ingress hook of the end that receives, which it is counted for:
    /// backlog, ring, XDP.
    Arriving,
    /// Before the one or behind the other.
    Elsewhere,
}

/// How packets end whose work is done. Measured on 6.1, 6.12 and 6.18 with traffic that fails nowhere; what
/// one compiler keeps apart, another folds into the caller, so some functions stand for one.
const NORMAL: &[Normal] = &[
    normal("not_dropped_yet", &[]),
    normal("consumed", &[]),
    // Answers to pings of raw sockets, which have had a copy.
    normal("no_socket", &["ping_rcv", "icmp_rcv", "icmpv6_rcv"]),
    // Pings to all that this host does not answer (`icmp_echo_ignore_broadcasts`).
    normal("invalid_proto", &["icmp_rcv"]),
    // A bridge floods what it does not know; who is not meant looks away.
    normal("otherhost", &["ip_rcv_core", "ip6_rcv_core"]),
    // Left unread by a socket that is closed; of TCP, the FIN.
    normal("queue_purge", &["inet_sock_destruct", "sk_stream_kill_queues"]),
    // What TCP has already: it says again what is late, and what keeps a connection alive.
    normal("tcp_old_sequence", &[]),
    normal("tcp_old_data", &[]),
    normal("tcp_ofomerge", &[]),
    normal("not_specified", NORMAL_UNSPECIFIED),
    // Multicast that nobody here has joined. On 6.12 and older, unicast addresses that must not be seen end
    // like this, too.
    to_group("not_specified", &["ip_rcv_finish_core"]),
    // Reports and solicitations that come before an interface has its route for multicast, up to a second
    // after it is up (`linkwatch_event`): nobody here can have joined. Unicast without a route is lost.
    to_group("ip_innoroutes", &["ip6_pkt_discard", "ip6_pkt_drop"]),
    // They go to whom it may concern: not to an interface without IPv6, and not to one where nobody speaks their
    // protocol (LLDP, for one) or that of the bridge's spanning tree.
    to_group("ipv6disabled", &[]),
    to_group("unhandled_proto", &[]),
    to_group("not_specified", &["stp_pdu_rcv"]),
];

/// A reason for which packets end whose work is done.
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    reason: &'static str,
    /// In which functions they end so; none for all.
    pub functions: &'static [&'static str],
    /// Whether only those do that came to a group or to all.
    pub only_to_groups: bool,
}

const fn normal(reason: &'static str, functions: &'static [&'static str]) -> Normal {
    Normal { reason, functions, only_to_groups: false }
}

const fn to_group(reason: &'static str, functions: &'static [&'static str]) -> Normal {
    Normal { reason, functions, only_to_groups: true }
}

impl Normal {
    fn holds(&self, ended: Ended<'_>) -> bool {
        let is_here = |symbol| self.functions.contains(&symbol);
        self.reason == ended.reason
            && (self.functions.is_empty() || ended.symbol.is_some_and(is_here))
            && (ended.is_to_group || !self.only_to_groups)
    }
}

/// The end of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The kernel's reason in lower case.
    pub reason: &'a str,
    /// The function that freed it, where the kernel shows its addresses.
    pub symbol: Option<&'a str>,
    /// Whether it came to a group or to all.
    pub is_to_group: bool,
}

/// Functions that end lives without a reason.
const NORMAL_UNSPECIFIED: &[&str] = &[
    // Multicast that nobody here has joined; what has been delivered as a copy, MLD for one.
    "ip6_mc_input",
    // Broadcast and multicast without a listener.
    "__udp4_lib_rcv",
    "__udp6_lib_rcv",
    "__udp4_lib_mcast_deliver",
    "__udp6_lib_mcast_deliver",
    // On 6.1, every message of ICMPv6 that has been dealt with.
    "icmpv6_rcv",
    // What comes for a connection in TIME-WAIT.
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    // As `queue_purge`.
    "inet_sock_destruct",
    "sk_stream_kill_queues",
    "udp_destruct_common",
    // An empty buffer that is there for a check: `napi_get_frags_check`.
    "napi_get_frags_check",
    "netif_napi_add",
    "netif_napi_add_weight",
    "netif_napi_add_weight_locked",
    // Not packets of the network.
    "unix_stream_connect",
    "nfnetlink_rcv_batch",
];

/// Reasons for which a packet is lost inside the pair, wherever that is noticed.
const LEAVING: &[&str] = &["cake_flood", "dualpi2_step_drop"];
const ARRIVING: &[&str] = &["cpu_backlog", "dev_ready", "full_ring", "xdp"];

/// What the reasons of queueing disciplines begin with.
const QDISC: [&str; 2] = ["fq_", "qdisc_"];

/// Functions that drop without a reason, and what they drop.
const UNSPECIFIED: &[(&str, &str, Stage)] = &[
    // `is_skb_forwardable`: larger than the other end takes, or that is just going down.
    ("__dev_forward_skb2", "veth_oversize", Stage::Leaving),
    ("__dev_forward_skb", "veth_oversize", Stage::Leaving),
    // The other end is going, or the frame is shorter than its header.
    ("veth_xmit", "veth_refused", Stage::Leaving),
    // A driver that has no room; of veth, in the ring of an end with XDP or GRO (`veth_xdp_rx`).
    ("__dev_kfree_skb_any", "full_ring", Stage::Arriving),
    ("dev_kfree_skb_any_reason", "full_ring", Stage::Arriving),
    // What newer kernels have reasons for.
    ("veth_xdp_rcv_skb", "xdp", Stage::Arriving),
    ("enqueue_to_backlog", "dev_ready", Stage::Arriving),
    ("br_dev_xmit", "no_tx_target", Stage::Elsewhere),
    ("br_handle_frame", "bridge_ingress_stp_state", Stage::Elsewhere),
    ("skb_queue_purge", "queue_purge", Stage::Elsewhere),
];

/// How packets end for a reason of this name when their work is done.
pub fn normal_ends(reason: &str) -> impl Iterator<Item = &'static Normal> {
    NORMAL.iter().filter(move |normal| normal.reason == reason)
}

/// What the end of a packet means.
#[must_use]
pub fn classify(ended: Ended<'_>) -> Class {
    let Ended { reason, symbol, .. } = ended;
    if NORMAL.iter().any(|normal| normal.holds(ended)) {
        return Class::Normal;
    }
    if reason != "not_specified" {
        return Class::Drop { name: reason.to_owned(), stage: stage(reason) };
    }
    let Some(symbol) = symbol else {
        return Class::Drop { name: reason.to_owned(), stage: Stage::Elsewhere };
    };
    let known = UNSPECIFIED.iter().find(|(name, ..)| *name == symbol);
    known.map_or_else(
        || Class::Drop { name: format!("at_{symbol}"), stage: Stage::Elsewhere },
        |(_, name, stage)| Class::Drop { name: (*name).to_owned(), stage: *stage },
    )
}

fn stage(reason: &str) -> Stage {
    if LEAVING.contains(&reason) || QDISC.iter().any(|begin| reason.starts_with(begin)) {
        Stage::Leaving
    } else if ARRIVING.contains(&reason) {
        Stage::Arriving
    } else {
        Stage::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unicast(reason: &str, symbol: Option<&str>) -> Class {
        classify(Ended { reason, symbol, is_to_group: false })
    }

    fn drop(name: &str, stage: Stage) -> Class {
        Class::Drop { name: name.to_owned(), stage }
    }

    #[test]
    fn what_has_done_its_work_is_no_drop() {
        for (reason, symbol) in [
            ("consumed", None),
            ("consumed", Some("anything")),
            ("no_socket", Some("ping_rcv")),
            ("no_socket", Some("icmp_rcv")),
            ("otherhost", Some("ip_rcv_core")),
            ("not_specified", Some("ip6_mc_input")),
            ("not_specified", Some("tcp_v4_rcv")),
        ] {
            assert_eq!(unicast(reason, symbol), Class::Normal, "{reason} at {symbol:?}");
        }
    }

    #[test]
    fn what_a_unicast_frame_is_lost_by_may_be_nothing_to_a_multicast_frame() {
        for (reason, symbol) in [
            ("ip_innoroutes", Some("ip6_pkt_discard")),
            ("ipv6disabled", Some("ip6_rcv_core")),
            ("unhandled_proto", Some("__netif_receive_skb_core")),
        ] {
            let multicast = Ended { reason, symbol, is_to_group: true };
            assert_eq!(classify(multicast), Class::Normal, "{reason}");
            assert_eq!(unicast(reason, symbol), drop(reason, Stage::Elsewhere));
        }
        let (reason, symbol) = ("not_specified", Some("ip_rcv_finish_core"));
        assert_eq!(classify(Ended { reason, symbol, is_to_group: true }), Class::Normal);
        assert_eq!(unicast(reason, symbol), drop("at_ip_rcv_finish_core", Stage::Elsewhere));
        let elsewhere = Some("ip6_pkt_discard_out");
        let ended = Ended { reason: "ip_innoroutes", symbol: elsewhere, is_to_group: true };
        assert_eq!(classify(ended), drop("ip_innoroutes", Stage::Elsewhere));
    }

    #[test]
    fn the_same_reason_elsewhere_is_one() {
        for (reason, symbol) in [
            ("no_socket", "__udp4_lib_rcv"),
            ("no_socket", "tcp_v4_rcv"),
            ("otherhost", "ip_forward"),
            ("queue_purge", "neigh_destroy"),
            ("tcp_csum", "tcp_v4_rcv"),
        ] {
            assert_eq!(unicast(reason, Some(symbol)), drop(reason, Stage::Elsewhere), "{symbol}");
        }
    }

    #[test]
    fn without_a_reason_the_function_names_it() {
        let unspecified = |symbol| unicast("not_specified", Some(symbol));
        assert_eq!(unspecified("__dev_forward_skb2"), drop("veth_oversize", Stage::Leaving));
        assert_eq!(unspecified("enqueue_to_backlog"), drop("dev_ready", Stage::Arriving));
        assert_eq!(unspecified("ip_forward"), drop("at_ip_forward", Stage::Elsewhere));
        assert_eq!(unicast("not_specified", None), drop("not_specified", Stage::Elsewhere));
    }

    #[test]
    fn what_is_lost_between_the_hooks_of_a_pair_says_so() {
        let leaving = ["qdisc_drop", "qdisc_overlimit", "fq_flow_limit"];
        let arriving = ["cpu_backlog", "xdp", "full_ring"];
        let leaving = leaving.map(|reason| (reason, Stage::Leaving));
        for (reason, stage) in leaving.into_iter().chain(arriving.map(|it| (it, Stage::Arriving))) {
            assert_eq!(unicast(reason, Some("any")), drop(reason, stage));
            assert_eq!(unicast(reason, None), drop(reason, stage), "hidden symbols");
        }
        for reason in ["netfilter_drop", "no_socket", "socket_rcvbuff", "tc_ingress"] {
            assert_eq!(unicast(reason, Some("any")), drop(reason, Stage::Elsewhere));
        }
    }

    #[test]
    fn no_function_stands_for_both() {
        for (symbol, ..) in UNSPECIFIED {
            assert!(!NORMAL_UNSPECIFIED.contains(symbol), "{symbol}");
            assert_eq!(UNSPECIFIED.iter().filter(|(other, ..)| other == symbol).count(), 1);
        }
    }
}
