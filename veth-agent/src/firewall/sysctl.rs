//! Switches of the namespace that the calling thread is in.

use std::fs;

/// Whether bridged packets pass the chains of IP (`br_netfilter`; there are no such switches
/// without it).
#[must_use]
pub fn bridge_calls_ip() -> bool {
    ["iptables", "ip6tables"].iter().any(|what| {
        let value = fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{what}"));
        value.is_ok_and(|value| value.trim() != "0")
    })
}
