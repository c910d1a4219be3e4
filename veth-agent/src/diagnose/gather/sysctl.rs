//! Switches of the namespace that the calling thread is in.

use std::fs;

use crate::diagnose::LinkFacts;

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

/// The switches of a link.
pub fn of_link(name: &str) -> LinkFacts {
    // The larger one counts (`Documentation/networking/ip-sysctl.rst`).
    let filters = ["all", name].map(|of| read(&format!("ipv4/conf/{of}/rp_filter")));
    LinkFacts {
        forwards_ipv4: is_on(&format!("ipv4/conf/{name}/forwarding")),
        rp_filter: filters.into_iter().flatten().max().unwrap_or(0),
        ipv6_disabled: is_on(&format!("ipv6/conf/{name}/disable_ipv6")),
    }
}
