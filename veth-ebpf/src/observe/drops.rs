//! Packets that the kernel frees, by end, place and reason.
//!
//! Which end a packet was lost at is not written anywhere for good: its device may be unset, or its
//! place in the buffer may hold something else by then (`dev_scratch` of UDP, the tree of TCP's queue).
//! So nothing that is read is believed before it has named an end that the agent knows.

use core::mem::MaybeUninit;

use veth_common::{
    drops::{DropCount, DropKey, Field, SKB_BYTES, TO_GROUP, UNKNOWN},
    endpoint::EndKey,
};

use crate::kernel::Memory;

/// Words of a [`SKB_BYTES`].
pub(super) const SKB_WORDS: usize = SKB_BYTES as usize / 8;

/// Words that are read of a device where its index and its namespace lie together.
const DEVICE_WORDS: usize = 8;

/// Bits of `pkt_type` in its byte, `include/linux/skbuff.h`.
const PACKET_TYPE: u8 = 7;
const PACKET_TYPE_SHIFT: u8 = if cfg!(target_endian = "big") { 5 } else { 0 };

/// Values of it, `include/uapi/linux/if_packet.h`.
const PACKET_BROADCAST: u8 = 1;
const PACKET_MULTICAST: u8 = 2;
const PACKET_LOOPBACK: u8 = 5;

/// `SKB_DST_NOREF`, `include/linux/skbuff.h`.
const DST_FLAGS: u64 = 1;

/// Where it is counted.
pub trait Tables {
    /// Adds to a count that has been begun; `false` where it has not.
    fn add(&self, key: &DropKey, count: DropCount) -> bool;
    /// Begins one with this; `false` where another CPU has begun it meanwhile, or there is no room.
    fn begin(&self, key: &DropKey, count: DropCount) -> bool;
    /// Whether this is an end that the agent knows.
    fn is_end(&self, end: &EndKey) -> bool;
    /// Notes down packets that find no room.
    fn lose(&self, packets: u64);
}

/// What the tracepoint says of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Freed {
    /// Address of its `struct sk_buff`.
    pub skb: u64,
    /// Address in the kernel's text that frees it.
    pub location: u64,
    /// `enum skb_drop_reason`.
    pub reason: u32,
}

/// Counts a packet that the kernel frees.
#[inline(always)]
pub fn packet(memory: &impl Memory, tables: &impl Tables, freed: Freed) {
    let Freed { skb, location, reason } = freed;
    let mut room = MaybeUninit::uninit();
    let Some(words) = memory.words(skb, &mut room) else {
        let count = DropCount { packets: 1, segments: 1 };
        return Entry { tables, location, reason, count }.charge_nobody();
    };
    let skb = Skb { memory, words };
    let count = DropCount { packets: 1, segments: skb.segments() };
    let reason = reason | if skb.is_to_group() { TO_GROUP } else { 0 };
    let entry = Entry { tables, location, reason, count };
    if !attribute(&skb, |netns, ifindex| entry.charge(netns, ifindex)) {
        entry.charge_nobody();
    }
}

/// Offers the ends that a packet may have been lost at, one after the other, until one is taken: whether
/// one was.
#[inline(always)]
pub(super) fn attribute<M: Memory>(
    skb: &Skb<'_, M>,
    mut take: impl FnMut(u64, u32) -> bool,
) -> bool {
    let came_in = skb.u32(Field::SkbIif);
    if let Some(device) = device(skb.memory, skb.u64(Field::SkbDev))
        && (take(device.netns, device.ifindex) || take(device.netns, came_in))
    {
        return true;
    }
    let route = skb.route();
    if let Some(out) = &route
        && (take(out.netns, came_in) || take(out.netns, out.ifindex))
    {
        return true;
    }
    let goes_out = route.map_or(0, |out| out.ifindex);
    skb.socket_netns().is_some_and(|netns| take(netns, came_in) || take(netns, goes_out))
}

/// Counts `frames` of XDP that are lost at the device at this address, for want of what `errno` says.
#[inline(always)]
pub fn frames(
    memory: &impl Memory,
    tables: &impl Tables,
    at: u64,
    location: u64,
    frames: u64,
    errno: i32,
) {
    let count = DropCount { packets: frames, segments: frames };
    let entry = Entry { tables, location, reason: errno.unsigned_abs(), count };
    match device(memory, at) {
        Some(device) if entry.charge(device.netns, device.ifindex) => {}
        _ => entry.charge_nobody(),
    }
}

/// What is counted, but for the end.
struct Entry<'a, T> {
    tables: &'a T,
    location: u64,
    reason: u32,
    count: DropCount,
}

impl<T: Tables> Entry<'_, T> {
    /// Counts it for an end, if this is one. A count that has been begun was an end's then, and goes
    /// when that does: so what happens again and again costs one look-up.
    #[inline(always)]
    fn charge(&self, netns_cookie: u64, ifindex: u32) -> bool {
        let key = DropKey { netns_cookie, location: self.location, ifindex, reason: self.reason };
        if self.tables.add(&key, self.count) {
            return true;
        }
        if !self.tables.is_end(&EndKey::new(netns_cookie, ifindex)) {
            return false;
        }
        self.begin(&key);
        true
    }

    /// Counts it for no end.
    #[inline(always)]
    fn charge_nobody(&self) {
        let (location, reason) = (self.location, self.reason);
        let key = DropKey { netns_cookie: 0, location, ifindex: 0, reason };
        if !self.tables.add(&key, self.count) {
            self.begin(&key);
        }
    }

    #[inline(always)]
    fn begin(&self, key: &DropKey) {
        if !self.tables.begin(key, self.count) && !self.tables.add(key, self.count) {
            self.tables.lose(self.count.packets);
        }
    }
}

/// A device, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device {
    netns: u64,
    ifindex: u32,
}

/// The device at this address, or what lies there.
#[inline(always)]
fn device(memory: &impl Memory, address: u64) -> Option<Device> {
    let (index, net) = (memory.offset(Field::DeviceIfindex), memory.offset(Field::DeviceNet));
    if !is_kernels(address) || index == UNKNOWN || net == UNKNOWN {
        return None;
    }
    let first = if index < net { index } else { net } & !7;
    let last = if index < net { net } else { index };
    let (ifindex, net) = if last - first <= (DEVICE_WORDS as u64 - 1) * 8 {
        let mut room = MaybeUninit::uninit();
        let words: &[u64; DEVICE_WORDS] = memory.words(address + first, &mut room)?;
        (half(words, index - first), word(words, net - first))
    } else {
        (memory.read(address + index)?, memory.read(address + net)?)
    };
    Some(Device { netns: cookie(memory, net)?, ifindex })
}

/// The cookie of the namespace at this address.
#[inline(always)]
fn cookie(memory: &impl Memory, netns: u64) -> Option<u64> {
    let offset = memory.offset(Field::NetCookie);
    if !is_kernels(netns) || offset == UNKNOWN {
        return None;
    }
    memory.read(netns + offset)
}

/// Whether an address can be the kernel's: on 64-bit machines it has the upper half. To read elsewhere
/// costs a fault.
#[inline(always)]
pub(super) const fn is_kernels(address: u64) -> bool {
    (address as i64) < 0
}

/// The beginning of a `struct sk_buff`.
pub(super) struct Skb<'a, M> {
    pub(super) memory: &'a M,
    pub(super) words: &'a [u64; SKB_WORDS],
}

impl<M: Memory> Skb<'_, M> {
    /// A member that is a word; zero where it is not known.
    #[inline(always)]
    pub(super) fn u64(&self, field: Field) -> u64 {
        word(self.words, self.memory.offset(field))
    }

    /// A member that is half a word.
    #[inline(always)]
    pub(super) fn u32(&self, field: Field) -> u32 {
        half(self.words, self.memory.offset(field))
    }

    /// A member that is a quarter of a word.
    #[inline(always)]
    pub(super) fn u16(&self, field: Field) -> u16 {
        let offset = self.memory.offset(field);
        (word(self.words, offset).to_le() >> ((offset & 6) * 8)) as u16
    }

    /// Whether it came to a group or to all, or is its sender's own copy of such a one. What leaves has not been
    /// looked at.
    #[inline(always)]
    pub(super) fn is_to_group(&self) -> bool {
        let offset = self.memory.offset(Field::SkbPacketType);
        let byte = (word(self.words, offset).to_le() >> ((offset & 7) * 8)) as u8;
        let kind = byte >> PACKET_TYPE_SHIFT & PACKET_TYPE;
        matches!(kind, PACKET_BROADCAST | PACKET_MULTICAST | PACKET_LOOPBACK)
    }

    /// Frames that a wire would carry for it.
    #[inline(always)]
    pub(super) fn segments(&self) -> u64 {
        u64::from(self.shared(Field::SharedSegments).max(1))
    }

    /// Payload of one of them; 0 for a plain packet.
    #[inline(always)]
    pub(super) fn segment_bytes(&self) -> u32 {
        u32::from(self.shared(Field::SharedSegmentBytes))
    }

    /// A member of the part behind the buffer; 0 where it cannot be had.
    #[inline(always)]
    fn shared(&self, field: Field) -> u16 {
        let shared = self.u64(Field::SkbHead).wrapping_add(u64::from(self.u32(Field::SkbEnd)));
        let offset = self.memory.offset(field);
        if !is_kernels(shared) || offset == UNKNOWN {
            return 0;
        }
        self.memory.read(shared + offset).unwrap_or(0)
    }

    /// The device that its route leads to.
    #[inline(always)]
    fn route(&self) -> Option<Device> {
        let (dst, offset) =
            (self.u64(Field::SkbDst) & !DST_FLAGS, self.memory.offset(Field::DstDev));
        if !is_kernels(dst) || offset == UNKNOWN {
            return None;
        }
        device(self.memory, self.memory.read(dst + offset)?)
    }

    /// The namespace of its socket.
    #[inline(always)]
    fn socket_netns(&self) -> Option<u64> {
        let (sk, offset) = (self.u64(Field::SkbSk), self.memory.offset(Field::SockNet));
        if !is_kernels(sk) || offset == UNKNOWN {
            return None;
        }
        cookie(self.memory, self.memory.read(sk + offset)?)
    }
}

/// The word at an offset in bytes; zero beyond the end.
#[inline(always)]
fn word(words: &[u64], offset: u64) -> u64 {
    words.get((offset / 8) as usize).copied().unwrap_or(0)
}

/// The half of a word at an offset in bytes; zero beyond the end.
#[inline(always)]
fn half(words: &[u64], offset: u64) -> u32 {
    let word = word(words, offset).to_le();
    (if offset & 4 == 0 { word } else { word >> 32 }) as u32
}
