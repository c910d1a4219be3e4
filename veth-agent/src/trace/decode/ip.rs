//! IPv4 and IPv6, with fragments and extension headers.

use std::net::IpAddr;

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, err,
};
use serde::Serialize;

use super::{Fault, part::Part};

const IPV6_HEADER: usize = 40;

/// More extension headers than this are not looked into.
const MAX_EXTENSIONS: usize = 8;

/// An IP header with what stands between it and the layer above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ip {
    /// 4 or 6.
    pub version: u8,
    /// Who sent it.
    pub source: IpAddr,
    /// For whom it is.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Differentiated services and congestion notification: the whole octet.
    pub tos: u8,
    /// What it carries, behind extension headers.
    pub protocol: u8,
    /// Bytes from the IP header to the end of its payload.
    pub length: u32,
    /// Bytes behind the IP header and its extension headers.
    pub payload: u32,
    /// Bytes that `length` promises and the frame does not have.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u32,
    /// Identification of an IPv4 packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Whether an IPv4 packet may not be fragmented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dont_fragment: Option<bool>,
    /// Of which packet it is which part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<Fragment>,
    /// Numbers of the extension headers, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<u8>,
}

/// The place of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fragment {
    /// The same for all fragments of a packet.
    pub id: u32,
    /// Where it begins in the payload of the whole packet, in bytes.
    pub offset: u32,
    /// Whether others follow.
    pub more: bool,
}

impl Ip {
    /// Whether its payload begins with the header of the layer above.
    #[must_use]
    pub const fn begins(&self) -> bool {
        matches!(self.fragment, None | Some(Fragment { offset: 0, .. }))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The header, and its payload without the padding of short frames.
pub fn read(part: Part<'_>) -> Result<(Ip, Part<'_>), Fault> {
    let [first] = part.head("ip")?;
    let (mut ip, mut payload) = match first >> 4 {
        4 => read_v4(part)?,
        6 => read_v6(part)?,
        _ => return Err(Fault::Bad("ip")),
    };
    ip.missing = ip.length.saturating_sub(part.length);
    for _ in 0..MAX_EXTENSIONS {
        let Some(length) = extension(&mut ip, payload)? else { break };
        payload = payload.after(length);
    }
    ip.payload = payload.length;
    Ok((ip, payload))
}

fn read_v4(part: Part<'_>) -> Result<(Ip, Part<'_>), Fault> {
    let header = Ipv4HeaderSlice::from_slice(part.bytes).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => Fault::Cut("ip"),
        err::ipv4::HeaderSliceError::Content(_) => Fault::Bad("ip"),
    })?;
    let length = match header.total_len() {
        // The kernel's mark of a packet that is larger than the field can tell: BIG TCP.
        0 => part.length,
        length => u32::from(length),
    };
    let size = header.slice().len();
    let payload = length.checked_sub(u32::from(header.ihl()) * 4).ok_or(Fault::Bad("ip"))?;
    let offset = u32::from(header.fragments_offset().value()) * 8;
    let more = header.more_fragments();
    let id = header.identification();
    let ip = Ip {
        version: 4,
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.ttl(),
        tos: header.dcp().value() << 2 | header.ecn().value(),
        protocol: header.protocol().0,
        length,
        payload: 0,
        missing: 0,
        id: Some(id),
        dont_fragment: Some(header.dont_fragment()),
        fragment: (more || offset > 0).then_some(Fragment { id: id.into(), offset, more }),
        extensions: Vec::new(),
    };
    Ok((ip, part.after(size).limited_to(payload)))
}

fn read_v6(part: Part<'_>) -> Result<(Ip, Part<'_>), Fault> {
    let header = Ipv6HeaderSlice::from_slice(part.bytes).map_err(|error| match error {
        err::ipv6::HeaderSliceError::Len(_) => Fault::Cut("ip6"),
        err::ipv6::HeaderSliceError::Content(_) => Fault::Bad("ip6"),
    })?;
    let rest = part.after(IPV6_HEADER);
    let payload = match header.payload_length() {
        // A jumbogram (RFC 2675), or BIG TCP.
        0 => rest.length,
        length => u32::from(length),
    };
    let ip = Ip {
        version: 6,
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.hop_limit(),
        tos: header.traffic_class(),
        protocol: header.next_header().0,
        length: payload.saturating_add(40),
        payload: 0,
        missing: 0,
        id: None,
        dont_fragment: None,
        fragment: None,
        extensions: Vec::new(),
    };
    Ok((ip, rest.limited_to(payload)))
}

/// Takes the extension header at the beginning of `payload` into `ip` and returns its size in bytes; `None`
/// where there is no further one that could be read.
fn extension(ip: &mut Ip, payload: Part<'_>) -> Result<Option<usize>, Fault> {
    let number = IpNumber(ip.protocol);
    if !ip.begins() {
        return Ok(None);
    }
    let (next, size) = match number {
        IpNumber::AUTHENTICATION_HEADER => {
            let header =
                IpAuthHeaderSlice::from_slice(payload.bytes).map_err(|error| match error {
                    err::ip_auth::HeaderSliceError::Len(_) => Fault::Cut("ah"),
                    err::ip_auth::HeaderSliceError::Content(_) => Fault::Bad("ah"),
                })?;
            (header.next_header(), header.slice().len())
        }
        IpNumber::IPV6_FRAGMENTATION_HEADER if ip.version == 6 => fragment(ip, payload)?,
        _ if ip.version == 6 && Ipv6RawExtHeaderSlice::header_type_supported(number) => {
            let header = Ipv6RawExtHeaderSlice::from_slice(payload.bytes);
            let header = header.map_err(|_| Fault::Cut("ip6-ext"))?;
            (header.next_header(), header.slice().len())
        }
        _ => return Ok(None),
    };
    ip.extensions.push(number.0);
    ip.protocol = next.0;
    Ok(Some(size))
}

fn fragment(ip: &mut Ip, payload: Part<'_>) -> Result<(IpNumber, usize), Fault> {
    let header =
        Ipv6FragmentHeaderSlice::from_slice(payload.bytes).map_err(|_| Fault::Cut("frag"))?;
    ip.fragment = Some(Fragment {
        id: header.identification(),
        offset: u32::from(header.fragment_offset().value()) * 8,
        more: header.more_fragments(),
    });
    Ok((header.next_header(), header.slice().len()))
}
