//! The only place that reads the kernel's own memory.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use veth_common::drops::Field;

use crate::trace_maps::{Frame, below};

/// What the programs ask of the kernel's memory. Any address may be asked for: a read of what is not
/// there fails.
pub trait Memory {
    /// The offset of a member of a structure of the running kernel, in bytes, or
    /// [`veth_common::drops::UNKNOWN`].
    fn offset(&self, field: Field) -> u64;
    /// A value.
    fn read<T: Copy + Default>(&self, address: u64) -> Option<T>;
    /// Copies so many bytes; `false` where they are not there.
    ///
    /// # Safety
    /// So many bytes can be written there.
    unsafe fn copy(&self, address: u64, to: *mut u8, bytes: u32) -> bool;
    /// Several words at once, into `room`: a call costs more than what it copies.
    fn words<'a, const N: usize>(
        &self,
        address: u64,
        room: &'a mut MaybeUninit<[u64; N]>,
    ) -> Option<&'a [u64; N]>;
}

/// The memory of the running kernel, given where it keeps what.
pub struct Running<F>(pub F);

impl<F: Fn(Field) -> u64> Memory for Running<F> {
    #[inline(always)]
    fn offset(&self, field: Field) -> u64 {
        self.0(field)
    }

    #[inline(always)]
    fn read<T: Copy + Default>(&self, address: u64) -> Option<T> {
        // SAFETY: the helper checks the address, and writes the whole value where it succeeds.
        unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
    }

    #[inline(always)]
    unsafe fn copy(&self, address: u64, to: *mut u8, bytes: u32) -> bool {
        // SAFETY: the helper checks the address; the caller answers for where it writes.
        unsafe { generated::bpf_probe_read_kernel(to.cast(), bytes, address as *const _) == 0 }
    }

    #[inline(always)]
    fn words<'a, const N: usize>(
        &self,
        address: u64,
        room: &'a mut MaybeUninit<[u64; N]>,
    ) -> Option<&'a [u64; N]> {
        let bytes = const { size_of::<[u64; N]>() as u32 };
        // SAFETY: the helper checks the address, and `room` has so many bytes.
        let failed = unsafe {
            generated::bpf_probe_read_kernel(room.as_mut_ptr().cast(), bytes, address as *const _)
        };
        // SAFETY: all of them have been written, and words have no bits that must not be.
        (failed == 0).then(|| unsafe { room.assume_init_ref() })
    }
}

/// The frame of a packet, as far as it lies in one piece: from the Ethernet header on, or from the network
/// header on where there is no other, behind one that is made up.
pub struct LostFrame<'a, M> {
    /// Where to read it.
    pub memory: &'a M,
    /// Where it lies.
    pub start: u64,
    /// Without a header: its `EtherType`.
    pub bare: Option<u16>,
    /// Protocol and tag that lie beside it; 0 where none does.
    pub vlan: u32,
}

impl<M> LostFrame<'_, M> {
    /// Bytes of an Ethernet header.
    pub const ETHERNET: u32 = 14;
    /// Bytes of a VLAN tag.
    pub const TAG: u32 = 4;
    /// Bytes of the addresses ahead of it.
    const ADDRESSES: u32 = 12;
}

impl<M: Memory> Frame for LostFrame<'_, M> {
    #[inline(always)]
    unsafe fn copy<const N: usize>(&self, to: *mut u8, bytes: u32) -> bool {
        // SAFETY: the caller's promise: `N` bytes and more can be written, and each part lies within them.
        unsafe {
            match (self.bare, self.vlan) {
                (None, 0) => self.memory.copy(self.start, to, bytes),
                (None, vlan) => {
                    bytes > Self::ADDRESSES + Self::TAG
                        && self.memory.copy(self.start, to, Self::ADDRESSES)
                        && {
                            put_tag(to.add(Self::ADDRESSES as usize), vlan);
                            self.memory.copy(
                                self.start + u64::from(Self::ADDRESSES),
                                to.add((Self::ADDRESSES + Self::TAG) as usize),
                                below::<N>(bytes - Self::ADDRESSES - Self::TAG),
                            )
                        }
                }
                (Some(protocol), _) => {
                    bytes > Self::ETHERNET && {
                        to.cast::<[u8; 12]>().write([0; 12]);
                        let [low, high] = protocol.to_ne_bytes();
                        to.add(Self::ADDRESSES as usize).cast::<[u8; 2]>().write([low, high]);
                        self.memory.copy(
                            self.start,
                            to.add(Self::ETHERNET as usize),
                            below::<N>(bytes - Self::ETHERNET),
                        )
                    }
                }
            }
        }
    }
}

/// Writes a tag as it goes over a wire. The protocol, which comes first, lies there so already.
///
/// # Safety
/// Four bytes can be written there.
#[inline(always)]
unsafe fn put_tag(to: *mut u8, vlan: u32) {
    let [p0, p1, t0, t1] = vlan.to_ne_bytes();
    // SAFETY: the caller's promise.
    unsafe { to.cast::<[u8; 4]>().write([p0, p1, t1, t0]) };
}

/// Declares the global of each field, and `offset`, the function that loads it. `; _` stands for fields that
/// are left out.
#[macro_export]
macro_rules! offsets {
    ($($field:ident $global:ident),+ $(,)? $(; $others:tt)?) => {
        $(
            #[unsafe(no_mangle)]
            static $global: aya_ebpf::Global<u64> =
                aya_ebpf::Global::new(veth_common::drops::UNKNOWN);
        )+

        #[inline(always)]
        fn offset(field: veth_common::drops::Field) -> u64 {
            match field {
                $(veth_common::drops::Field::$field => $global.load(),)+
                $($others => veth_common::drops::UNKNOWN,)?
            }
        }
    };
}
