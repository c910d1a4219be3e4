//! Offloads of an interface, by ethtool's netlink family
//! (`Documentation/networking/ethtool-netlink.rst`), in the calling thread's namespace.

use std::collections::BTreeSet;

use netlink_packet_core::NLA_F_NESTED;
use netlink_sys::protocols::NETLINK_GENERIC;

use super::{
    NetlinkError,
    raw::{ask, attributes, nested, text},
};
use crate::types::IfIndex;

/// `GENL_ID_CTRL`, and what it is asked (`include/uapi/linux/genetlink.h`).
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Messages and attributes, `include/uapi/linux/ethtool_netlink.h`.
const ETHTOOL: &str = "ethtool";
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const HEADER: u16 = 1;
const HEADER_DEVICE: u16 = 1;
const WANTED: u16 = 3;
const ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// The offloads that are on, by the kernel's names (`net/ethtool/common.c`,
/// `netdev_features_strings`).
///
/// # Errors
/// The kernel's refusal.
pub fn offloads(ifindex: IfIndex) -> Result<BTreeSet<String>, NetlinkError> {
    let body = [message(FEATURES_GET), header(ifindex)].concat();
    let answers = ask(NETLINK_GENERIC, family(ETHTOOL)?, &body)?;
    let active =
        answers.iter().find_map(|(_, answer)| attributes(behind_header(answer)).remove(&ACTIVE));
    let bits = active.and_then(|bitset| attributes(&bitset).remove(&BITSET_BITS));
    let bits = bits.ok_or_else(|| NetlinkError::Broken("offloads without names".to_owned()))?;
    let names = nested(&bits).filter_map(|(_, bit)| attributes(&bit).remove(&BIT_NAME));
    Ok(names.map(|name| text(&name)).collect())
}

/// Switches offloads on or off. One that cannot be switched stays as it is, without an error.
///
/// # Errors
/// The kernel's refusal.
pub fn switch_offloads(ifindex: IfIndex, switches: &[(&str, bool)]) -> Result<(), NetlinkError> {
    let bit = |(name, on): &(&str, bool)| {
        let name = attribute(BIT_NAME, &[name.as_bytes(), &[0]].concat());
        let value = if *on { attribute(BIT_VALUE, &[]) } else { Vec::new() };
        attribute(BITS_BIT | NLA_F_NESTED, &[name, value].concat())
    };
    let bits = switches.iter().map(bit).collect::<Vec<_>>().concat();
    let bits = attribute(BITSET_BITS | NLA_F_NESTED, &bits);
    let wanted = attribute(WANTED | NLA_F_NESTED, &bits);
    let body = [message(FEATURES_SET), header(ifindex), wanted].concat();
    ask(NETLINK_GENERIC, family(ETHTOOL)?, &body).map(drop)
}

/// Whether the kernel has a family of generic netlink.
///
/// # Errors
/// The kernel's refusal for another reason.
pub fn has_family(name: &str) -> Result<bool, NetlinkError> {
    match family(name) {
        Ok(_) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number that the kernel gave a family.
fn family(name: &str) -> Result<u16, NetlinkError> {
    let name = [name.as_bytes(), &[0]].concat();
    let body = [message(GET_FAMILY), attribute(FAMILY_NAME, &name)].concat();
    let answers = ask(NETLINK_GENERIC, CONTROLLER, &body)?;
    let id = answers
        .iter()
        .find_map(|(_, answer)| attributes(behind_header(answer)).remove(&FAMILY_ID))
        .and_then(|id| id.first_chunk().copied())
        .map(u16::from_ne_bytes);
    id.ok_or_else(|| NetlinkError::Broken("a family without a number".to_owned()))
}

/// `struct genlmsghdr`: command and version.
fn message(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

fn behind_header(answer: &[u8]) -> &[u8] {
    answer.get(4..).unwrap_or_default()
}

fn header(ifindex: IfIndex) -> Vec<u8> {
    let device = attribute(HEADER_DEVICE, &ifindex.0.to_ne_bytes());
    attribute(HEADER | NLA_F_NESTED, &device)
}

/// `struct nlattr`, its value, and what fills up to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
