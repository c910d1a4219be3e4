//! Switches of the namespace that the calling thread is in.

use std::fs;

fn is_on(name: &str) -> bool {
    let value = fs::read_to_string(format!("/proc/sys/net/{name}"));
    value.is_ok_and(|value| value.trim() != "0")
}

/// Whether IPv4 packets that arrive at an interface are forwarded.
pub fn forwards_ipv4(interface: &str) -> bool {
    is_on(&format!("ipv4/conf/{interface}/forwarding"))
}

/// Whether IPv6 packets are forwarded.
pub fn forwards_ipv6() -> bool {
    is_on("ipv6/conf/all/forwarding")
}
