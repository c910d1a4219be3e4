//! What the kernel does by itself, where a plan has to reckon with it.

use ipnet::IpNet;

use super::spec::RouteSpec;

/// The metric that a route gets which names `metric`: IPv6 makes 1024 of 0 (`IP6_RT_PRIO_USER`).
pub(super) fn route_metric(to: IpNet, metric: u32) -> u32 {
    if metric == 0 && matches!(to, IpNet::V6(_)) { 1024 } else { metric }
}

/// The address for which the kernel itself adds `route` once that address is on a link that is up
/// (`fib_add_ifaddr`). IPv6 does so too, with a metric that no file asks for by default.
pub(super) fn own_route(route: &RouteSpec, addresses: &[IpNet]) -> Option<IpNet> {
    let makes_it = |address: &&IpNet| {
        address.addr().is_ipv4() && address.prefix_len() < 32 && address.trunc() == route.to
    };
    let plain = route.via.is_none() && route.metric == 0;
    addresses.iter().filter(|_| plain).find(makes_it).copied()
}

/// Whether taking `primary` off a link takes `other` with it: another IPv4 address of the same
/// subnet, unless `promote_secondaries` is set (`__inet_del_ifa`).
pub(super) fn same_subnet(primary: IpNet, other: IpNet) -> bool {
    matches!(primary, IpNet::V4(_)) && primary.trunc() == other.trunc()
}
