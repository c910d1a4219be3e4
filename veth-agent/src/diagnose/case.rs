//! All that is known, and the words for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use veth_common::mtu::{Family, Figure, MtuCounters};

use super::{
    Counted, Facts, Finding, has_routes, next_hop,
    way_out::{self, Senders},
};
use crate::{
    collect::Drops,
    inventory::{Bridge, Link, Namespace, Pair, Route, Snapshot},
    mtu,
    shell::quote,
    types::{EndId, NetnsCookie},
};

/// So many addresses of a subnet are tried.
const TRIED: usize = 1 << 16;

/// What a check looks at.
pub struct Case<'a> {
    /// Namespaces, links, addresses and routes.
    pub snapshot: &'a Snapshot,
    /// Its pairs.
    pub pairs: Vec<Pair>,
    /// Its bridges.
    pub bridges: Vec<Bridge<'a>>,
    /// What was asked of each namespace.
    pub facts: &'a BTreeMap<NetnsCookie, Facts>,
    /// What programs of ours have counted.
    pub counted: &'a Counted,
    names: BTreeMap<EndId, String>,
    owners: BTreeMap<IpAddr, Vec<EndId>>,
    gateways: BTreeSet<IpAddr>,
    /// Who sends by each host.
    pub senders: Senders,
}

impl<'a> Case<'a> {
    /// Of a snapshot that was taken with its routes.
    #[must_use]
    pub fn new(
        snapshot: &'a Snapshot,
        facts: &'a BTreeMap<NetnsCookie, Facts>,
        counted: &'a Counted,
    ) -> Self {
        let (pairs, bridges) = (snapshot.pairs(), snapshot.bridges());
        let names = pairs.iter().flat_map(|pair| pair.ends().map(|end| (end, pair.name.clone())));
        let names = names.collect();
        let routes = snapshot.namespaces.values().flat_map(|netns| &netns.routes);
        let gateways = routes.filter_map(|route| route.via).collect();
        let owners = owners(snapshot);
        let senders = Senders::new();
        let case =
            Self { snapshot, pairs, bridges, facts, counted, names, owners, gateways, senders };
        let senders = way_out::senders(&case);
        Self { senders, ..case }
    }

    /// All ends that were seen.
    pub fn ends(&self) -> impl Iterator<Item = End<'a>> {
        let snapshot = self.snapshot;
        snapshot.ends().filter_map(move |id| End::new(snapshot, id))
    }

    /// An end, or any other link.
    #[must_use]
    pub fn end(&self, id: EndId) -> Option<End<'a>> {
        End::new(self.snapshot, id)
    }

    /// The other end of a pair.
    #[must_use]
    pub fn peer(&self, end: &End<'_>) -> Option<End<'a>> {
        self.end(self.snapshot.peer_of(end.id)?)
    }

    /// The bridge that an end is a port of.
    #[must_use]
    pub fn bridge(&self, end: &End<'_>) -> Option<&Bridge<'a>> {
        let master = end.netns.end(end.link.master?);
        self.bridges.iter().find(|bridge| bridge.id() == master)
    }

    /// Name of the pair of an end.
    #[must_use]
    pub fn pair_of(&self, end: EndId) -> String {
        self.names.get(&end).cloned().unwrap_or_default()
    }

    /// Whether packets of others pass a namespace: it has two ways to go, and at least one is an end. All
    /// ports of a bridge are one way, which is the bridge.
    #[must_use]
    pub fn forwards(&self, netns: &Namespace) -> bool {
        let far_away = |link: &&Link| {
            let peer = self.snapshot.peer_of(netns.end(link.index));
            peer.is_some_and(|peer| peer.netns != netns.cookie)
        };
        let way = |link: &Link| link.port.and(link.master).unwrap_or(link.index);
        let ends: BTreeSet<_> = netns.links.values().filter(far_away).map(way).collect();
        let out = mtu::exits(netns).into_iter().map(|exit| exit.ifindex);
        !ends.is_empty() && ends.iter().copied().chain(out).collect::<BTreeSet<_>>().len() > 1
    }

    /// Whether an end needs no address of its own: others' packets are routed over it, or those from an
    /// address of another link.
    #[must_use]
    pub fn needs_no_address(&self, end: &End<'_>) -> bool {
        self.sends_for_others(end) || self.answers_for_others(end) || self.is_in_other_hands(end)
    }

    /// Whether packets are sent over an end from addresses that it has not.
    #[must_use]
    pub fn sends_for_others(&self, end: &End<'_>) -> bool {
        let others = end.netns.links.values().filter(|link| link.index != end.link.index);
        let mut lent = others.flat_map(|link| &link.addresses).map(|address| address.net.addr());
        has_routes(end)
            && (self.forwards(end.netns)
                || lent.any(|address| !address.is_loopback() && !is_link_local(address)))
    }

    /// Whether those on the other side send by an address that another link of an end's namespace has, or
    /// that the end answers for.
    #[must_use]
    pub fn answers_for_others(&self, end: &End<'_>) -> bool {
        let Some(peer) = self.peer(end).filter(|peer| peer.id.netns != end.id.netns) else {
            return false;
        };
        let all = self.facts(end.netns).is_some_and(|facts| facts.proxy_arp);
        let hops = peer.netns.routes.iter().filter(|route| route.dev == peer.id.ifindex);
        let mut hops = hops.filter_map(Route::hop);
        hops.any(|hop| {
            let switches = end.link.switches;
            let proxy = if hop.is_ipv4() { all || switches.proxy_arp } else { switches.proxy_ndp };
            proxy || self.owners(hop).any(|owner| owner.id.netns == end.id.netns)
        })
    }

    /// Whether somebody's program takes the packets of an end: what it does with them is not known.
    #[must_use]
    pub fn is_in_other_hands(&self, end: &End<'_>) -> bool {
        let hooks = self.facts(end.netns).and_then(|facts| facts.hooks.get(&end.id.ifindex));
        end.link.xdp.is_some()
            || hooks.is_some_and(|it| {
                let on = [&it.ahead_on_ingress, &it.behind_on_ingress, &it.beside_on_egress];
                on.into_iter().any(|programs| !programs.is_empty())
            })
    }

    /// Whether all who hear an end are seen, and nobody there answers for others.
    #[must_use]
    pub fn is_seen_whole(&self, end: &End<'_>) -> bool {
        let own = self.bridges.iter().find(|bridge| bridge.id() == end.id);
        let peer = self.peer(end);
        let bridge = own.or_else(|| self.bridge(peer.as_ref()?));
        if bridge.is_some_and(|bridge| !next_hop::is_seen_whole(self, bridge)) {
            return false;
        }
        if bridge.is_none() && peer.is_none_or(|peer| peer.link.master.is_some()) {
            return false;
        }
        let alone = |far: End<'_>| {
            let switches = far.link.switches;
            !far.serves_another() && !switches.proxy_arp && !switches.proxy_ndp
        };
        self.beyond(end).into_iter().all(|far| self.end(far).is_some_and(alone))
    }

    /// The entry to a namespace behind one of its ends: the end, or the bridge that it is a port of.
    /// `None` where it is a port of anything else.
    #[must_use]
    pub fn entry(&self, near: &End<'a>) -> Option<End<'a>> {
        match near.link.master {
            None => Some(*near),
            Some(_) => self.end(self.bridge(near)?.id()),
        }
    }

    /// Who lies on the other side of a link on the same segment: the peer, or its bridge and what hangs
    /// on that, or what hangs on a bridge of one's own.
    #[must_use]
    pub fn beyond(&self, end: &End<'_>) -> BTreeSet<EndId> {
        let bridge = match self.peer(end) {
            Some(peer) => match self.bridge(&peer) {
                Some(bridge) => bridge,
                None => return BTreeSet::from([peer.id]),
            },
            None => match self.bridges.iter().find(|bridge| bridge.id() == end.id) {
                Some(bridge) => bridge,
                None => return BTreeSet::new(),
            },
        };
        let far = bridge.far_ends(self.snapshot).map(|(_, far)| far);
        far.chain([bridge.id()]).filter(|id| *id != end.id).collect()
    }

    /// Links that hear each other's frames. Of a bridge that sorts by VLAN, that is not known.
    #[must_use]
    pub fn layer_two(&self) -> Vec<Vec<End<'a>>> {
        let mut segments: Vec<Vec<_>> = self
            .bridges
            .iter()
            .filter(|bridge| !bridge.link.vlan_filtering)
            .map(|bridge| {
                let far = bridge.far_ends(self.snapshot).map(|(_, far)| far);
                far.chain([bridge.id()]).filter_map(|id| self.end(id)).collect()
            })
            .collect();
        for pair in &self.pairs {
            let ends: Vec<_> = pair.ends().filter_map(|end| self.end(end)).collect();
            if ends.iter().all(|end| end.link.master.is_none()) {
                segments.push(ends);
            }
        }
        segments
    }

    /// Links among which an address belongs to one: those that hear each other, and those that a
    /// namespace routes between.
    #[must_use]
    pub fn segments(&self) -> Vec<Vec<End<'a>>> {
        let mut segments = self.layer_two();
        let mut routed: BTreeMap<NetnsCookie, Vec<_>> = BTreeMap::new();
        for near in self.ends().filter(|near| near.link.master.is_none()) {
            if let Some(far) = self.peer(&near).filter(|far| far.id.netns != near.id.netns) {
                routed.entry(near.id.netns).or_default().extend([near, far]);
            }
        }
        segments.extend(routed.into_values().filter(|ends| ends.len() > 2));
        segments
    }

    /// An address of a subnet for an end that nobody has, or sends to as a gateway. `None`, too, where
    /// somebody may have it who is not seen.
    #[must_use]
    pub fn free_address(&self, end: &End<'_>, net: IpNet) -> Option<IpAddr> {
        if !self.is_seen_whole(end) || net.prefix_len() == net.max_prefix_len() {
            return None;
        }
        // The first one of an IPv6 subnet is its routers' (RFC 4291, 2.6.1), but not of one for two (RFC
        // 6164), as of IPv4 (RFC 3021).
        let for_two = net.prefix_len() + 1 == net.max_prefix_len();
        let mut hosts = net.hosts().take(TRIED).filter(|host| for_two || *host != net.network());
        hosts.find(|host| !self.is_taken(*host))
    }

    /// Whether somebody seen here has an address, or sends to it as a gateway.
    #[must_use]
    pub fn is_taken(&self, address: IpAddr) -> bool {
        self.owners.contains_key(&address) || self.gateways.contains(&address)
    }

    /// A subnet for two that nobody seen here has an address or a route in.
    #[must_use]
    pub fn unused_subnet(&self) -> Option<IpNet> {
        let taken = |net: &IpNet| {
            let routes = self.snapshot.namespaces.values().flat_map(|netns| &netns.routes);
            let mut routes = routes.filter(|route| route.to.prefix_len() > 0);
            routes.any(|route| route.to.contains(net) || net.contains(&route.to))
        };
        let subnet = |third| IpNet::new(IpAddr::from([10, 255, third, 0]), 30).ok();
        (0..=255).filter_map(subnet).find(|net| !taken(net))
    }

    /// What was asked of a namespace.
    #[must_use]
    pub fn facts(&self, netns: &Namespace) -> Option<&'a Facts> {
        self.facts.get(&netns.cookie)
    }

    /// What the kernel has dropped on account of an end.
    #[must_use]
    pub fn drops(&self, end: EndId) -> &'a [Drops] {
        self.counted.drops.get(&end).map_or(&[], Vec::as_slice)
    }

    /// ICMP errors that name an MTU and have arrived where they belong, at an end.
    #[must_use]
    pub fn errors_reached(&self, end: EndId) -> u64 {
        let counted = self.counted.readings.get(&end).and_then(|reading| reading.mtu);
        let reached = |counted: MtuCounters| {
            Family::BOTH.into_iter().map(|family| counted.get(Figure::Reached(family))).sum()
        };
        counted.map_or(0, reached)
    }

    /// Names the pair that a finding is about.
    #[must_use]
    pub fn of_pair(&self, finding: Finding) -> Finding {
        let pair = finding.link.and_then(|link| self.names.get(&link).cloned());
        Finding { pair: finding.pair.or(pair), ..finding }
    }

    /// A stable order: those of containers by name, and the host's last.
    #[must_use]
    pub fn order(&self, end: &End<'_>) -> (bool, String) {
        (end.id.netns == self.snapshot.host, self.name_of(end))
    }

    /// `NETNS/INTERFACE`.
    #[must_use]
    pub fn name(&self, id: EndId) -> String {
        self.end(id).map(|end| self.name_of(&end)).unwrap_or_default()
    }

    /// The same of a link at hand.
    #[must_use]
    pub fn name_of(&self, end: &End<'_>) -> String {
        format!("{}/{}", self.label(end.netns), end.link.name)
    }

    /// What a namespace is called.
    #[must_use]
    pub fn label(&self, netns: &Namespace) -> String {
        netns.label(self.snapshot.host)
    }

    /// `ip ARGUMENTS` in a namespace.
    #[must_use]
    pub fn ip(&self, netns: &Namespace, arguments: &str) -> String {
        match self.short_name(netns) {
            Some(name) => format!("ip -n {} {arguments}", quote(name)),
            None => self.inside(netns, &format!("ip {arguments}")),
        }
    }

    /// `bridge ARGUMENTS` in a namespace.
    #[must_use]
    pub fn bridge_tool(&self, netns: &Namespace, arguments: &str) -> String {
        self.inside(netns, &format!("bridge {arguments}"))
    }

    /// `tc ARGUMENTS` in a namespace.
    #[must_use]
    pub fn tc(&self, netns: &Namespace, arguments: &str) -> String {
        self.inside(netns, &format!("tc {arguments}"))
    }

    /// A route as `ip route` takes it, without its MTU. `None` where something of it would be lost.
    #[must_use]
    pub fn route_words(&self, end: &End<'_>, route: &Route) -> Option<String> {
        let rest = route.rest.as_ref()?;
        let to = match (route.to.prefix_len(), route.to.addr().is_ipv4()) {
            (0, true) => "0.0.0.0/0".to_owned(),
            (0, false) => "::/0".to_owned(),
            _ => route.to.to_string(),
        };
        let other_family = |via: IpAddr| via.is_ipv6() && route.to.addr().is_ipv4();
        let family = if route.via.is_some_and(other_family) { "inet6 " } else { "" };
        let via = route.via.map(|via| format!(" via {family}{via}")).unwrap_or_default();
        let source = route.source.map(|source| format!(" src {source}")).unwrap_or_default();
        let metric = Some(route.metric).filter(|metric| *metric != 0);
        let metric = metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
        Some(format!("{to}{via} dev {}{source}{metric}{rest}", end.word()))
    }

    /// Any command in a namespace.
    #[must_use]
    pub fn inside(&self, netns: &Namespace, command: &str) -> String {
        if netns.cookie == self.snapshot.host {
            return command.to_owned();
        }
        match self.short_name(netns) {
            Some(name) => format!("ip netns exec {} {command}", quote(name)),
            None => {
                let path = netns.path.display().to_string();
                format!("nsenter --net={} {command}", quote(&path))
            }
        }
    }

    /// The name by which `ip` finds a namespace.
    fn short_name<'n>(&self, netns: &'n Namespace) -> Option<&'n str> {
        let named = netns.cookie != self.snapshot.host;
        netns.names.first().filter(|_| named).map(String::as_str)
    }

    /// Who has an address, of all links that were seen.
    pub fn owners(&self, address: IpAddr) -> impl Iterator<Item = End<'a>> {
        let owners = self.owners.get(&address).map_or(&[][..], Vec::as_slice);
        owners.iter().filter_map(|id| End::new(self.snapshot, *id))
    }
}

fn owners(snapshot: &Snapshot) -> BTreeMap<IpAddr, Vec<EndId>> {
    let mut owners: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for netns in snapshot.namespaces.values() {
        for link in netns.links.values() {
            for address in &link.addresses {
                owners.entry(address.net.addr()).or_default().push(netns.end(link.index));
            }
        }
    }
    owners
}

/// A link with the namespace that it lies in.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its identity.
    pub id: EndId,
    /// Its namespace.
    pub netns: &'a Namespace,
    /// The link.
    pub link: &'a Link,
}

impl<'a> End<'a> {
    fn new(snapshot: &'a Snapshot, id: EndId) -> Option<Self> {
        let netns = snapshot.namespaces.get(&id.netns)?;
        Some(Self { id, netns, link: netns.links.get(&id.ifindex)? })
    }

    /// It is up and has a carrier.
    #[must_use]
    pub const fn carries(&self) -> bool {
        self.link.admin_up && self.link.carrier
    }

    /// Its name as a word of a command.
    #[must_use]
    pub fn word(&self) -> String {
        quote(&self.link.name)
    }

    /// It has this address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.link.addresses.iter().any(|own| own.net.addr() == address)
    }

    /// Its addresses but for link-local ones, which every link has.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let addresses = self.link.addresses.iter().map(|address| address.net);
        addresses.filter(|net| !is_link_local(net.addr()))
    }

    /// It hands what arrives to another link, or carries what another link sends.
    #[must_use]
    pub fn serves_another(&self) -> bool {
        let stands_on = |link: &Link| link.lower == Some(self.link.index);
        self.link.master.is_some() || self.netns.links.values().any(stands_on)
    }
}

/// Whether an address is good on one link alone.
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
