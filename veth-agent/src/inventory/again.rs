//! What a route has beside its destination, as `ip route` takes it.

use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RoutePreference, RouteProtocol,
        RouteScope,
    },
};

/// `ecn` of `RTAX_FEATURES`, `include/uapi/linux/rtnetlink.h`.
const ECN: u32 = 1;
/// `rto_min` is always locked: it is not for the kernel to find.
const RTO_MIN: u32 = 1 << 13;

/// The words that a route is written again with, beside destination, gateway, link, source, metric and
/// MTU. `None` where it has what these words cannot say, or what the kernel alone keeps up.
pub fn words(message: &RouteMessage) -> Option<String> {
    let header = &message.header;
    if header.source_prefix_length != 0 || header.flags.contains(RouteFlags::Pervasive) {
        return None;
    }
    let mut words = String::new();
    if header.flags.contains(RouteFlags::Onlink) {
        words += " onlink";
    }
    if header.tos != 0 {
        words += &format!(" tos {:#04x}", header.tos);
    }
    words += &protocol(header.protocol)?;
    words += &scope(message);
    for attribute in &message.attributes {
        words += &of_attribute(attribute)?;
    }
    Some(words)
}

/// Routes of router advertisements and redirects come and go with these.
fn protocol(protocol: RouteProtocol) -> Option<String> {
    match protocol {
        RouteProtocol::Boot => Some(String::new()),
        RouteProtocol::Ra | RouteProtocol::IcmpRedirect => None,
        RouteProtocol::Kernel => Some(" proto kernel".to_owned()),
        RouteProtocol::Static => Some(" proto static".to_owned()),
        other => Some(format!(" proto {}", u8::from(other))),
    }
}

/// Only where it is not the one that `ip` chooses. IPv6 has none.
fn scope(message: &RouteMessage) -> String {
    let is_gateway =
        |it: &RouteAttribute| matches!(it, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
    let by_gateway = message.attributes.iter().any(is_gateway);
    let chosen = if by_gateway { RouteScope::Universe } else { RouteScope::Link };
    match message.header.scope {
        _ if message.header.address_family != AddressFamily::Inet => String::new(),
        scope if scope == chosen => String::new(),
        RouteScope::Universe => " scope global".to_owned(),
        RouteScope::Link => " scope link".to_owned(),
        scope => format!(" scope {}", u8::from(scope)),
    }
}

fn of_attribute(attribute: &RouteAttribute) -> Option<String> {
    match attribute {
        RouteAttribute::Destination(_)
        | RouteAttribute::Gateway(_)
        | RouteAttribute::Via(_)
        | RouteAttribute::PrefSource(_)
        | RouteAttribute::Priority(_)
        | RouteAttribute::Oif(_)
        | RouteAttribute::Table(_)
        | RouteAttribute::Preference(RoutePreference::Medium) => Some(String::new()),
        RouteAttribute::CacheInfo(info) => (info.expires == 0).then(String::new),
        RouteAttribute::Preference(RoutePreference::High) => Some(" pref high".to_owned()),
        RouteAttribute::Preference(RoutePreference::Low) => Some(" pref low".to_owned()),
        RouteAttribute::Metrics(metrics) => metrics.iter().map(of_metric).collect(),
        _ => None,
    }
}

/// A time without a unit is taken as the kernel has it.
fn of_metric(metric: &RouteMetric) -> Option<String> {
    let (word, value) = match metric {
        RouteMetric::Mtu(_) => return Some(String::new()),
        RouteMetric::Window(value) => ("window", value),
        RouteMetric::Rtt(value) => ("rtt", value),
        RouteMetric::RttVar(value) => ("rttvar", value),
        RouteMetric::SsThresh(value) => ("ssthresh", value),
        RouteMetric::Cwnd(value) => ("cwnd", value),
        RouteMetric::Advmss(value) => ("advmss", value),
        RouteMetric::Reordering(value) => ("reordering", value),
        RouteMetric::Hoplimit(value) => ("hoplimit", value),
        RouteMetric::InitCwnd(value) => ("initcwnd", value),
        RouteMetric::InitRwnd(value) => ("initrwnd", value),
        RouteMetric::RtoMin(value) => ("rto_min", value),
        RouteMetric::QuickAck(value) => ("quickack", value),
        RouteMetric::FastopenNoCookie(value) => ("fastopen_no_cookie", value),
        RouteMetric::Features(ECN) => return Some(" features ecn".to_owned()),
        RouteMetric::Lock(RTO_MIN) => return Some(String::new()),
        _ => return None,
    };
    Some(format!(" {word} {value}"))
}
