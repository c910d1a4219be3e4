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

    /// Whether its payload is the whole of what it carries: it is no fragment, or the only one (RFC 6946).
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.fragment, None | Some(Fragment { offset: 0, more: false, .. }))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The header, its payload without the padding of short frames, and the fault where an extension header cannot be
/// read.
pub fn read(part: Part<'_>) -> Result<(Ip, Part<'_>, Option<Fault>), Fault> {
    let [first] = part.head("ip")?;
    let (mut ip, mut payload) = match first >> 4 {
        4 => read_v4(part)?,
        6 => read_v6(part)?,
        _ => return Err(Fault::Bad("ip")),
    };
    ip.missing = ip.length.saturating_sub(part.length);
    let mut fault = None;
    for _ in 0..MAX_EXTENSIONS {
        match extension(&mut ip, payload) {
            Ok(Some(length)) => payload = payload.after(length),
            Ok(None) => break,
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    ip.payload = payload.length;
    Ok((ip, payload, fault))
}

fn read_v4(part: Part<'_>) -> Result<(Ip, Part<'_>), Fault> {
    let header = Ipv4HeaderSlice::from_slice(part.bytes).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => part.short("ip"),
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
        err::ipv6::HeaderSliceError::Len(_) => part.short("ip6"),
        err::ipv6::HeaderSliceError::Content(_) => Fault::Bad("ip6"),
    })?;
    let rest = part.after(IPV6_HEADER);
    let jumbo = header.next_header() == IpNumber::IPV6_HEADER_HOP_BY_HOP;
    let payload = match header.payload_length() {
        // A jumbogram (RFC 2675), or BIG TCP, which newer kernels leave the option out of.
        0 if jumbo || rest.length > u16::MAX.into() => rest.length,
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
                    err::ip_auth::HeaderSliceError::Len(_) => payload.short("ah"),
                    err::ip_auth::HeaderSliceError::Content(_) => Fault::Bad("ah"),
                })?;
            (header.next_header(), header.slice().len())
        }
        IpNumber::IPV6_FRAGMENTATION_HEADER if ip.version == 6 => fragment(ip, payload)?,
        _ if ip.version == 6 && Ipv6RawExtHeaderSlice::header_type_supported(number) => {
            let header = Ipv6RawExtHeaderSlice::from_slice(payload.bytes);
            let header = header.map_err(|_| payload.short("ip6-ext"))?;
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
        Ipv6FragmentHeaderSlice::from_slice(payload.bytes).map_err(|_| payload.short("frag"))?;
    ip.fragment = Some(Fragment {
        id: header.identification(),
        offset: u32::from(header.fragment_offset().value()) * 8,
        more: header.more_fragments(),
    });
    Ok((header.next_header(), header.slice().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, RECEIVER, SENDER};

    type Read<'a> = Result<(Ip, &'a [u8], Option<Fault>), Fault>;

    /// Reads what was captured of `length` bytes.
    fn read_of(bytes: &[u8], length: usize) -> Read<'_> {
        let read = read(Part { bytes, length: length as u32 });
        read.map(|(ip, payload, fault)| (ip, payload.bytes, fault))
    }

    fn read_all(bytes: &[u8]) -> Read<'_> {
        read_of(bytes, bytes.len())
    }

    fn v4() -> Ip {
        Ip {
            version: 4,
            source: SENDER.1.into(),
            destination: RECEIVER.1.into(),
            ttl: 64,
            tos: 0,
            protocol: 17,
            length: 25,
            payload: 5,
            missing: 0,
            id: Some(0x1234),
            dont_fragment: Some(true),
            fragment: None,
            extensions: Vec::new(),
        }
    }

    fn v6() -> Ip {
        Ip {
            version: 6,
            source: SENDER.2.into(),
            destination: RECEIVER.2.into(),
            length: 45,
            id: None,
            dont_fragment: None,
            ..v4()
        }
    }

    #[test]
    fn both_versions() {
        let packet = frames::ipv4(17, b"above");
        assert_eq!(read_all(&packet), Ok((v4(), &b"above"[..], None)));
        let packet = frames::ipv6(17, b"above");
        assert_eq!(read_all(&packet), Ok((v6(), &b"above"[..], None)));
    }

    #[test]
    fn the_octet_of_services_is_whole() {
        let mut packet = frames::ipv4(17, b"above");
        packet[1] = 0xb9;
        assert_eq!(read_all(&packet), Ok((Ip { tos: 0xb9, ..v4() }, &b"above"[..], None)));
        let mut packet = frames::ipv6(17, b"above");
        packet[..2].copy_from_slice(&[0x6b, 0x95]);
        assert_eq!(read_all(&packet), Ok((Ip { tos: 0xb9, ..v6() }, &b"above"[..], None)));
    }

    #[test]
    fn options_are_skipped() {
        let packet = frames::ipv4_with(&[1; 40], 0x4000, 17, b"above");
        assert_eq!(read_all(&packet), Ok((Ip { length: 65, ..v4() }, &b"above"[..], None)));
    }

    #[test]
    fn the_padding_of_a_short_frame_is_no_payload() {
        for packet in [frames::ipv4(17, b"above"), frames::ipv6(17, b"above")] {
            let padded = [&packet[..], &[0; 21]].concat();
            let payload = read_all(&padded).map(|(ip, bytes, _)| (ip.payload, bytes.len()));
            assert_eq!(payload, Ok((5, 5)));
        }
        let nothing = [frames::ipv6(59, &[]), vec![0; 6]].concat();
        assert_eq!(read_all(&nothing).map(|(ip, bytes, _)| (ip.payload, bytes.len())), Ok((0, 0)));
    }

    #[test]
    fn what_is_promised_and_not_there_is_counted() {
        for packet in [frames::ipv4(17, b"above"), frames::ipv6(17, b"above")] {
            let short = &packet[..packet.len() - 2];
            let read = |length| read_of(short, length).map(|(ip, ..)| (ip.missing, ip.payload));
            assert_eq!(read(short.len()), Ok((2, 5)), "the frame ends early");
            assert_eq!(read(packet.len()), Ok((0, 5)), "the capture does");
        }
    }

    #[test]
    fn lengths_of_zero_stand_for_more_than_their_fields_can_tell() {
        let big = vec![0; 70_000];
        let mut packet = frames::ipv4(6, &big);
        packet[2..4].copy_from_slice(&[0, 0]);
        assert_eq!(read_all(&packet).map(|(ip, ..)| ip.payload), Ok(70_000));
        assert_eq!(read_all(&frames::ipv6(6, &big)).map(|(ip, ..)| ip.payload), Ok(70_000));
        let jumbo = frames::extension(6, &[0xc2, 4, 0, 1, 0x11, 0x70], &big);
        let jumbo = frames::ipv6(frames::HOP_BY_HOP, &jumbo);
        assert_eq!(read_all(&jumbo).map(|(ip, ..)| ip.payload), Ok(70_000));
    }

    #[test]
    fn an_ipv6_packet_without_payload_has_none() {
        let mut packet = frames::ipv6(17, b"above");
        packet[5] = 0;
        assert_eq!(read_all(&packet).map(|(ip, ..)| ip.payload), Ok(0));
    }

    #[test]
    fn contradictions_are_bad() {
        let with = |at: usize, byte: u8| {
            let mut packet = frames::ipv4(17, b"above");
            packet[at] = byte;
            packet
        };
        assert_eq!(read_all(&with(0, 0x55)), Err(Fault::Bad("ip")), "version 5");
        assert_eq!(read_all(&with(0, 0x44)), Err(Fault::Bad("ip")), "a header of 16 bytes");
        assert_eq!(read_all(&with(3, 19)), Err(Fault::Bad("ip")), "less than the header");
        assert_eq!(read_all(&with(0, 0x4f)), Err(Fault::Bad("ip")), "a header beyond the packet");
    }

    #[test]
    fn fragments_of_ipv4() {
        let fragment = |field| {
            let packet = frames::ipv4_with(&[], field, 17, b"above");
            read_all(&packet).map(|(ip, ..)| (ip.fragment, ip.begins(), ip.is_whole()))
        };
        let place = |offset, more| Some(Fragment { id: 0x1234, offset, more });
        assert_eq!(fragment(0x4000), Ok((None, true, true)));
        assert_eq!(fragment(0x2000), Ok((place(0, true), true, false)));
        assert_eq!(fragment(0x3fff), Ok((place(65528, true), false, false)));
        assert_eq!(fragment(0x0001), Ok((place(8, false), false, false)));
    }

    #[test]
    fn fragments_of_ipv6() {
        let fragment = |field| {
            let payload = frames::fragment(17, field, b"above");
            let packet = frames::ipv6(frames::FRAGMENT, &payload);
            read_all(&packet).map(|(ip, bytes, _)| {
                assert_eq!((ip.protocol, ip.payload, bytes), (17, 5, &b"above"[..]));
                (ip.fragment, ip.begins(), ip.is_whole())
            })
        };
        let place = |offset, more| Some(Fragment { id: 0xdead_beef, offset, more });
        assert_eq!(fragment(0), Ok((place(0, false), true, true)));
        assert_eq!(fragment(1), Ok((place(0, true), true, false)));
        assert_eq!(fragment(0xfff9), Ok((place(65528, true), false, false)));
    }

    fn chain() -> Vec<u8> {
        let routing = frames::extension(frames::AUTHENTICATION, &[0; 22], b"");
        let authentication = [&[6, 4][..], &[0; 22], b"above"].concat();
        let rest = [routing, authentication].concat();
        frames::ipv6(frames::HOP_BY_HOP, &frames::extension(frames::ROUTING, &[0; 6], &rest))
    }

    #[test]
    fn extension_headers_are_walked() {
        let packet = chain();
        let ip = Ip {
            protocol: 6,
            length: 101,
            extensions: vec![frames::HOP_BY_HOP, frames::ROUTING, frames::AUTHENTICATION],
            ..v6()
        };
        assert_eq!(read_all(&packet), Ok((ip, &b"above"[..], None)));
    }

    #[test]
    fn a_cut_extension_header_leaves_who_sent_it_to_whom() {
        let packet = chain();
        for end in 0..packet.len() {
            let read = read_of(&packet[..end], packet.len());
            let read = read.map(|(ip, _, fault)| {
                assert_eq!((ip.source, ip.destination), (v6().source, v6().destination));
                (ip.extensions.len(), fault)
            });
            let expected = match end {
                0 => Err(Fault::Cut("ip")),
                1..40 => Err(Fault::Cut("ip6")),
                40..48 => Ok((0, Some(Fault::Cut("ip6-ext")))),
                48..72 => Ok((1, Some(Fault::Cut("ip6-ext")))),
                72..96 => Ok((2, Some(Fault::Cut("ah")))),
                96.. => Ok((3, None)),
            };
            assert_eq!(read, expected, "{end} bytes");
        }
    }

    #[test]
    fn endless_extension_headers_end() {
        let headers = [frames::DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(100);
        let packet = frames::ipv6(frames::DESTINATION, &headers);
        let read = read_all(&packet).map(|(ip, _, fault)| (ip.extensions.len(), ip.payload, fault));
        assert_eq!(read, Ok((8, 92 * 8, None)));
    }
}
