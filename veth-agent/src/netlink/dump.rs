//! Lists of what the kernel has: whole ones, or none.

use futures_util::StreamExt as _;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage},
    rule::{RuleAttribute, RuleMessage},
    tc::{TcAttribute, TcHandle, TcMessage},
};

use super::{Connection, NetlinkError};
use crate::types::IfIndex;

/// How often a dump is begun anew when the kernel says that it was interrupted.
const ATTEMPTS: usize = 10;

/// All links, without their statistics.
///
/// # Errors
/// The kernel's refusal, or a list that never held still.
pub async fn links(connection: &Connection) -> Result<Vec<LinkMessage>, NetlinkError> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = dump(connection, "links", RouteNetlinkMessage::GetLink(request)).await?;
    Ok(select(answers, |answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    }))
}

/// One link.
///
/// # Errors
/// The kernel's refusal.
pub async fn link(connection: &Connection, ifindex: IfIndex) -> Result<LinkMessage, NetlinkError> {
    let mut request = LinkMessage::default();
    request.header.index = ifindex.0;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(request));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = connection.handle.clone().request(request)?;
    match answers.next().await.map(|answer| answer.payload) {
        Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => Ok(link),
        Some(NetlinkPayload::Error(error)) => Err(NetlinkError::Refused(error.to_io())),
        _ => Err(NetlinkError::Broken("no answer about a link".to_owned())),
    }
}

/// All addresses.
///
/// # Errors
/// As [`links`].
pub async fn addresses(connection: &Connection) -> Result<Vec<AddressMessage>, NetlinkError> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    Ok(select(dump(connection, "addresses", request).await?, |answer| match answer {
        RouteNetlinkMessage::NewAddress(address) => Some(address),
        _ => None,
    }))
}

/// The routes of the main table, of both families.
///
/// # Errors
/// As [`links`].
pub async fn routes(connection: &Connection) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.table = RouteHeader::RT_TABLE_MAIN;
        let answers = match dump(connection, "routes", RouteNetlinkMessage::GetRoute(request)).await
        {
            // Strict requests name a table; a family without any table has none.
            Err(error) if error.is_absent() => continue,
            answers => answers?,
        };
        routes.extend(select(answers, |answer| match answer {
            RouteNetlinkMessage::NewRoute(route) if in_main_table(&route) => Some(route),
            _ => None,
        }));
    }
    Ok(routes)
}

fn in_main_table(route: &RouteMessage) -> bool {
    let named = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    named.unwrap_or(u32::from(route.header.table)) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

/// The queueing disciplines of an interface.
///
/// # Errors
/// As [`links`].
pub async fn qdiscs(connection: &Connection, ifindex: u32) -> Result<Vec<TcMessage>, NetlinkError> {
    let request = tc_request(ifindex, TcHandle::default());
    let answers =
        dump(connection, "qdiscs", RouteNetlinkMessage::GetQueueDiscipline(request)).await?;
    Ok(select(answers, |answer| match answer {
        // The kernel answers with all interfaces, whichever was asked for.
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) if of(&qdisc, ifindex) => Some(qdisc),
        _ => None,
    }))
}

/// Kind of the root queueing discipline of an interface.
///
/// # Errors
/// As [`links`].
pub async fn root_qdisc(
    connection: &Connection,
    ifindex: u32,
) -> Result<Option<String>, NetlinkError> {
    let qdiscs = qdiscs(connection, ifindex).await?;
    let root = qdiscs.iter().find(|qdisc| qdisc.header.parent == TcHandle::ROOT);
    Ok(root.and_then(|qdisc| {
        qdisc.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Kind(kind) => Some(kind.clone()),
            _ => None,
        })
    }))
}

/// The rules that choose between routing tables and that a namespace is not born with, each with
/// its priority in front.
///
/// # Errors
/// As [`links`].
pub async fn policy_rules(connection: &Connection) -> Result<Vec<String>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RuleMessage::default();
        request.header.family = family;
        let answers = match dump(connection, "rules", RouteNetlinkMessage::GetRule(request)).await {
            // A kernel without policy routing.
            Err(error) if error.errno() == Some(nix::libc::EOPNOTSUPP) => continue,
            answers => answers?,
        };
        found.extend(answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRule(rule) => describe_rule(rule),
            _ => None,
        }));
    }
    Ok(found)
}

/// `None` for the rules of birth: local, main and default.
fn describe_rule(rule: &RuleMessage) -> Option<String> {
    let (mut priority, mut table) = (0, u32::from(rule.header.table));
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let of_birth = [(0, 255), (32766, 254), (32767, 253)];
    (!of_birth.contains(&(priority, table))).then(|| format!("{priority} (table {table})"))
}

/// The TC filters below `parent` of an interface.
///
/// # Errors
/// As [`links`]. An interface without such a parent has no filters.
pub async fn tc_filters(
    connection: &Connection,
    ifindex: u32,
    parent: TcHandle,
) -> Result<Vec<TcMessage>, NetlinkError> {
    let request = RouteNetlinkMessage::GetTrafficFilter(tc_request(ifindex, parent));
    Ok(select(dump(connection, "filters", request).await?, |answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) if of(&filter, ifindex) => Some(filter),
        _ => None,
    }))
}

fn tc_request(ifindex: u32, parent: TcHandle) -> TcMessage {
    let mut request = TcMessage::default();
    request.header.index = ifindex.cast_signed();
    request.header.parent = parent;
    request
}

fn of(message: &TcMessage, ifindex: u32) -> bool {
    message.header.index == ifindex.cast_signed()
}

/// The number by which the connection's namespace knows the one behind `netns`, if it has one.
///
/// # Errors
/// The kernel's refusal.
pub async fn nsid_of(
    connection: &Connection,
    netns: std::os::fd::BorrowedFd<'_>,
) -> Result<Option<i32>, NetlinkError> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(nsid_request(netns)));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers = connection.handle.clone().request(request)?;
    let mut nsid = None;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                nsid = assigned(&message);
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(NetlinkError::Refused(error.to_io()));
            }
            _ => {}
        }
    }
    Ok(nsid)
}

pub(super) fn nsid_request(netns: std::os::fd::BorrowedFd<'_>) -> NsidMessage {
    use std::os::fd::AsRawFd as _;

    let mut request = NsidMessage::default();
    request.attributes.push(NsidAttribute::Fd(netns.as_raw_fd().cast_unsigned()));
    request
}

fn assigned(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
        _ => None,
    })
}

pub(super) fn select<T>(
    answers: Vec<RouteNetlinkMessage>,
    wanted: impl FnMut(RouteNetlinkMessage) -> Option<T>,
) -> Vec<T> {
    answers.into_iter().filter_map(wanted).collect()
}

pub(super) async fn dump(
    connection: &Connection,
    what: &'static str,
    request: RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    for _ in 0..ATTEMPTS {
        if let Some(answers) = dump_once(connection, request.clone()).await? {
            return Ok(answers);
        }
    }
    Err(NetlinkError::Unstable(what))
}

/// One dump, or nothing where the kernel says that the list changed underneath
/// (`NLM_F_DUMP_INTR`, `include/net/netlink.h`).
async fn dump_once(
    connection: &Connection,
    request: RouteNetlinkMessage,
) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut answers = connection.handle.clone().request(request)?;
    let mut whole = Vec::new();
    let mut interrupted = false;
    let mut done = false;
    while let Some(answer) = answers.next().await {
        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => whole.push(message),
            NetlinkPayload::Error(error) => return Err(NetlinkError::Refused(error.to_io())),
            NetlinkPayload::Done(_) => done = true,
            NetlinkPayload::Overrun(_) => interrupted = true,
            _ => {}
        }
    }
    if interrupted {
        return Ok(None);
    }
    if done { Ok(Some(whole)) } else { Err(NetlinkError::Broken("the answer was cut off".into())) }
}
