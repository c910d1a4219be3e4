//! How steps read, one line each, as `--dry-run` prints them.

use std::fmt;

use super::{
    action::{Action, LinkRef, NewEnd},
    spec::{Place, RouteSpec},
};

/// A link in running text: `tap1 in "orange"`, `br0 on the host`.
pub(super) fn link(link: &LinkRef) -> String {
    format!("{} {}", link.name, place(&link.place))
}

fn place(place: &Place) -> String {
    match place {
        Some(netns) => format!("in {:?}", netns.as_str()),
        None => "on the host".to_owned(),
    }
}

/// `, MTU 1500, MAC 02:00:00:00:00:01`, as far as they are given.
fn born_with(mtu: Option<impl fmt::Display>, mac: Option<impl fmt::Display>) -> String {
    let mtu = mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
    let mac = mac.map(|mac| format!(", MAC {mac}")).unwrap_or_default();
    mtu + &mac
}

fn new_end(end: &NewEnd) -> String {
    link(&end.link) + &born_with(end.mtu.map(|mtu| mtu.bytes()), end.mac)
}

fn route(route: &RouteSpec) -> String {
    let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let source = route.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let metric =
        if route.metric == 0 { String::new() } else { format!(" metric {}", route.metric) };
    if route.to.prefix_len() == 0 {
        let family = if route.to.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        return format!("{family} default route{via}{source}{metric}");
    }
    format!("route to {}{via}{source}{metric}", route.to)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetns(name) => write!(f, "create namespace {:?}", name.as_str()),
            Self::CreateBridge { link: new, mtu, mac } => {
                let born_with = born_with(mtu.map(|mtu| mtu.bytes()), *mac);
                write!(f, "create bridge {}{born_with}", link(new))
            }
            Self::MarkBridge(bridge) => write!(f, "mark bridge {}", link(bridge)),
            Self::CreatePair { mark, ends: [one, other] } => {
                let pair = mark.pair.as_str();
                write!(f, "create pair {pair:?}: {} <-> {}", new_end(one), new_end(other))
            }
            Self::Mark { link: end, mark } => {
                write!(f, "mark {} as an end of {:?}", link(end), mark.pair.as_str())
            }
            Self::Attach { ends: [one, other] } => {
                write!(f, "attach programs to {} and {}", link(one), link(other))
            }
            Self::SetMtu { link: of, mtu } => {
                write!(f, "set MTU of {} to {}", link(of), mtu.bytes())
            }
            Self::SetMac { link: of, mac } => write!(f, "set MAC of {} to {mac}", link(of)),
            Self::AddAddress { link: to, address } => {
                write!(f, "add address {address} to {}", link(to))
            }
            Self::RemoveAddress { link: from, address } => {
                write!(f, "remove address {address} from {}", link(from))
            }
            Self::SetBridge { link: port, bridge: Some(bridge) } => {
                write!(f, "make {} a port of {bridge}", link(port))
            }
            Self::SetBridge { link: port, bridge: None } => {
                write!(f, "take {} off its bridge", link(port))
            }
            Self::SetUp { link: of, up } => {
                write!(f, "set {} {}", link(of), if *up { "up" } else { "down" })
            }
            Self::AddRoute { link: through, route: new } => {
                write!(f, "add {} through {}", route(new), link(through))
            }
            Self::RemoveRoute { link: through, route: old } => {
                write!(f, "remove {} through {}", route(old), link(through))
            }
            Self::DeletePair { ends } => {
                let ends: Vec<_> = ends.iter().map(link).collect();
                write!(f, "delete pair {}", ends.join(" <-> "))
            }
            Self::DeleteBridge(bridge) => write!(f, "delete bridge {}", link(bridge)),
            Self::DeleteNetns(name) => write!(f, "delete namespace {:?}", name.as_str()),
        }
    }
}
