//! Switches of the namespace that the calling thread is in.

use std::fs;

fn read(name: &str) -> Option<u8> {
    fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?.trim().parse().ok()
}

fn is_on(name: &str) -> bool {
    read(name).is_some_and(|value| value != 0)
}

/// Whether IPv4 packets are forwarded.
pub fn forwards_ipv4() -> bool {
    is_on("ipv4/ip_forward")
}

/// Whether IPv6 packets are forwarded.
pub fn forwards_ipv6() -> bool {
    is_on("ipv6/conf/all/forwarding")
}

/// Whether all links answer ARP for addresses of others.
pub fn proxy_arp() -> bool {
    is_on("ipv4/conf/all/proxy_arp")
}

/// How reverse paths are filtered at all links; one of its own may do so more loosely
/// (`Documentation/networking/ip-sysctl.rst`).
pub fn rp_filter() -> u8 {
    read("ipv4/conf/all/rp_filter").unwrap_or(0)
}
