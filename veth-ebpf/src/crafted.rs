//! Packets and tables made by hand, for tests on the host.

extern crate std;

use std::{collections::BTreeMap, vec::Vec};

use veth_common::{
    endpoint::EndSlot,
    fastpath::{Address, Endpoint, Mac, address_of},
};

use crate::{datapath::Tables, packet::Packet, parse::Head};

/// A packet of bytes.
#[derive(Clone, Debug)]
pub struct Crafted {
    pub bytes: Vec<u8>,
    pub ifindex: u32,
    pub segments: u32,
    pub gso_size: u32,
    pub tagged: bool,
    /// The bytes lie elsewhere than in the linear part.
    pub paged: bool,
}

impl Packet for Crafted {
    fn ifindex(&self) -> u32 {
        self.ifindex
    }
    fn bytes(&self) -> u32 {
        self.bytes.len() as u32
    }
    fn gso_segs(&self) -> u32 {
        self.segments
    }
    fn gso_size(&self) -> u32 {
        self.gso_size
    }
    fn is_tagged(&self) -> bool {
        self.tagged
    }
    fn linear(&self) -> Option<&[u8; 34]> {
        self.bytes.first_chunk().filter(|_| !self.paged)
    }
    fn head(&self) -> Option<Head> {
        self.bytes.first_chunk().map(Head::from_bytes)
    }
    fn ethernet(&self) -> Option<[u16; 7]> {
        let (halves, _) = self.bytes.get(..14)?.as_chunks();
        let halves: Vec<_> = halves.iter().map(|half| u16::from_ne_bytes(*half)).collect();
        halves.try_into().ok()
    }
    fn words(&self, offset: u32) -> Option<[u32; 5]> {
        let offset = offset as usize;
        let (words, _) = self.bytes.get(offset..offset + 20)?.as_chunks();
        let words: Vec<_> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        words.try_into().ok()
    }
    fn byte(&self, offset: u32) -> Option<u8> {
        self.bytes.get(offset as usize).copied()
    }
}

/// What the agent would have written down.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub leased: bool,
    pub endpoints: BTreeMap<Address, Endpoint>,
    pub devices: BTreeMap<u32, u32>,
    pub other_mode: Option<u32>,
}

impl Tables for Known {
    fn leased(&self) -> bool {
        self.leased
    }
    fn endpoint(&self, address: Address) -> Option<Endpoint> {
        self.endpoints.get(&address).copied()
    }
    fn device(&self, place: u32) -> Option<u32> {
        self.devices.get(&place).copied()
    }
    fn takes(&self, place: u32) -> bool {
        self.other_mode != Some(place)
    }
}

pub const RED: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub const RED_NEAR: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
pub const BLUE: [u8; 6] = [2, 0, 0, 0, 0, 0x1a];
pub const BLUE_NEAR: [u8; 6] = [2, 0, 0, 0, 0, 0x1b];
pub const RED_V4: [u8; 4] = [10, 0, 0, 2];
pub const BLUE_V4: [u8; 4] = [10, 0, 0, 3];
pub const RED_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub const BLUE_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];

/// The sending near end.
pub const SENDER: EndSlot = EndSlot { slot: 1, generation: 5 };

/// Two pairs, on the bridge with this index or routed between.
pub fn two_pairs(bridge: u32) -> Known {
    let red = Endpoint {
        ifindex: 11,
        device: 1,
        generation: 5,
        mtu: 1500,
        bridge,
        far_mac: Mac::new(RED),
        near_mac: Mac::new(RED_NEAR),
    };
    let blue = Endpoint {
        ifindex: 12,
        device: 2,
        generation: 9,
        mtu: 1400,
        bridge,
        far_mac: Mac::new(BLUE),
        near_mac: Mac::new(BLUE_NEAR),
    };
    let endpoints =
        [(v4(RED_V4), red), (v6(RED_V6), red), (v4(BLUE_V4), blue), (v6(BLUE_V6), blue)];
    Known {
        leased: true,
        endpoints: endpoints.into(),
        devices: [(1, 11), (2, 12)].into(),
        other_mode: None,
    }
}

/// An address as the tables have it.
pub fn v4(octets: [u8; 4]) -> Address {
    address_of(octets.into())
}

/// An address as the tables have it.
pub fn v6(octets: [u8; 16]) -> Address {
    address_of(octets.into())
}

/// A frame from red to the MAC `to`, of `protocol` with `payload` bytes of zero behind its header.
fn frame(to: [u8; 6], kind: [u8; 2], header: &[u8], payload: usize) -> Crafted {
    let mut bytes = Vec::new();
    bytes.extend(to);
    bytes.extend(RED);
    bytes.extend(kind);
    bytes.extend(header);
    bytes.resize(bytes.len() + payload, 0);
    Crafted { bytes, ifindex: 11, segments: 1, gso_size: 0, tagged: false, paged: false }
}

/// IPv4 from red to blue.
pub fn ipv4(to: [u8; 6], protocol: u8, payload: usize) -> Crafted {
    let length = (20 + payload) as u16;
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[6] = 0x40;
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&RED_V4);
    header[16..20].copy_from_slice(&BLUE_V4);
    let mut packet = frame(to, [8, 0], &header, payload);
    mend_checksum(&mut packet);
    packet
}

/// IPv6 from red to blue.
pub fn ipv6(to: [u8; 6], protocol: u8, payload: usize) -> Crafted {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[6] = protocol;
    header[7] = 64;
    header[8..24].copy_from_slice(&RED_V6);
    header[24..40].copy_from_slice(&BLUE_V6);
    frame(to, [0x86, 0xdd], &header, payload)
}

/// Makes the checksum of an IPv4 header right.
pub fn mend_checksum(packet: &mut Crafted) {
    packet.bytes[24..26].fill(0);
    let words = packet.bytes[14..34].chunks(2);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet.bytes[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
