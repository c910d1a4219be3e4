//! Random frames: good ones, with twists.

use proptest::prelude::*;
use veth_tests::{Gso, mac};

use super::super::Shape;

/// MACs that mean something here.
#[derive(Clone, Copy, Debug)]
pub struct World {
    red: [u8; 6],
    blue: [u8; 6],
    /// Whom red sends to: blue itself, or red's near end where packets are routed.
    next: [u8; 6],
}

impl World {
    pub fn look(shape: Shape) -> anyhow::Result<Self> {
        let (red, blue) = (mac("red", "r1")?, mac("blue", "b1")?);
        let next = if shape == Shape::Bridged { blue } else { mac("host", "r0")? };
        Ok(Self { red, blue, next })
    }
}

/// What stands in every generated frame, and in nothing that the kernel sends of its own accord.
pub const MARK: [u8; 4] = *b"VETH";

/// A frame to send.
#[derive(Clone, Debug)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub gso: Option<Gso>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mac {
    Next,
    Red,
    Blue,
    Stranger,
    Broadcast,
    Multicast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Red,
    Blue,
    Host,
    Stranger,
    Loopback,
    Multicast,
    Broadcast,
}

/// A frame from red to blue, before its twists.
#[derive(Clone, Debug)]
pub struct Recipe {
    v6: bool,
    protocol: u8,
    payload: usize,
    seed: u8,
    twists: Vec<Twist>,
}

#[derive(Clone, Debug)]
enum Twist {
    To(Mac),
    From(Mac),
    Source(Address),
    Destination(Address),
    Tags(Vec<(u16, u16)>),
    EtherType(u16),
    HopLimit(u8),
    Options(u8),
    Fragment(u16),
    Extensions(Vec<u8>),
    Checksum(u16),
    Length(i16),
    Version(u8),
    Truncate(u16),
    Cut(usize),
    Trailer(usize),
    Kind(u8),
    Gso(u16, usize),
}

/// Frames; with those that are GSO where `gso` says so.
pub fn recipe(gso: bool) -> impl Strategy<Value = Recipe> {
    let protocol =
        prop_oneof![3 => Just(6), 3 => Just(17), 3 => Just(1), 1 => Just(132), 1 => any::<u8>()];
    // Red may send 1,500 bytes, blue takes 1,400.
    let payload = prop_oneof![3 => 0..200_usize, 2 => 1300..1480_usize];
    let twists = prop_oneof![
        3 => Just(Vec::new()),
        4 => prop::collection::vec(twist(gso), 1),
        2 => prop::collection::vec(twist(gso), 2..4),
    ];
    (any::<bool>(), protocol, payload, any::<u8>(), twists).prop_map(
        |(v6, protocol, payload, seed, twists)| Recipe { v6, protocol, payload, seed, twists },
    )
}

fn twist(gso: bool) -> impl Strategy<Value = Twist> {
    let mac = || {
        prop::sample::select(vec![
            Mac::Next,
            Mac::Red,
            Mac::Blue,
            Mac::Stranger,
            Mac::Broadcast,
            Mac::Multicast,
        ])
    };
    let address = || {
        prop::sample::select(vec![
            Address::Red,
            Address::Blue,
            Address::Host,
            Address::Stranger,
            Address::Loopback,
            Address::Multicast,
            Address::Broadcast,
        ])
    };
    let tag = (prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), any::<u16>());
    // Hop-by-hop, routing, fragment, destination options, none.
    let extension = prop::sample::select(vec![0_u8, 43, 44, 60, 59]);
    prop_oneof![
        mac().prop_map(Twist::To),
        mac().prop_map(Twist::From),
        address().prop_map(Twist::Source),
        address().prop_map(Twist::Destination),
        prop::collection::vec(tag, 1..3).prop_map(Twist::Tags),
        prop::sample::select(vec![0x0806_u16, 0x88b5, 0x86dd, 0x0800, 0x8847])
            .prop_map(Twist::EtherType),
        prop::sample::select(vec![0_u8, 1, 2, 3, 255]).prop_map(Twist::HopLimit),
        (1..11_u8).prop_map(Twist::Options),
        prop::sample::select(vec![0x2000_u16, 0x2001, 0x0001, 0x1fff, 0x8000])
            .prop_map(Twist::Fragment),
        prop::collection::vec(extension, 1..11).prop_map(Twist::Extensions),
        (1..=u16::MAX).prop_map(Twist::Checksum),
        prop_oneof![-40..40_i16, Just(i16::MAX), Just(i16::MIN)].prop_map(Twist::Length),
        (0..16_u8).prop_map(Twist::Version),
        any::<u16>().prop_map(Twist::Truncate),
        (1..60_usize).prop_map(Twist::Cut),
        (1..60_usize).prop_map(Twist::Trailer),
        any::<u8>().prop_map(Twist::Kind),
        (
            prop::sample::select(vec![
                536_u16, 1300, 1340, 1341, 1348, 1360, 1361, 1380, 1400, 1460
            ]),
            3000..20_000_usize
        )
            .prop_map(move |(size, payload)| if gso {
                Twist::Gso(size, payload)
            } else {
                Twist::HopLimit(2)
            }),
    ]
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Recipe {
    /// The frame.
    pub fn build(&self, world: &World) -> Built {
        let mut draft = Draft::new(self);
        for twist in &self.twists {
            draft.twist(twist);
        }
        draft.finish(world)
    }
}

/// A frame in the making.
struct Draft {
    v6: bool,
    to: Mac,
    from: Mac,
    source: Address,
    destination: Address,
    tags: Vec<(u16, u16)>,
    ether_type: u16,
    hop_limit: u8,
    options: u8,
    fragment: u16,
    extensions: Vec<u8>,
    checksum: u16,
    length: i16,
    version: Option<u8>,
    protocol: u8,
    kind: u8,
    payload: usize,
    seed: u8,
    keep: Option<u16>,
    cut: usize,
    trailer: usize,
    gso: Option<u16>,
}

impl Draft {
    fn new(recipe: &Recipe) -> Self {
        let Recipe { v6, protocol, payload, seed, .. } = *recipe;
        let protocol = if v6 && protocol == ICMP { ICMPV6 } else { protocol };
        Self {
            v6,
            to: Mac::Next,
            from: Mac::Red,
            source: Address::Red,
            destination: Address::Blue,
            tags: Vec::new(),
            ether_type: if v6 { 0x86dd } else { 0x0800 },
            hop_limit: 64,
            options: 0,
            fragment: 0x4000,
            extensions: Vec::new(),
            checksum: 0,
            length: 0,
            version: None,
            protocol,
            kind: if v6 { 128 } else { 8 },
            payload,
            seed,
            keep: None,
            cut: 0,
            trailer: 0,
            gso: None,
        }
    }

    fn twist(&mut self, twist: &Twist) {
        match twist {
            Twist::To(mac) => self.to = *mac,
            Twist::From(mac) => self.from = *mac,
            Twist::Source(address) => self.source = *address,
            Twist::Destination(address) => self.destination = *address,
            Twist::Tags(tags) => self.tags.clone_from(tags),
            Twist::EtherType(kind) => self.ether_type = *kind,
            Twist::HopLimit(limit) => self.hop_limit = *limit,
            Twist::Options(words) => self.options = *words,
            Twist::Fragment(word) => self.fragment = *word,
            Twist::Extensions(kinds) => self.extensions.clone_from(kinds),
            Twist::Checksum(delta) => self.checksum = *delta,
            Twist::Length(delta) => self.length = *delta,
            Twist::Version(version) => self.version = Some(*version),
            Twist::Truncate(seed) => self.keep = Some(*seed),
            Twist::Cut(bytes) => self.cut = *bytes,
            Twist::Trailer(bytes) => self.trailer = *bytes,
            Twist::Kind(kind) => self.kind = *kind,
            Twist::Gso(size, payload) if matches!(self.protocol, TCP | UDP) => {
                (self.gso, self.payload) = (Some(*size), *payload);
            }
            Twist::Gso(..) => {}
        }
    }

    fn finish(&self, world: &World) -> Built {
        let mut bytes = [self.mac(world, self.to), self.mac(world, self.from)].concat();
        for (kind, tag) in &self.tags {
            bytes.extend([kind.to_be_bytes(), tag.to_be_bytes()].concat());
        }
        bytes.extend(self.ether_type.to_be_bytes());
        let network = bytes.len();
        let payload = self.transport();
        bytes.extend(if self.v6 { self.ipv6(payload.len()) } else { self.ipv4(payload.len()) });
        let transport = bytes.len();
        bytes.extend(payload);
        let gso = self.gso.map(|size| self.offload(size, network, transport, &mut bytes));
        bytes.truncate(bytes.len() - self.cut.min(bytes.len() - 14));
        bytes.extend(vec![0xee; self.trailer]);
        if let Some(seed) = self.keep {
            bytes.truncate(14 + usize::from(seed) % (bytes.len() - 13).min(90));
        }
        // Told from what the kernel sends by itself, however short.
        if bytes.len() >= network + MARK.len() && self.gso.is_none() {
            let at = bytes.len() - MARK.len();
            bytes[at..].copy_from_slice(&MARK);
        }
        Built { bytes, gso }
    }

    fn mac(&self, world: &World, mac: Mac) -> [u8; 6] {
        match mac {
            Mac::Next => world.next,
            Mac::Red => world.red,
            Mac::Blue => world.blue,
            Mac::Stranger => [2, 0, 0, 0, 0x77, self.seed],
            Mac::Broadcast => [0xff; 6],
            Mac::Multicast if self.v6 => [0x33, 0x33, 0, 0, 0, 1],
            Mac::Multicast => [1, 0, 0x5e, 0, 0, 1],
        }
    }

    fn v4(&self, address: Address) -> [u8; 4] {
        match address {
            Address::Red => [10, 0, 0, 2],
            Address::Blue => [10, 0, 0, 3],
            Address::Host => [10, 0, 0, 1],
            Address::Stranger => [10, 0, 9, self.seed],
            Address::Loopback => [127, 0, 0, 1],
            Address::Multicast => [224, 0, 0, 1],
            Address::Broadcast => [255; 4],
        }
    }

    fn v6(&self, address: Address) -> [u8; 16] {
        let last = |prefix: [u8; 2], last| {
            let mut address = [0; 16];
            address[..2].copy_from_slice(&prefix);
            address[15] = last;
            address
        };
        match address {
            Address::Red => last([0xfd, 0], 2),
            Address::Blue => last([0xfd, 0], 3),
            Address::Host => last([0xfd, 0], 1),
            Address::Stranger => last([0xfd, 9], self.seed),
            Address::Loopback => last([0, 0], 1),
            Address::Multicast => last([0xff, 2], 1),
            Address::Broadcast => last([0, 0], 0),
        }
    }

    fn ipv4(&self, payload: usize) -> Vec<u8> {
        let words = 5 + self.options.min(10);
        let length = (usize::from(words) * 4 + payload) as u16;
        let mut header = vec![0; usize::from(words) * 4];
        header[0] = self.version.unwrap_or(4) << 4 | words;
        header[2..4].copy_from_slice(&length.wrapping_add_signed(self.length).to_be_bytes());
        header[4..6].copy_from_slice(&[0x12, self.seed]);
        header[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        header[8] = self.hop_limit;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.v4(self.source));
        header[16..20].copy_from_slice(&self.v4(self.destination));
        // No operation, over and over.
        header[20..].fill(1);
        let checksum = !fold(sum(&header)) ^ self.checksum;
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6(&self, payload: usize) -> Vec<u8> {
        let length = (self.extensions.len() * 8 + payload) as u16;
        let next = |at: usize| self.extensions.get(at).copied().unwrap_or(self.protocol);
        let mut header = vec![self.version.unwrap_or(6) << 4, 0, 0, 0];
        header.extend(length.wrapping_add_signed(self.length).to_be_bytes());
        header.extend([next(0), self.hop_limit]);
        header.extend(self.v6(self.source));
        header.extend(self.v6(self.destination));
        for (at, kind) in self.extensions.iter().enumerate() {
            // Options of padding, a routing header with nothing left, a whole fragment.
            header.extend(match kind {
                44 => [next(at + 1), 0, 0, 0, 0, 0, 0, self.seed],
                43 => [next(at + 1), 0, 4, 0, 0, 0, 0, 0],
                _ => [next(at + 1), 0, 1, 4, 0, 0, 0, 0],
            });
        }
        header
    }

    /// The transport header and what it carries, with right checksums.
    fn transport(&self) -> Vec<u8> {
        let filling = |bytes: &mut Vec<u8>| {
            bytes.extend(MARK.iter().copied().cycle().take(self.payload));
        };
        let mut bytes = Vec::new();
        let at = match self.protocol {
            TCP => {
                // An acknowledgement of nothing: refused by a reset.
                bytes.extend([0x30, 0x39, 0, 9, 0, 0, 0, self.seed, 0, 0, 0, 1, 0x50, 0x10, 1, 0]);
                bytes.extend([0; 4]);
                16
            }
            UDP => {
                bytes.extend([0x30, 0x39, 0, 9]);
                bytes.extend(((8 + self.payload) as u16).to_be_bytes());
                bytes.extend([0; 2]);
                6
            }
            _ => {
                bytes.extend([self.kind, 0, 0, 0, 0, 1, 0, self.seed]);
                2
            }
        };
        filling(&mut bytes);
        // The pseudo-header is the good one's, whatever the twists are.
        let mut total = sum(&bytes);
        if self.protocol != ICMP {
            let addresses = if self.v6 {
                [self.v6(self.source), self.v6(self.destination)].concat()
            } else {
                [self.v4(self.source), self.v4(self.destination)].concat()
            };
            total += sum(&addresses) + u32::from(self.protocol) + bytes.len() as u32;
        }
        let checksum = !fold(total);
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// What the kernel is told of a packet that is to be cut; its checksum is that of the
    /// pseudo-header alone.
    fn offload(&self, size: u16, network: usize, transport: usize, bytes: &mut [u8]) -> Gso {
        let addresses = if self.v6 {
            [self.v6(self.source), self.v6(self.destination)].concat()
        } else {
            [self.v4(self.source), self.v4(self.destination)].concat()
        };
        let length = (bytes.len() - transport) as u32;
        let pseudo = fold(sum(&addresses) + u32::from(self.protocol) + length);
        let (kind, headers, offset) = match (self.protocol, self.v6) {
            (TCP, false) => (1, 20, 16),
            (TCP, true) => (4, 20, 16),
            _ => (5, 8, 6),
        };
        let at = transport + usize::from(offset);
        bytes[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        debug_assert!(network < transport);
        Gso {
            kind,
            size,
            headers: (transport + headers) as u16,
            checksum_start: transport as u16,
            checksum_offset: offset,
        }
    }
}

/// Echo requests that end a batch, each with its mark: one with options, which takes the stack on either
/// side, and one that may take the fast path. Frames on one of these ways stay in their order.
pub fn sentinels(world: &World, round: u32) -> [(Vec<u8>, Vec<u8>); 2] {
    [(b"SLOWLAST", 1), (b"FASTLAST", 0)].map(|(name, options)| {
        let mark = [name.as_slice(), &round.to_be_bytes()].concat();
        let (payload, twists) = (mark.len(), Vec::new());
        let recipe = Recipe { v6: false, protocol: ICMP, payload, seed: 0, twists };
        let mut draft = Draft::new(&recipe);
        draft.options = options;
        let mut bytes = draft.finish(world).bytes;
        let at = bytes.len() - mark.len();
        bytes[at..].copy_from_slice(&mark);
        let icmp = 14 + 20 + 4 * usize::from(options);
        bytes[icmp + 2..icmp + 4].fill(0);
        let checksum = !fold(sum(&bytes[icmp..]));
        bytes[icmp + 2..icmp + 4].copy_from_slice(&checksum.to_be_bytes());
        (bytes, mark)
    })
}

/// The sum of 16-bit words, as RFC 1071 adds them.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    words.sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
