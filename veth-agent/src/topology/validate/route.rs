//! Routes of an end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{At, Checker, Entry, link, model};
use crate::topology::{
    kernel::{own_route, route_metric},
    spec::{LinkSettings, Place, RouteSpec},
};

/// What the addresses of the routes' own end say.
struct Around<'a> {
    who: &'a str,
    addresses: &'a [IpNet],
    /// Whether `addresses` is all that the file says, and nothing of it was refused.
    complete: bool,
}

impl Around<'_> {
    fn has(&self, ipv4: bool) -> bool {
        self.addresses.iter().any(|address| address.addr().is_ipv4() == ipv4)
    }
}

impl Checker {
    pub(super) fn routes(
        &mut self,
        who: &str,
        place: Option<&Place>,
        end: &model::End,
        settings: &LinkSettings,
    ) -> Vec<RouteSpec> {
        let around = Around {
            who,
            addresses: &settings.addresses,
            complete: settings.addresses.len() == end.addresses.len(),
        };
        if let (Some(route), Some(up)) = (end.routes.first(), &end.up)
            && !up.value
        {
            let what = "routes need the end up; take them out or `up: false`";
            self.mistake(route.to.position, who, what);
        }
        let mut routes = Vec::with_capacity(end.routes.len());
        for written in &end.routes {
            let Some(route) = self.route(&around, written) else { continue };
            if let Some(place) = place {
                self.claim_route(who, place, written, &route);
            }
            routes.push(route);
        }
        if let (Some(at), Some(mtu)) = (&end.mtu, settings.mtu) {
            let ipv6 = !around.has(false) && routes.iter().any(|route| !route.to.addr().is_ipv4());
            self.mtu_carries_ipv6(who, at.position, mtu, ipv6);
        }
        routes
    }

    fn route(&mut self, around: &Around<'_>, written: &model::Route) -> Option<RouteSpec> {
        let who = around.who;
        let via = self.host(who, "via", written.via.as_ref());
        let source = self.host(who, "source", written.source.as_ref());
        let metric = written.metric.as_ref();
        let metric = match metric {
            Some(at) => self.noted(at.position, who, number(at.value)),
            None => Some(0),
        };
        // The family of `default` stands in keys that may be wrong themselves.
        let (via, source, metric) = (via?, source?, metric?);
        let to = if written.to.value == "default" {
            default_of(via.or(source), around)
        } else {
            self.noted(written.to.position, who, destination(&written.to.value))?
        };
        let route = RouteSpec { to, via, source, metric };
        self.noted(written.to.position, who, one_family(&route))?;
        self.noted(written.to.position, who, reachable(&route, around))?;
        self.noted(written.to.position, who, not_the_kernels(&route, around))?;
        Some(route)
    }

    /// `None` is a mistake; `Some(None)` a key that is not there.
    fn host(
        &mut self,
        who: &str,
        key: &str,
        written: Option<&At<String>>,
    ) -> Option<Option<IpAddr>> {
        let Some(at) = written else { return Some(None) };
        self.noted(at.position, who, host(key, &at.value)).map(Some)
    }

    /// The kernel keeps one route for each destination and metric.
    fn claim_route(&mut self, who: &str, place: &Place, written: &model::Route, route: &RouteSpec) {
        let key = (place.clone(), route.to, route_metric(route.to, route.metric));
        let taken = match self.routes.entry(key) {
            Entry::Vacant(free) => {
                free.insert(who.to_owned());
                return;
            }
            Entry::Occupied(taken) => taken.get().clone(),
        };
        let what = format!(
            "route to {} is already that of {taken} in {}; give one of them a metric",
            route.to,
            link::describe(place)
        );
        self.mistake(written.to.position, who, what);
    }
}

fn number(metric: i64) -> Result<u32, String> {
    u32::try_from(metric)
        .map_err(|_| format!("metric {metric} is out of range; use 0 to {}", u32::MAX))
}

fn host(key: &str, text: &str) -> Result<IpAddr, String> {
    let address = match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
        (Ok(address), _) => address,
        (_, Ok(net)) => {
            return Err(format!("{key} {net} has a prefix length; write {}", net.addr()));
        }
        _ => {
            return Err(link::malformed(
                &format!("an address ({key})"),
                text,
                "10.0.0.1 or fd00::1",
            ));
        }
    };
    link::unicast(address).map_err(|why| format!("{key} {address} {why}"))?;
    Ok(address)
}

/// As `ip route` does, takes an address without prefix length for a single host.
fn destination(text: &str) -> Result<IpNet, String> {
    let to = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(net), _) => net,
        (_, Ok(host)) => IpNet::from(host),
        _ => {
            return Err(link::malformed(
                "a destination",
                text,
                "10.0.0.0/24, fd00::/64 or default",
            ));
        }
    };
    if to.addr().is_unspecified() && to.prefix_len() == to.max_prefix_len() {
        return Err(format!("route to {to} leads nowhere; write default"));
    }
    if to != to.trunc() {
        return Err(format!("route to {to} has bits set behind the prefix; write {}", to.trunc()));
    }
    Ok(to)
}

fn default_of(host: Option<IpAddr>, around: &Around<'_>) -> IpNet {
    let ipv4 = host.map_or_else(|| around.has(true) || !around.has(false), |host| host.is_ipv4());
    if ipv4 {
        Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into()
    }
}

fn family(ipv4: bool) -> &'static str {
    if ipv4 { "IPv4" } else { "IPv6" }
}

fn one_family(route: &RouteSpec) -> Result<(), String> {
    let ipv4 = route.to.addr().is_ipv4();
    for (key, host) in [("via", route.via), ("source", route.source)] {
        if let Some(host) = host
            && host.is_ipv4() != ipv4
        {
            let (to, wanted, given) = (route.to, family(ipv4), family(host.is_ipv4()));
            return Err(format!(
                "route to {to} is {wanted} and its {key} {host} is {given}; use one family for both"
            ));
        }
    }
    Ok(())
}

/// A gateway is reached from an address of its family; an end without any address may get one
/// elsewhere.
fn reachable(route: &RouteSpec, around: &Around<'_>) -> Result<(), String> {
    let Some(via) = route.via else { return Ok(()) };
    if !around.complete || around.addresses.is_empty() || around.has(via.is_ipv4()) {
        return Ok(());
    }
    let (needed, there) = (family(via.is_ipv4()), family(!via.is_ipv4()));
    Err(format!(
        "route via {via} needs an {needed} address on the end, which has only {there} addresses; \
         add one or take the route out"
    ))
}

/// The kernel makes the route to an address' subnet itself, and refuses a second one that differs
/// only in its source.
fn not_the_kernels(route: &RouteSpec, around: &Around<'_>) -> Result<(), String> {
    let Some(own) = own_route(route, around.addresses) else { return Ok(()) };
    match route.source {
        Some(source) if source != own.addr() => Err(format!(
            "route to {} is there with source {} once {own} is set; give this one a metric",
            route.to,
            own.addr()
        )),
        _ => Ok(()),
    }
}
