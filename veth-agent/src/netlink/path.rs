//! Questions about the way of a packet: routes as the kernel chooses them, neighbours, queues.

use std::net::IpAddr;

use futures_util::StreamExt as _;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::NeighbourMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage},
    tc::TcMessage,
};

use super::{
    Connection, NetlinkError,
    dump::{dump, select},
};

/// The route by which the kernel would send to an address now, with policy rules and caches.
///
/// # Errors
/// The kernel's refusal: there is no route, or it forbids.
pub async fn route_to(
    connection: &Connection,
    address: IpAddr,
) -> Result<RouteMessage, NetlinkError> {
    let mut request = RouteMessage::default();
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address)),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    request.attributes.push(RouteAttribute::Destination(destination));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(request));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = connection.handle.clone().request(request)?;
    match answers.next().await.map(|answer| answer.payload) {
        Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route))) => Ok(route),
        Some(NetlinkPayload::Error(error)) => Err(NetlinkError::Refused(error.to_io())),
        _ => Err(NetlinkError::Broken("no answer about a route".to_owned())),
    }
}

/// What the kernel has learned of paths: exceptions from routes, such as their MTU.
///
/// # Errors
/// As for any list.
pub async fn cached_routes(connection: &Connection) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.flags = RouteFlags::Cloned;
        request.header.table = RouteHeader::RT_TABLE_UNSPEC;
        let request = RouteNetlinkMessage::GetRoute(request);
        let answers = match dump(connection, "cached routes", request).await {
            Err(error) if error.is_absent() => continue,
            answers => answers?,
        };
        routes.extend(select(answers, |answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        }));
    }
    Ok(routes)
}

/// The neighbours of all interfaces, of both families.
///
/// # Errors
/// As for any list.
pub async fn neighbours(connection: &Connection) -> Result<Vec<NeighbourMessage>, NetlinkError> {
    let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    Ok(select(dump(connection, "neighbours", request).await?, |answer| match answer {
        RouteNetlinkMessage::NewNeighbour(neighbour) => Some(neighbour),
        _ => None,
    }))
}

/// The queueing disciplines of all interfaces, with their statistics.
///
/// # Errors
/// As for any list.
pub async fn all_qdiscs(connection: &Connection) -> Result<Vec<TcMessage>, NetlinkError> {
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    Ok(select(dump(connection, "qdiscs", request).await?, |answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
        _ => None,
    }))
}
