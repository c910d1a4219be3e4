//! What the kernel does by itself, where a plan has to reckon with it.

use ipnet::IpNet;

/// The metric that a route gets which names `metric`: IPv6 makes 1024 of 0 (`IP6_RT_PRIO_USER`).
pub(super) fn route_metric(to: IpNet, metric: u32) -> u32 {
    if metric == 0 && matches!(to, IpNet::V6(_)) { 1024 } else { metric }
}

/// Whether the kernel adds a route to `to`, metric 0, once `address` is on a link that is up
/// (`fib_add_ifaddr`). IPv6 does so too, with a metric that no file asks for by default.
pub(super) fn makes_route(address: IpNet, to: IpNet) -> bool {
    matches!(address, IpNet::V4(_)) && address.prefix_len() < 32 && address.trunc() == to
}
