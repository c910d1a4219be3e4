//! A kernel made by hand: what the programs read there, and whom they charge.

extern crate std;

use core::{
    cell::RefCell,
    mem::{MaybeUninit, size_of},
};
use std::{collections::BTreeMap, vec, vec::Vec};

use veth_common::{
    drops::{DropCount, DropKey, Field, TO_GROUP, UNKNOWN},
    endpoint::EndKey,
};

use super::drops::{Freed, Tables, frames, packet};
use crate::kernel::Memory;

const SKB: u64 = 0xffff_8880_0000_0000;
const BUFFER: u64 = 0xffff_8880_1000_0000;
const DEVICE: u64 = 0xffff_8880_2000_0000;
const OTHER_DEVICE: u64 = 0xffff_8880_2100_0000;
const NET: u64 = 0xffff_8880_3000_0000;
const OTHER_NET: u64 = 0xffff_8880_3100_0000;
const ROUTE: u64 = 0xffff_8880_4000_0000;
const SOCKET: u64 = 0xffff_8880_5000_0000;

/// Offsets of 6.18, and of a device whose index and namespace lie far apart, as on 6.1.
const NEAR: [u64; 13] = [16, 24, 88, 144, 192, 188, 224, 264, 4160, 0, 48, 6, 128];
const FAR: [u64; 13] = [16, 24, 88, 144, 192, 188, 216, 1264, 4160, 0, 48, 6, 128];

struct Kernel {
    bytes: BTreeMap<u64, u8>,
    offsets: [u64; 13],
    ends: Vec<EndKey>,
    counts: RefCell<BTreeMap<DropKey, DropCount>>,
    room: usize,
    lost: RefCell<u64>,
}

impl Kernel {
    /// A packet on `DEVICE`, index 2 of namespace 7, which is an end.
    fn new(offsets: [u64; 13]) -> Self {
        let (bytes, counts) = (BTreeMap::new(), RefCell::default());
        let mut kernel =
            Self { bytes, offsets, ends: vec![EndKey::new(7, 2)], counts, room: 9, lost: 0.into() };
        (0..256).for_each(|at| kernel.put(SKB + at, &[0]));
        (0..2048).for_each(|at| kernel.put(DEVICE + at, &[0]));
        (0..2048).for_each(|at| kernel.put(OTHER_DEVICE + at, &[0]));
        kernel.set(SKB, Field::SkbDev, DEVICE);
        kernel.set(SKB, Field::SkbHead, BUFFER);
        kernel.set_half(SKB, Field::SkbEnd, 704);
        kernel.put(BUFFER + 704 + offsets[Field::SharedSegments as usize], &[0, 0]);
        for (device, ifindex, net) in [(DEVICE, 2, NET), (OTHER_DEVICE, 3, OTHER_NET)] {
            kernel.set_half(device, Field::DeviceIfindex, ifindex);
            kernel.set(device, Field::DeviceNet, net);
        }
        kernel.set(NET, Field::NetCookie, 7);
        kernel.set(OTHER_NET, Field::NetCookie, 8);
        kernel.set(SOCKET, Field::SockNet, NET);
        kernel.set(ROUTE, Field::DstDev, DEVICE);
        kernel
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes.extend((at..).zip(bytes.iter().copied()));
    }

    fn set(&mut self, base: u64, field: Field, value: u64) {
        self.put(base + self.offsets[field as usize], &value.to_ne_bytes());
    }

    fn set_half(&mut self, base: u64, field: Field, value: u32) {
        self.put(base + self.offsets[field as usize], &value.to_ne_bytes());
    }

    fn get(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        (address..).take(length).map(|at| self.bytes.get(&at).copied()).collect()
    }

    /// Frees the packet; gives whom it is charged to.
    fn free(&self) -> (u64, u32) {
        let before = self.counts.borrow().clone();
        packet(self, self, Freed { skb: SKB, location: 0x1000, reason: 72 });
        let after = self.counts.borrow();
        let charged: Vec<_> =
            after.iter().filter(|(key, count)| before.get(key) != Some(count)).collect();
        assert_eq!(charged.len(), 1, "{charged:?}");
        assert_eq!((charged[0].0.location, charged[0].0.reason), (0x1000, 72));
        (charged[0].0.netns_cookie, charged[0].0.ifindex)
    }
}

impl Memory for Kernel {
    fn offset(&self, field: Field) -> u64 {
        self.offsets[field as usize]
    }

    fn read<T: Copy + Default>(&self, address: u64) -> Option<T> {
        let bytes = self.get(address, size_of::<T>())?;
        // SAFETY: only integers are read, as many bytes as they have.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    unsafe fn copy(&self, address: u64, to: *mut u8, bytes: u32) -> bool {
        let Some(found) = self.get(address, bytes as usize) else { return false };
        // SAFETY: the caller has room for so many.
        unsafe { found.as_ptr().copy_to_nonoverlapping(to, found.len()) };
        true
    }

    fn words<'a, const N: usize>(
        &self,
        address: u64,
        room: &'a mut MaybeUninit<[u64; N]>,
    ) -> Option<&'a [u64; N]> {
        let bytes = self.get(address, N * 8)?;
        let (words, _) = bytes.as_chunks::<8>();
        Some(room.write(core::array::from_fn(|n| u64::from_ne_bytes(words[n]))))
    }
}

impl Tables for Kernel {
    fn add(&self, key: &DropKey, count: DropCount) -> bool {
        let mut counts = self.counts.borrow_mut();
        counts.get_mut(key).map(|sum| *sum = sum.plus(count)).is_some()
    }

    fn begin(&self, key: &DropKey, count: DropCount) -> bool {
        let mut counts = self.counts.borrow_mut();
        let room = counts.len() < self.room && !counts.contains_key(key);
        room && counts.insert(*key, count).is_none()
    }

    fn is_end(&self, end: &EndKey) -> bool {
        self.ends.contains(end)
    }

    fn lose(&self, packets: u64) {
        *self.lost.borrow_mut() += packets;
    }
}

#[test]
fn a_packet_is_charged_to_the_device_that_it_is_on() {
    for offsets in [NEAR, FAR] {
        let kernel = Kernel::new(offsets);
        assert_eq!(kernel.free(), (7, 2));
        assert_eq!(kernel.free(), (7, 2), "again, by the shorter way");
        let counts = kernel.counts.borrow();
        let count = DropCount { packets: 2, segments: 2 };
        assert_eq!(counts.values().collect::<Vec<_>>(), [&count]);
    }
}

#[test]
fn on_a_device_that_is_no_end_the_one_it_came_in_by_is_charged() {
    let mut kernel = Kernel::new(NEAR);
    kernel.set_half(DEVICE, Field::DeviceIfindex, 9);
    assert_eq!(kernel.free(), (0, 0), "a bridge, say");
    kernel.set_half(SKB, Field::SkbIif, 2);
    assert_eq!(kernel.free(), (7, 2));
}

#[test]
fn on_its_way_out_the_device_of_its_route_is_charged() {
    let mut kernel = Kernel::new(NEAR);
    kernel.set(SKB, Field::SkbDev, 0);
    assert_eq!(kernel.free(), (0, 0));
    // The lowest bit says that the route is borrowed.
    kernel.set(SKB, Field::SkbDst, ROUTE | 1);
    assert_eq!(kernel.free(), (7, 2));
    // By another one than it came in by.
    kernel.set(ROUTE, Field::DstDev, OTHER_DEVICE);
    assert_eq!(kernel.free(), (0, 0));
    kernel.ends.push(EndKey::new(8, 5));
    kernel.set_half(SKB, Field::SkbIif, 5);
    assert_eq!(kernel.free(), (8, 5));
}

#[test]
fn without_a_device_the_namespace_of_its_socket_tells() {
    let mut kernel = Kernel::new(NEAR);
    // `dev_scratch` of UDP: no address of the kernel.
    kernel.set(SKB, Field::SkbDev, 0x0100_0040_0000_0300);
    kernel.set(SKB, Field::SkbSk, SOCKET);
    assert_eq!(kernel.free(), (0, 0));
    kernel.set_half(SKB, Field::SkbIif, 2);
    assert_eq!(kernel.free(), (7, 2));
}

#[test]
fn what_looks_like_a_device_and_is_none_charges_nobody() {
    let mut kernel = Kernel::new(NEAR);
    // Another packet, in TCP's tree.
    kernel.set(SKB, Field::SkbDev, SKB);
    assert_eq!(kernel.free(), (0, 0));
    kernel.set(SKB, Field::SkbDev, 0xffff_dead_0000_0000);
    assert_eq!(kernel.free(), (0, 0), "nothing is there");
}

#[test]
fn a_super_frame_is_one_packet_of_many_segments() {
    let mut kernel = Kernel::new(NEAR);
    kernel.put(BUFFER + 704 + 6, &45_u16.to_ne_bytes());
    kernel.free();
    let count = DropCount { packets: 1, segments: 45 };
    assert_eq!(kernel.counts.borrow().values().collect::<Vec<_>>(), [&count]);
}

#[test]
fn whom_it_came_for_is_told_by_three_bits_of_a_byte() {
    for (byte, is_to_group) in
        [(0, false), (1, true), (2, true), (3, false), (0xfa, true), (5, true), (6, false)]
    {
        let mut kernel = Kernel::new(NEAR);
        kernel.put(SKB + 128, &[byte]);
        packet(&kernel, &kernel, Freed { skb: SKB, location: 0x1000, reason: 72 });
        let flag = if is_to_group { TO_GROUP } else { 0 };
        let counts = kernel.counts.borrow();
        assert_eq!(counts.keys().map(|key| key.reason).collect::<Vec<_>>(), [72 | flag], "{byte}");
    }
}

#[test]
fn what_the_kernel_does_not_tell_costs_one_step_of_the_way() {
    let steps = [Field::SkbDev, Field::SkbDst, Field::SkbSk];
    for known in steps {
        let mut kernel = Kernel::new(NEAR);
        kernel.set(SKB, Field::SkbDst, ROUTE);
        kernel.set(SKB, Field::SkbSk, SOCKET);
        kernel.set_half(SKB, Field::SkbIif, 2);
        for hidden in steps.into_iter().filter(|field| *field != known) {
            kernel.offsets[hidden as usize] = UNKNOWN;
        }
        assert_eq!(kernel.free(), (7, 2), "by {known:?} alone");
        kernel.offsets = [UNKNOWN; 13];
        assert_eq!(kernel.free(), (0, 0));
    }
}

#[test]
fn what_finds_no_room_is_lost_and_noted() {
    let mut kernel = Kernel::new(NEAR);
    kernel.room = 0;
    packet(&kernel, &kernel, Freed { skb: SKB, location: 0x1000, reason: 72 });
    frames(&kernel, &kernel, DEVICE, 2, 3, -6);
    assert!(kernel.counts.borrow().is_empty());
    assert_eq!(*kernel.lost.borrow(), 4);
}

#[test]
fn frames_are_charged_to_their_device_by_errno() {
    let kernel = Kernel::new(NEAR);
    frames(&kernel, &kernel, DEVICE, 2, 3, -6);
    frames(&kernel, &kernel, OTHER_DEVICE, 2, 1, -6);
    let counts = kernel.counts.borrow();
    let of = |netns_cookie, ifindex| {
        let key = DropKey { netns_cookie, location: 2, ifindex, reason: 6 };
        counts.get(&key).map(|count| (count.packets, count.segments))
    };
    assert_eq!((of(7, 2), of(0, 0)), (Some((3, 3)), Some((1, 1))));
}
