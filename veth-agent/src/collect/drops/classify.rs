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

/// Ends of a life: reason and functions, none for all. Measured on 6.1, 6.12 and 6.18 with traffic that
/// fails nowhere; what one compiler keeps apart, another folds into the caller, so some stand for one.
const NORMAL: &[(&str, &[&str])] = &[
    ("not_dropped_yet", &[]),
    ("consumed", &[]),
    // Answers to pings of raw sockets, which have had a copy.
    ("no_socket", &["ping_rcv", "icmp_rcv", "icmpv6_rcv"]),
    // Pings to all that this host does not answer (`icmp_echo_ignore_broadcasts`).
    ("invalid_proto", &["icmp_rcv"]),
    // A bridge floods what it does not know; who is not meant looks away.
    ("otherhost", &["ip_rcv_core", "ip6_rcv_core"]),
    // Left unread by a socket that is closed; of TCP, the FIN.
    ("queue_purge", &["inet_sock_destruct", "sk_stream_kill_queues"]),
    // What TCP has already: it says again what is late, and what keeps a connection alive.
    ("tcp_old_sequence", &[]),
    ("tcp_old_data", &[]),
    ("tcp_ofomerge", &[]),
    ("not_specified", NORMAL_UNSPECIFIED),
];

/// Functions that end lives without a reason.
const NORMAL_UNSPECIFIED: &[&str] = &[
    // Multicast that nobody here has joined; what has been delivered as a copy, MLD for one. (On
    // 6.12 and older, IPv4 addresses that must not be seen end like this, too.)
    "ip6_mc_input",
    "ip_rcv_finish_core",
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

/// In which functions packets end for a reason of this name when their work is done; none for all of them,
/// `None` where none does.
#[must_use]
pub fn normal_ends(reason: &str) -> Option<&'static [&'static str]> {
    NORMAL.iter().find(|(name, _)| *name == reason).map(|(_, symbols)| *symbols)
}

/// What it means that a packet ended for a reason of this name, in this function of the kernel.
#[must_use]
pub fn classify(reason: &str, symbol: Option<&str>) -> Class {
    let is_normal = |(name, symbols): &(&str, &[&str])| {
        *name == reason
            && (symbols.is_empty() || symbol.is_some_and(|symbol| symbols.contains(&symbol)))
    };
    if NORMAL.iter().any(is_normal) {
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
            assert_eq!(classify(reason, symbol), Class::Normal, "{reason} at {symbol:?}");
        }
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
            assert_eq!(classify(reason, Some(symbol)), drop(reason, Stage::Elsewhere), "{symbol}");
        }
    }

    #[test]
    fn without_a_reason_the_function_names_it() {
        let unspecified = |symbol| classify("not_specified", Some(symbol));
        assert_eq!(unspecified("__dev_forward_skb2"), drop("veth_oversize", Stage::Leaving));
        assert_eq!(unspecified("enqueue_to_backlog"), drop("dev_ready", Stage::Arriving));
        assert_eq!(unspecified("ip_forward"), drop("at_ip_forward", Stage::Elsewhere));
        assert_eq!(classify("not_specified", None), drop("not_specified", Stage::Elsewhere));
    }

    #[test]
    fn what_is_lost_between_the_hooks_of_a_pair_says_so() {
        let leaving = ["qdisc_drop", "qdisc_overlimit", "fq_flow_limit"];
        let arriving = ["cpu_backlog", "xdp", "full_ring"];
        let leaving = leaving.map(|reason| (reason, Stage::Leaving));
        for (reason, stage) in leaving.into_iter().chain(arriving.map(|it| (it, Stage::Arriving))) {
            assert_eq!(classify(reason, Some("any")), drop(reason, stage));
            assert_eq!(classify(reason, None), drop(reason, stage), "hidden symbols");
        }
        for reason in ["netfilter_drop", "no_socket", "socket_rcvbuff", "tc_ingress"] {
            assert_eq!(classify(reason, Some("any")), drop(reason, Stage::Elsewhere));
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
