//! A kernel small enough to be read: it carries out the steps of a plan on a [`Snapshot`], and
//! refuses what the real one refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ipnet::IpNet;

use crate::{
    inventory::{
        Address, Link, LinkKind, Namespace, OperState, PeerRef, Route, Snapshot, Unseen,
        crafted::link,
    },
    mark,
    topology::{
        action::{Action, LinkRef, NewEnd},
        kernel::{route_metric, same_subnet},
        model::parse,
        plan::{Plan, apply, delete},
        spec::{Place, RouteSpec, Topology},
        validate::validate,
    },
    types::{EndId, IfIndex, MacAddr, NetnsCookie},
};

const HOST: NetnsCookie = NetnsCookie(1);

pub(super) fn wanted(yaml: &str) -> Topology {
    validate(&parse(yaml).unwrap()).unwrap_or_else(|mistakes| panic!("{yaml}\n{mistakes:#?}"))
}

/// `host/eth0` or `orange/tap1`.
pub(super) fn link_ref(path: &str) -> LinkRef {
    let (netns, name) = path.split_once('/').unwrap();
    let place = (netns != "host").then(|| netns.parse().unwrap());
    LinkRef { place, name: name.parse().unwrap() }
}

#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) seen: Snapshot,
    pub(super) attached: BTreeSet<EndId>,
    /// `net.ipv4.conf.*.promote_secondaries`.
    pub(super) promote_secondaries: bool,
    /// `net.ipv6.conf.*.keep_addr_on_down`.
    pub(super) keep_addr_on_down: bool,
    last: u32,
}

impl Kernel {
    /// A machine with `eth0`.
    pub(super) fn new() -> Self {
        let host = Namespace { names: Vec::new(), ..namespace(HOST, "self") };
        let mut kernel = Self {
            seen: Snapshot {
                host: HOST,
                namespaces: BTreeMap::from([(HOST, host)]),
                peers: BTreeMap::new(),
                unseen: Vec::new(),
            },
            attached: BTreeSet::new(),
            promote_secondaries: false,
            keep_addr_on_down: false,
            last: 1,
        };
        kernel.link("host/eth0", LinkKind::Other(String::new()));
        kernel
    }

    pub(super) fn plan(&self, yaml: &str) -> Result<Plan, Vec<String>> {
        self.plan_topology(&wanted(yaml))
    }

    pub(super) fn plan_topology(&self, wanted: &Topology) -> Result<Plan, Vec<String>> {
        let attached = |end| self.attached.contains(&end);
        apply(wanted, &self.seen, &attached)
            .map_err(|errors| errors.iter().map(|error| format!("{error:?}")).collect())
    }

    pub(super) fn plan_delete(&self, yaml: &str) -> Plan {
        delete(&wanted(yaml), &self.seen)
    }

    /// The steps of an `apply`, as `--dry-run` prints them.
    pub(super) fn steps(&self, yaml: &str) -> Vec<String> {
        self.plan(yaml).unwrap().actions.iter().map(Action::to_string).collect()
    }

    /// Applies a file, and checks that doing so again would change nothing.
    pub(super) fn apply(&mut self, yaml: &str) -> Vec<String> {
        let plan = self.plan(yaml).unwrap();
        self.run(&plan);
        assert_eq!(self.steps(yaml), [""; 0], "a second run changes nothing\n{yaml}");
        plan.actions.iter().map(Action::to_string).collect()
    }

    /// Deletes a file, and gives the steps.
    pub(super) fn delete(&mut self, yaml: &str) -> Vec<String> {
        let plan = self.plan_delete(yaml);
        self.run(&plan);
        plan.actions.iter().map(Action::to_string).collect()
    }

    pub(super) fn run(&mut self, plan: &Plan) {
        plan.actions.iter().for_each(|action| self.step(action));
    }

    pub(super) fn netns(&mut self, name: &str) {
        let cookie = NetnsCookie(u64::from(self.next()));
        self.seen.namespaces.insert(cookie, namespace(cookie, name));
    }

    pub(super) fn unseen(&mut self, name: &str) {
        let path = PathBuf::from("/run/netns").join(name);
        self.seen.unseen.push(Unseen { path, reason: "Permission denied".to_owned() });
    }

    pub(super) fn link(&mut self, path: &str, kind: LinkKind) -> EndId {
        self.make(&link_ref(path), kind)
    }

    pub(super) fn veth(&mut self, one: &str, other: &str) {
        let one = self.link(one, LinkKind::Veth);
        let other = self.link(other, LinkKind::Veth);
        self.seen.peers.extend([(one, other), (other, one)]);
    }

    /// Changes a link behind everybody's back.
    pub(super) fn at(&mut self, path: &str) -> &mut Link {
        let id = self.id(&link_ref(path));
        self.link_mut(id)
    }

    pub(super) fn address(&mut self, path: &str, net: &str, ours: bool) {
        let net = net.parse().unwrap();
        self.at(path).addresses.push(Address { net, ours });
    }

    pub(super) fn route(&mut self, path: &str, to: &str, via: Option<&str>, ours: bool) {
        let id = self.id(&link_ref(path));
        let via = via.map(|via| via.parse().unwrap());
        let (to, dev) = (to.parse().unwrap(), id.ifindex);
        let metric = route_metric(to, 0);
        let route = Route { to, via, source: None, metric, mtu: None, dev, rest: None, ours };
        self.space(id).routes.push(route);
    }

    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn cookie(&self, place: &Place) -> NetnsCookie {
        let Some(name) = place else { return HOST };
        self.seen.netns_named(name.as_str()).expect("namespace is there").cookie
    }

    fn find(&self, link: &LinkRef) -> Option<EndId> {
        let netns = self.cookie(&link.place);
        let found = self.seen.namespaces[&netns].link_named(link.name.as_str())?;
        Some(EndId { netns, ifindex: found.index })
    }

    fn id(&self, link: &LinkRef) -> EndId {
        self.find(link).unwrap_or_else(|| panic!("no such {link}"))
    }

    fn space(&mut self, id: EndId) -> &mut Namespace {
        self.seen.namespaces.get_mut(&id.netns).unwrap()
    }

    fn link_mut(&mut self, id: EndId) -> &mut Link {
        self.space(id).links.get_mut(&id.ifindex).unwrap()
    }

    fn make(&mut self, link: &LinkRef, kind: LinkKind) -> EndId {
        assert_eq!(self.find(link), None, "{link} is taken");
        let index = IfIndex(self.next());
        let id = EndId { netns: self.cookie(&link.place), ifindex: index };
        self.space(id).links.insert(index, plain(index, link.name.as_str(), kind));
        id
    }

    fn make_end(&mut self, end: &NewEnd, alias: &str) -> EndId {
        let id = self.make(&end.link, LinkKind::Veth);
        let link = self.link_mut(id);
        link.alias = Some(alias.to_owned());
        link.mtu = end.mtu.map_or(link.mtu, |mtu| mtu.bytes());
        link.mac = end.mac.or(link.mac);
        id
    }

    fn step(&mut self, action: &Action) {
        match action {
            Action::CreateNetns(name) => {
                self.netns(name.as_str());
                let lo = self.at(&format!("{name}/lo"));
                lo.alias = Some(mark::NETNS.to_owned());
                lo.admin_up = true;
            }
            Action::CreateBridge { link, mtu, mac } => {
                let id = self.make(link, LinkKind::Bridge);
                let link = self.link_mut(id);
                link.alias = Some(mark::BRIDGE.to_owned());
                link.mtu = mtu.map_or(link.mtu, |mtu| mtu.bytes());
                link.mac = mac.or(link.mac);
            }
            Action::MarkBridge(link) => {
                let id = self.id(link);
                let link = self.link_mut(id);
                link.alias = Some(mark::BRIDGE.to_owned());
                link.newborn = false;
            }
            Action::CreatePair { mark, ends } => {
                let [one, other] = ends.each_ref().map(|end| self.make_end(end, &mark.alias()));
                self.seen.peers.extend([(one, other), (other, one)]);
            }
            Action::Mark { link, mark } => {
                let id = self.id(link);
                self.link_mut(id).alias = Some(mark.alias());
            }
            Action::Attach { ends } => {
                let ends = ends.each_ref().map(|end| self.id(end));
                self.attached.extend(ends);
            }
            Action::DeletePair { ends } => self.delete_pair(ends),
            Action::DeleteBridge(bridge) => self.delete_link(self.id(bridge)),
            Action::DeleteNetns(name) => {
                let cookie = self.cookie(&Some(name.clone()));
                let links = self.seen.namespaces[&cookie].links.clone();
                let ends = links.into_keys().map(|ifindex| EndId { netns: cookie, ifindex });
                ends.for_each(|end| self.delete_end(end));
                self.seen.namespaces.remove(&cookie);
            }
            _ => self.change(action),
        }
    }

    fn change(&mut self, action: &Action) {
        match action {
            Action::SetMtu { link, mtu } => self.link_mut(self.id(link)).mtu = mtu.bytes(),
            Action::SetMac { link, mac } => self.link_mut(self.id(link)).mac = Some(*mac),
            Action::SetBridge { link, bridge } => {
                let (id, place) = (self.id(link), link.place.clone());
                let bridge = bridge.clone().map(|name| self.id(&LinkRef { place, name }));
                if let Some(bridge) = bridge {
                    assert_eq!(self.link_mut(bridge).kind, LinkKind::Bridge);
                }
                self.link_mut(id).master = bridge.map(|bridge| bridge.ifindex);
            }
            Action::SetUp { link, up } => self.set_up(self.id(link), *up),
            Action::AddAddress { link, address } => self.add_address(self.id(link), *address),
            Action::RemoveAddress { link, address } => self.remove_address(self.id(link), *address),
            Action::AddRoute { link, route } => self.add_route(self.id(link), route),
            Action::RemoveRoute { link, route } => self.remove_route(self.id(link), route),
            other => panic!("{other} is for step()"),
        }
    }

    fn delete_pair(&mut self, ends: &[LinkRef]) {
        let ends: Vec<_> = ends.iter().map(|end| self.id(end)).collect();
        ends.into_iter().for_each(|end| self.delete_end(end));
    }

    fn delete_end(&mut self, end: EndId) {
        if let Some(peer) = self.seen.peers.remove(&end) {
            self.seen.peers.remove(&peer);
            self.delete_link(peer);
        }
        self.delete_link(end);
    }

    fn delete_link(&mut self, id: EndId) {
        self.attached.remove(&id);
        let netns = self.space(id);
        netns.links.remove(&id.ifindex);
        netns.routes.retain(|route| route.dev != id.ifindex);
        netns.links.values_mut().filter(|port| port.master == Some(id.ifindex)).for_each(|port| {
            port.master = None;
        });
    }

    fn set_up(&mut self, id: EndId, up: bool) {
        let keep = self.keep_addr_on_down;
        let link = self.link_mut(id);
        link.admin_up = up;
        if up {
            return self.connect(id);
        }
        link.addresses.retain(|address| address.net.addr().is_ipv4() || keep);
        self.space(id).routes.retain(|route| route.dev != id.ifindex);
    }

    fn add_address(&mut self, id: EndId, net: IpNet) {
        let there = &self.link_mut(id).addresses;
        let same = |other: &Address| {
            other.net == net || (!net.addr().is_ipv4() && other.net.addr() == net.addr())
        };
        assert!(!there.iter().any(same), "{net} exists");
        self.link_mut(id).addresses.push(Address { net, ours: true });
        self.connect(id);
    }

    /// Adds the routes to the subnets of a link's addresses.
    fn connect(&mut self, id: EndId) {
        let link = self.link_mut(id).clone();
        let Some(routes) = link.admin_up.then(|| self.space(id)) else { return };
        for Address { net, .. } in &link.addresses {
            if net.prefix_len() == net.max_prefix_len() {
                continue;
            }
            let (metric, source) =
                if net.addr().is_ipv4() { (0, Some(net.addr())) } else { (256, None) };
            let (to, dev) = (net.trunc(), id.ifindex);
            let route =
                Route { to, via: None, source, metric, mtu: None, dev, rest: None, ours: false };
            let same = |other: &Route| other.to == to && other.dev == dev && other.metric == metric;
            if !routes.routes.iter().any(same) {
                routes.routes.push(route);
            }
        }
    }

    fn remove_address(&mut self, id: EndId, net: IpNet) {
        let promote = self.promote_secondaries;
        let link = self.link_mut(id);
        let at = link.addresses.iter().position(|address| address.net == net);
        let at = at.unwrap_or_else(|| panic!("{net} is not there"));
        assert!(link.addresses.remove(at).ours, "{net} is not ours");
        let (before, after) = link.addresses.split_at(at);
        let primary = !before.iter().any(|other| same_subnet(net, other.net));
        let secondaries: Vec<_> = after.iter().map(|other| other.net).collect();
        if primary && !promote {
            link.addresses
                .retain(|other| !(secondaries.contains(&other.net) && same_subnet(net, other.net)));
        }
        let last = !link.addresses.iter().any(|address| address.net.addr().is_ipv4());
        let ipv4 = net.addr().is_ipv4();
        self.space(id).routes.retain(|route| {
            let flushed = last && route.dev == id.ifindex && route.to.addr().is_ipv4();
            let own =
                !ipv4 && route.dev == id.ifindex && (route.to, route.metric) == (net.trunc(), 256);
            !(own || ipv4 && (flushed || route.source == Some(net.addr())))
        });
        if primary {
            self.connect(id);
        }
    }

    fn add_route(&mut self, id: EndId, route: &RouteSpec) {
        assert!(self.link_mut(id).admin_up, "Network is down: {route:?}");
        let RouteSpec { to, via, source, metric } = *route;
        let metric = route_metric(to, metric);
        let netns = self.space(id);
        let direct = |via| {
            move |route: &Route| {
                route.via.is_none() && route.dev == id.ifindex && route.to.contains(&via)
            }
        };
        assert!(
            !netns.routes.iter().any(|other| (other.to, other.metric) == (to, metric)),
            "{to} exists"
        );
        assert!(
            via.is_none_or(|via| netns.routes.iter().any(direct(via))),
            "{via:?} is unreachable"
        );
        let mut local = netns.links.values().flat_map(|link| &link.addresses);
        assert!(source.is_none_or(|source| local.any(|address| address.net.addr() == source)));
        netns.routes.push(Route {
            to,
            via,
            source,
            metric,
            mtu: None,
            dev: id.ifindex,
            rest: None,
            ours: true,
        });
    }

    fn remove_route(&mut self, id: EndId, route: &RouteSpec) {
        let RouteSpec { to, via, source, metric } = *route;
        let wanted =
            Route { to, via, source, metric, mtu: None, dev: id.ifindex, rest: None, ours: true };
        let routes = &mut self.space(id).routes;
        let at = routes.iter().position(|route| *route == wanted);
        routes.remove(at.unwrap_or_else(|| panic!("{wanted:?} is not there")));
    }
}

fn namespace(cookie: NetnsCookie, name: &str) -> Namespace {
    let lo = plain(IfIndex(1), "lo", LinkKind::Loopback);
    Namespace {
        cookie,
        inode: 4_026_531_840 + cookie.0,
        names: vec![name.to_owned()],
        path: PathBuf::from("/run/netns").join(name),
        nsid: None,
        links: BTreeMap::from([(IfIndex(1), lo)]),
        routes: Vec::new(),
    }
}

fn plain(index: IfIndex, name: &str, kind: LinkKind) -> Link {
    let peer = kind.is_paired().then_some(PeerRef { ifindex: IfIndex(0), nsid: None });
    let [.., c, d] = index.0.to_be_bytes();
    Link {
        name: name.to_owned(),
        mac: Some(MacAddr([2, 0xff, 0, 0, c, d])),
        admin_up: false,
        carrier: false,
        state: OperState::Down,
        peer,
        ..link(index.0, kind, 1500, &[])
    }
}
