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

pub fn read(part: Part<'_>) -> Result<Icmp, Fault> {
    let header = Icmpv6Slice::from_slice(part.bytes).map_err(|_| Fault::Cut("icmp6"))?;
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
            let target = body.head::<ADDRESS>("icmp6")?;
            icmp.target = Some(Ipv6Addr::from(*target).into());
            // A redirect tells the destination, too.
            icmp.options(body.after(if kind == 137 { 2 * ADDRESS } else { ADDRESS }));
        }
        _ => {}
    }
    if kind == 2 {
        icmp.mtu = Some(u32::from_be_bytes(header.bytes5to8()));
    }
    Ok(icmp)
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
