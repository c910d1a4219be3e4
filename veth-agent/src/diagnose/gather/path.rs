//! What netlink tells of the way of packets in the namespace that the calling thread is in.

use std::net::IpAddr;

use netlink_packet_route::{
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as Nud},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
    tc::{TcAttribute, TcHandle, TcMessage, TcStats2},
};

use crate::{
    diagnose::{Facts, Neighbour, NeighbourState, PathMtu, Qdisc, Refusal, Way},
    netlink::{self, Connection, NetlinkError},
    types::{IfIndex, MacAddr},
};

/// `USER_HZ`: in a second, as times are told to user space.
const TICKS: u32 = 100;

/// Adds what there is to say, and answers for the addresses that are asked for.
pub fn ask(facts: &mut Facts, to: impl Iterator<Item = IpAddr>) -> Result<(), NetlinkError> {
    netlink::block_on(async |connection| {
        for address in to {
            let way = way(&connection, address).await?;
            facts.routes.insert(address, way);
        }
        let neighbours = netlink::neighbours(&connection).await?;
        facts.neighbours = neighbours.iter().filter_map(neighbour).collect();
        let qdiscs = netlink::all_qdiscs(&connection).await?;
        facts.qdiscs = qdiscs.iter().filter_map(qdisc).filter(|qdisc| qdisc.drops > 0).collect();
        // Older kernels list none.
        let cached = netlink::cached_routes(&connection).await.unwrap_or_default();
        facts.path_mtus = cached.iter().filter_map(path_mtu).collect();
        Ok::<_, NetlinkError>(())
    })
}

async fn way(connection: &Connection, to: IpAddr) -> Result<Result<Way, Refusal>, NetlinkError> {
    match netlink::route_to(connection, to).await {
        Ok(route) => Ok(read_way(&route)),
        Err(NetlinkError::Refused(error)) => Ok(Err(Refusal(words(&error)))),
        Err(error) => Err(error),
    }
}

fn read_way(route: &RouteMessage) -> Result<Way, Refusal> {
    match route.header.kind {
        RouteType::Unicast | RouteType::Local => {}
        kind => return Err(Refusal(format!("the route is of type {kind:?}"))),
    }
    let mut way = Way { dev: IfIndex(0), via: None, source: None };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(dev) => way.dev = IfIndex(*dev),
            RouteAttribute::Gateway(gateway) => way.via = ip(gateway),
            RouteAttribute::PrefSource(source) => way.source = ip(source),
            _ => {}
        }
    }
    Ok(way)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn path_mtu(route: &RouteMessage) -> Option<PathMtu> {
    let mut found = PathMtu { to: IpAddr::from([0; 4]), dev: IfIndex(0), mtu: 0 };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(to) => found.to = ip(to)?,
            RouteAttribute::Oif(dev) => found.dev = IfIndex(*dev),
            RouteAttribute::Metrics(metrics) => {
                found.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                })?;
            }
            _ => {}
        }
    }
    (found.mtu != 0).then_some(found)
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let state = match message.header.state {
        Nud::Incomplete | Nud::Failed => NeighbourState::Unanswered { age: 0 },
        Nud::Permanent => NeighbourState::Permanent,
        Nud::Reachable | Nud::Stale | Nud::Delay | Nud::Probe => NeighbourState::Known,
        _ => return None,
    };
    let (mut address, mut mac, mut updated) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => {
                address = Some(IpAddr::from(*to));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => {
                address = Some(IpAddr::from(*to));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            NeighbourAttribute::CacheInfo(info) => updated = info.updated / TICKS,
            _ => {}
        }
    }
    let state = match state {
        NeighbourState::Unanswered { .. } => NeighbourState::Unanswered { age: updated },
        state => state,
    };
    Some(Neighbour { dev: IfIndex(message.header.ifindex), address: address?, mac, state })
}

fn qdisc(message: &TcMessage) -> Option<Qdisc> {
    let mut qdisc = Qdisc {
        dev: IfIndex(message.header.index.cast_unsigned()),
        kind: String::new(),
        root: message.header.parent == TcHandle::ROOT,
        sent: 0,
        drops: 0,
        queued: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => qdisc.kind.clone_from(kind),
            TcAttribute::Stats2(stats) => stats.iter().for_each(|stats| count(&mut qdisc, stats)),
            _ => {}
        }
    }
    Some(qdisc)
}

fn count(qdisc: &mut Qdisc, stats: &TcStats2) {
    match stats {
        TcStats2::Basic(basic) => qdisc.sent = basic.packets.into(),
        TcStats2::Queue(queue) => (qdisc.drops, qdisc.queued) = (queue.drops, queue.qlen),
        _ => {}
    }
}

/// What the kernel said, without the number of the error.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
