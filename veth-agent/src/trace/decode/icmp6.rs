//! ICMPv6, with neighbour discovery (RFC 4861).

use std::net::Ipv6Addr;

use etherparse::{
    Icmpv6Slice,
    icmpv6::{NdpOptionSlice, NdpOptionsIterator},
};

use super::{Fault, Icmp, icmp::HEADER, part::Part, quoted};
use crate::types::MacAddr;

/// An address, at the beginning of what depends on the type.
const ADDRESS: usize = 16;

/// The message, and the fault where the address that it is about was cut off.
pub fn read(part: Part<'_>) -> Result<(Icmp, Option<Fault>), Fault> {
    let header = Icmpv6Slice::from_slice(part.bytes).map_err(|_| part.short("icmp6"))?;
    let (kind, code) = (header.type_u8(), header.code_u8());
    let name = name(kind, code);
    let mut icmp = Icmp { version: 6, kind, code, name, length: part.length, ..Icmp::default() };
    let body = part.after(HEADER);
    match kind {
        1..=4 => icmp.quoted = quoted::read(body),
        128 | 129 => icmp.echo(header.bytes5to8()),
        133 => icmp.options(body),
        // Reachable time and retransmission timer.
        134 => icmp.options(body.after(8)),
        135..=137 => {
            let target = match body.head::<ADDRESS>("icmp6") {
                Ok(target) => Ipv6Addr::from(*target),
                Err(fault) => return Ok((icmp, Some(fault))),
            };
            icmp.target = Some(target.into());
            // A redirect tells the destination, too.
            icmp.options(body.after(if kind == 137 { 2 * ADDRESS } else { ADDRESS }));
        }
        _ => {}
    }
    if kind == 2 {
        icmp.mtu = Some(u32::from_be_bytes(header.bytes5to8()));
    }
    Ok((icmp, None))
}

impl Icmp {
    fn options(&mut self, options: Part<'_>) {
        for option in NdpOptionsIterator::from_slice(options.bytes).flatten() {
            match option {
                NdpOptionSlice::SourceLinkLayerAddress(option) => {
                    self.mac = option.link_layer_address().try_into().ok().map(MacAddr);
                }
                NdpOptionSlice::TargetLinkLayerAddress(option) => {
                    self.mac = option.link_layer_address().try_into().ok().map(MacAddr);
                }
                NdpOptionSlice::Mtu(option) => self.mtu = Some(option.mtu()),
                _ => {}
            }
        }
    }
}

/// <https://www.iana.org/assignments/icmpv6-parameters>
const fn name(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (1, 0) => "unreachable, no route",
        (1, 1) => "unreachable, admin prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, 1) => "reassembly time exceeded",
        (3, _) => "time exceeded in transit",
        (4, _) => "parameter problem",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (130, _) => "multicast listener query",
        (131 | 143, _) => "multicast listener report",
        (132, _) => "multicast listener done",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbor solicitation",
        (136, _) => "neighbor advertisement",
        (137, _) => "redirect",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{
        decode::Quoted,
        frames::{self, RECEIVER, SENDER},
    };

    type Read = Result<(Icmp, Option<Fault>), Fault>;

    fn read_all(message: &[u8]) -> Read {
        read(Part { bytes: message, length: message.len() as u32 })
    }

    fn message(kind: u8, code: u8, name: &'static str, length: u32) -> Icmp {
        Icmp { version: 6, kind, code, name: Some(name), length, ..Icmp::default() }
    }

    /// An option of neighbour discovery that tells a MAC.
    fn told(kind: u8, mac: [u8; 6]) -> Vec<u8> {
        [&[kind, 1], &mac[..]].concat()
    }

    #[test]
    fn an_echo_has_a_number() {
        let echo = frames::icmp(129, 0, [1, 2, 3, 4], &[0; 56]);
        let reply = message(129, 0, "echo reply", 64);
        let reply = Icmp { id: Some(0x0102), sequence: Some(0x0304), ..reply };
        assert_eq!(read_all(&echo), Ok((reply, None)));
    }

    #[test]
    fn a_packet_that_is_too_big_is_told_with_the_mtu() {
        let lost = frames::ipv6(frames::UDP, &frames::udp((40000, 9), &[]));
        let error = frames::icmp(2, 0, 1280_u32.to_be_bytes(), &lost);
        let quoted = Some(Quoted {
            source: SENDER.2.into(),
            destination: RECEIVER.2.into(),
            protocol: 17,
            ports: Some((40000, 9)),
        });
        let too_big = Icmp { mtu: Some(1280), quoted, ..message(2, 0, "packet too big", 56) };
        assert_eq!(read_all(&error), Ok((too_big, None)));
    }

    #[test]
    fn neighbours_are_asked_for_and_told() {
        let target = Some(Ipv6Addr::from(RECEIVER.2).into());
        let asked = [&RECEIVER.2[..], &told(1, SENDER.0)].concat();
        let solicitation = message(135, 0, "neighbor solicitation", 32);
        let solicitation = Icmp { target, mac: Some(MacAddr(SENDER.0)), ..solicitation };
        assert_eq!(read_all(&frames::icmp(135, 0, [0; 4], &asked)), Ok((solicitation, None)));
        let answered = [&RECEIVER.2[..], &told(2, RECEIVER.0)].concat();
        let advertisement = message(136, 0, "neighbor advertisement", 32);
        let advertisement = Icmp { target, mac: Some(MacAddr(RECEIVER.0)), ..advertisement };
        let bytes = frames::icmp(136, 0, [0x60, 0, 0, 0], &answered);
        assert_eq!(read_all(&bytes), Ok((advertisement, None)));
    }

    #[test]
    fn routers_tell_the_mtu_of_the_link() {
        let link_mtu = [5, 1, 0, 0, 0, 0, 5, 0xdc];
        let body = [&[0; 8], &told(1, SENDER.0)[..], &link_mtu].concat();
        let router = message(134, 0, "router advertisement", 32);
        let router = Icmp { mtu: Some(1500), mac: Some(MacAddr(SENDER.0)), ..router };
        assert_eq!(read_all(&frames::icmp(134, 0, [64, 0, 7, 8], &body)), Ok((router, None)));
        let solicitation = message(133, 0, "router solicitation", 16);
        let solicitation = Icmp { mac: Some(MacAddr(SENDER.0)), ..solicitation };
        let bytes = frames::icmp(133, 0, [0; 4], &told(1, SENDER.0));
        assert_eq!(read_all(&bytes), Ok((solicitation, None)));
    }

    #[test]
    fn the_options_of_a_redirect_stand_behind_two_addresses() {
        let body = [&RECEIVER.2[..], &SENDER.2, &told(2, RECEIVER.0)].concat();
        let redirect = message(137, 0, "redirect", 48);
        let target = Some(Ipv6Addr::from(RECEIVER.2).into());
        let redirect = Icmp { target, mac: Some(MacAddr(RECEIVER.0)), ..redirect };
        assert_eq!(read_all(&frames::icmp(137, 0, [0; 4], &body)), Ok((redirect, None)));
    }

    #[test]
    fn options_that_contradict_themselves_end_the_list() {
        for bad in [[1, 0], [1, 9], [5, 2], [14, 0]] {
            let body = [&RECEIVER.2[..], &bad, &[0; 6], &told(1, SENDER.0)].concat();
            let read = read_all(&frames::icmp(135, 0, [0; 4], &body));
            let read = read.map(|(icmp, fault)| (icmp.mac, icmp.mtu, fault));
            assert_eq!(read, Ok((None, None, None)), "{bad:?}");
        }
    }

    #[test]
    fn a_cut_address_leaves_what_is_asked() {
        let body = [&RECEIVER.2[..], &told(1, SENDER.0)].concat();
        let asked = frames::icmp(135, 0, [0; 4], &body);
        for end in 0..asked.len() {
            let read = read(Part { bytes: &asked[..end], length: 32 });
            let read = read.map(|(icmp, fault)| (icmp.kind, icmp.target.is_some(), fault));
            let cut = Fault::Cut("icmp6");
            let expected = match end {
                ..8 => Err(cut),
                8..24 => Ok((135, false, Some(cut))),
                24.. => Ok((135, true, None)),
            };
            assert_eq!(read, expected, "{end} bytes");
        }
    }
}
