//! One packet that the kernel frees, for a trace.

use core::mem::MaybeUninit;

use veth_common::{
    drops::Field,
    endpoint::EndKey,
    trace::{Event, MAX_CAPTURED, Source, kind},
};

use super::{
    drops::{Freed, SKB_WORDS, Skb, attribute, is_kernels},
    look::{Sight, look},
    sender::Process,
};
use crate::{
    filter::Filter,
    kernel::{LostFrame, Memory},
    trace_maps::{Frame, is_normal, is_watched},
};

/// What `mac_header` holds where there is none (`skb_mac_header_was_set`).
const UNSET: u16 = u16::MAX;

/// What is to be recorded, and how much.
pub struct Wanted {
    /// Bytes of a frame that are captured, at the most.
    pub snaplen: u32,
    /// Only as many as there are places for.
    pub limited: bool,
    /// Which.
    pub filter: Filter,
    /// Now, in ns of `CLOCK_MONOTONIC`.
    pub now: u64,
}

/// Shows a packet that the kernel frees, where it was lost at a place that is watched.
#[inline(always)]
pub fn freed(memory: &impl Memory, freed: Freed, wanted: &Wanted) {
    let mut room = MaybeUninit::<[u64; SKB_WORDS]>::uninit();
    let Some(words) = memory.words(freed.skb, &mut room) else { return };
    let skb = Skb { memory, words };
    // Looked for among all that are known: what is lost elsewhere must not be laid to those that are watched.
    let (mut end, mut watched) = (EndKey::new(0, 0), false);
    attribute(&skb, |netns, ifindex| {
        end = EndKey::new(netns, ifindex);
        let known = is_watched(&end);
        watched = known == Some(true);
        known.is_some()
    });
    if !watched || is_normal(&freed, skb.is_to_group()) {
        return;
    }
    let remains = Remains::of(&skb);
    look(&Lost { freed, end, skb, remains, wanted }, wanted.limited);
}

/// A packet that was lost at an end that is watched.
struct Lost<'a, M> {
    freed: Freed,
    end: EndKey,
    skb: Skb<'a, M>,
    remains: Remains<'a, M>,
    wanted: &'a Wanted,
}

impl<M: Memory> Sight for Lost<'_, M> {
    const SOURCE: Source = Source::Drops;

    #[inline(always)]
    fn frame(&self) -> &impl Frame {
        &self.remains.frame
    }

    #[inline(always)]
    fn is_wanted(&self) -> bool {
        let Remains { frame, length, there } = &self.remains;
        self.wanted.filter.takes_bytes(Self::SOURCE, frame, *length, *there)
    }

    #[inline(always)]
    fn event(&self) -> Event {
        Event {
            time: self.wanted.now,
            packet: self.freed.skb,
            netns_cookie: self.end.netns_cookie,
            location: self.freed.location,
            ifindex: self.end.ifindex,
            length: self.remains.length,
            captured: self.remains.there.min(self.wanted.snaplen).min(MAX_CAPTURED),
            segments: self.skb.segments() as u32,
            gso_size: self.skb.segment_bytes(),
            mark: self.skb.u32(Field::SkbMark),
            reason: self.freed.reason,
            pid: 0,
            comm: Process::unknown().comm,
            kind: kind::DROP,
            bare: u32::from(self.remains.frame.bare.is_some()),
        }
    }
}

/// What is left of a packet's frame, and how long it was.
struct Remains<'a, M> {
    frame: LostFrame<'a, M>,
    /// Bytes of it, and those that can be had.
    length: u32,
    there: u32,
}

impl<'a, M: Memory> Remains<'a, M> {
    #[inline(always)]
    fn of(skb: &Skb<'a, M>) -> Self {
        let (head, data) = (skb.u64(Field::SkbHead), skb.u64(Field::SkbData));
        let mac = skb.u16(Field::SkbMacHeader);
        let network = head + u64::from(skb.u16(Field::SkbNetworkHeader));
        let has_mac =
            mac != UNSET && head + u64::from(mac) <= data && head + u64::from(mac) < network;
        let start = if has_mac { head + u64::from(mac) } else { network };
        let made_up = if has_mac { 0 } else { LostFrame::<M>::ETHERNET };
        let vlan = if has_mac { skb.u32(Field::SkbVlan) } else { 0 };
        let extra = made_up + if vlan == 0 { 0 } else { LostFrame::<M>::TAG };
        let tail = head + u64::from(skb.u32(Field::SkbTail));
        // What has been pulled is behind `data`, and is the packet's still.
        let pulled = data.wrapping_sub(start) as i64 as i32;
        let length = (skb.u32(Field::SkbLen) as i32).wrapping_add(pulled).max(0) as u32 + extra;
        let there = if is_kernels(head) && tail > start {
            (tail - start).min(u64::from(MAX_CAPTURED)) as u32 + extra
        } else {
            0
        };
        let bare = if has_mac { None } else { Some(skb.u16(Field::SkbProtocol)) };
        let frame = LostFrame { memory: skb.memory, start, bare, vlan };
        Self { frame, length, there: there.min(length) }
    }
}
