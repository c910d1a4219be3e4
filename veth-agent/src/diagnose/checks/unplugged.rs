//! A container's end that is a port of no bridge, while the container's gateway is a bridge's.

use std::net::IpAddr;

use crate::{
    diagnose::{Case, Certainty, End, Finding, has_routes},
    inventory::Bridge,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    case.ends().filter_map(|near| unplugged(case, &near)).collect()
}

/// The bridge that an end should be a port of, and what tells.
pub fn missed<'c, 'a>(case: &'c Case<'a>, near: &End<'a>) -> Option<(&'c Bridge<'a>, String)> {
    if !near.link.admin_up || !has_nothing_to_do(case, near) {
        return None;
    }
    let far =
        case.peer(near).filter(|far| far.id.netns != near.id.netns && !far.serves_another())?;
    let mut bridges = case.bridges.iter().filter(|bridge| bridge.netns.cookie == near.id.netns);
    bridges.find_map(|bridge| Some((bridge, shared(bridge, &far)?)))
}

/// Neither a port, nor an address, nor a route, and nobody answers by it for others.
fn has_nothing_to_do(case: &Case<'_>, near: &End<'_>) -> bool {
    near.link.addresses.iter().all(|own| own.net.addr().is_ipv6())
        && near.addresses().next().is_none()
        && !near.serves_another()
        && !has_routes(near)
        && !near.link.switches.proxy_arp
        && !case.is_in_other_hands(near)
}

fn unplugged<'a>(case: &Case<'a>, near: &End<'a>) -> Option<Finding> {
    let (far, (bridge, shared)) = (case.peer(near)?, missed(case, near)?);
    let (container, name) = (case.label(far.netns), case.name_of(near));
    let on = &bridge.link.name;
    let what = format!("{container}'s {shared} is on {on}, and {name} is a port of no bridge");
    let mut finding = Finding::error("port-missing", near.id, what)
        .because("it has no master, no address and no route", "RTM_GETLINK, RTM_GETROUTE")
        .only(Certainty::Likely);
    finding.others.push(far.id);
    // With VLANs, nobody here knows which.
    if bridge.link.vlan_filtering {
        return Some(finding);
    }
    let command = format!("link set dev {} master {}", near.word(), case.end(bridge.id())?.word());
    Some(finding.mended_by(case.ip(near.netns, &command)))
}

/// What a container has in common with a bridge: its gateway, or its subnet.
fn shared(bridge: &Bridge<'_>, far: &End<'_>) -> Option<String> {
    let of_bridge = || bridge.link.addresses.iter().map(|own| own.net);
    let is_bridges = |via: &IpAddr| of_bridge().any(|net| net.addr() == *via);
    let routes = far.netns.routes.iter().filter(|route| route.dev == far.id.ifindex);
    if let Some(gateway) = routes.filter_map(|route| route.via).find(is_bridges) {
        return Some(format!("gateway {gateway}"));
    }
    let whole = |net: &ipnet::IpNet| net.prefix_len() == net.max_prefix_len();
    let mut own = far.addresses().filter(|net| !whole(net));
    let subnet = own.find(|own| of_bridge().any(|net| net.trunc() == own.trunc()))?;
    Some(format!("subnet {}", subnet.trunc()))
}
