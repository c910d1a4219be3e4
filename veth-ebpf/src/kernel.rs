//! The only place that reads the kernel's own memory.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use veth_common::drops::Field;

/// What the programs ask of the kernel's memory. Any address may be asked for: a read of what is not
/// there fails.
pub trait Memory {
    /// The offset of a member of a structure of the running kernel, in bytes, or
    /// [`veth_common::drops::UNKNOWN`].
    fn offset(&self, field: Field) -> u64;
    /// A value.
    fn read<T: Copy + Default>(&self, address: u64) -> Option<T>;
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
