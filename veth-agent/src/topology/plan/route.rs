//! Routes through the ends.

use ipnet::IpNet;

use super::{
    PlanError,
    link::Settle,
    view::{Found, Site},
};
use crate::{
    inventory::{Namespace, Route},
    topology::{
        action::{Action, LinkRef},
        kernel::{own_route, route_metric},
        spec::{EndSpec, RouteSpec},
    },
};

/// Routes of all ends together: what one end gives up, another may take.
#[derive(Default)]
pub(super) struct Routes<'a> {
    remove: Vec<(LinkRef, RouteSpec)>,
    add: Vec<Addition<'a>>,
    /// Routes that are not there any more when [`Self::add`] is carried out.
    gone: Vec<&'a Route>,
}

struct Addition<'a> {
    site: Site<'a>,
    link: LinkRef,
    route: RouteSpec,
}

/// An end whose routes are to be planned.
pub(super) struct Through<'a, 'b> {
    pub(super) link: &'b LinkRef,
    pub(super) end: &'b EndSpec,
    pub(super) site: Site<'a>,
    /// The end, where it is there already.
    pub(super) found: Option<Found<'a>>,
    pub(super) settle: &'b Settle,
}

impl Through<'_, '_> {
    /// Whether the kernel takes the route away by itself while the settings of its end change: with
    /// the last IPv4 address go all routes (`fib_disable_ip`), with any the ones that start from it.
    fn loses(&self, route: &Route) -> bool {
        let Some(found) = self.found else { return false };
        let removed = &self.settle.removed;
        let is_ipv4 = |address: &&IpNet| address.addr().is_ipv4();
        let ipv4 = found.link.addresses.iter().filter(|there| there.net.addr().is_ipv4()).count();
        let all_go = ipv4 > 0 && removed.iter().filter(is_ipv4).count() == ipv4;
        let starts_there = removed.iter().any(|address| Some(address.addr()) == route.source);
        route.to.addr().is_ipv4() && (all_go || starts_there)
    }

    /// Whether the kernel adds the route by itself while the settings of its end change.
    fn gains(&self, route: &RouteSpec) -> bool {
        let comes_up = self.settle.up.is_some();
        own_route(route, &self.end.settings.addresses)
            .is_some_and(|address| comes_up || self.settle.added.contains(&address))
    }
}

impl<'a> Routes<'a> {
    pub(super) fn plan(&mut self, through: &Through<'a, '_>) {
        let seen: Vec<&Route> = through.found.map(routes_through).unwrap_or_default();
        let wanted = &through.end.routes;
        for &route in &seen {
            let unwanted = route.ours && !wanted.iter().any(|wanted| is(wanted, route));
            if unwanted {
                self.remove.push((through.link.clone(), spec(route)));
            }
            if unwanted || through.loses(route) {
                self.gone.push(route);
            }
        }
        for route in wanted {
            let stays = seen.iter().any(|seen| is(route, seen) && !through.loses(seen));
            if !stays && !through.gains(route) {
                let (site, link) = (through.site, through.link.clone());
                self.add.push(Addition { site, link, route: route.clone() });
            }
        }
    }

    /// Routes that the kernel would refuse, as another one has their destination and metric.
    pub(super) fn conflicts(&self) -> Vec<PlanError> {
        self.add.iter().filter_map(|addition| self.conflict(addition)).collect()
    }

    fn conflict(&self, addition: &Addition<'a>) -> Option<PlanError> {
        let Site::There(netns) = addition.site else { return None };
        let RouteSpec { to, metric, .. } = addition.route;
        let in_the_way = netns.routes.iter().find(|route| {
            route.to == to
                && route_metric(to, route.metric) == route_metric(to, metric)
                && !self.gone.iter().any(|gone| std::ptr::eq(*gone, *route))
        })?;
        let via = in_the_way.via.map(|via| format!(" via {via}")).unwrap_or_default();
        Some(PlanError::Conflict(format!(
            "{}: a route to {to}{via} through {} is there already; give the new one another metric, \
             or remove that one",
            addition.link,
            device(netns, in_the_way)
        )))
    }

    /// Routes over a gateway go before the ones by which it is reached.
    pub(super) fn removals(&self) -> impl Iterator<Item = Action> {
        let (over_gateway, direct): (Vec<_>, Vec<_>) =
            self.remove.iter().cloned().partition(|(_, route)| route.via.is_some());
        let step = |(link, route)| Action::RemoveRoute { link, route };
        over_gateway.into_iter().chain(direct).map(step)
    }

    /// Routes over a gateway come after the ones by which it is reached.
    pub(super) fn additions(self) -> impl Iterator<Item = Action> {
        let (over_gateway, direct): (Vec<_>, Vec<_>) =
            self.add.into_iter().partition(|addition| addition.route.via.is_some());
        let step = |Addition { link, route, .. }| Action::AddRoute { link, route };
        direct.into_iter().chain(over_gateway).map(step)
    }
}

fn routes_through(end: Found<'_>) -> Vec<&Route> {
    end.netns.routes.iter().filter(|route| route.dev == end.link.index).collect()
}

/// Whether `seen` is what `wanted` asks for. A source that is not asked for may be any.
fn is(wanted: &RouteSpec, seen: &Route) -> bool {
    wanted.to == seen.to
        && wanted.via == seen.via
        && route_metric(wanted.to, wanted.metric) == route_metric(seen.to, seen.metric)
        && (wanted.source.is_none() || wanted.source == seen.source)
}

fn spec(route: &Route) -> RouteSpec {
    RouteSpec { to: route.to, via: route.via, source: route.source, metric: route.metric }
}

fn device<'a>(netns: &'a Namespace, route: &Route) -> &'a str {
    netns.links.get(&route.dev).map_or("another interface", |link| link.name.as_str())
}
