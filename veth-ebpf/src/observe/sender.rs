//! Which process sends a packet.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_get_current_task;
use veth_common::{
    drops::{Field, UNKNOWN},
    trace::COMM,
};

use super::drops::is_kernels;
use crate::kernel::Memory;

/// A process.
#[derive(Clone, Copy)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: [u64; COMM / 8],
}

impl Process {
    /// None. The compiler must not know that these are zeros: it would set them together with those beside
    /// them, byte by byte in a loop.
    #[inline(always)]
    #[must_use]
    pub fn unknown() -> Self {
        let zero = 0_u64;
        // SAFETY: a local variable.
        let zero = || unsafe { ptr::read_volatile(&raw const zero) };
        Self { pid: 0, comm: [zero(), zero()] }
    }
}

/// The process that sends the packet at this address, if it is the one that runs: much is sent while another
/// does. That its network namespace is the socket's speaks for it; kernel threads send for others.
#[inline(always)]
pub fn sender(memory: &impl Memory, packet: u64) -> Option<Process> {
    let socket: u64 = member(memory, packet, Field::SkbSk)?;
    let netns: u64 = member(memory, socket, Field::SockNet)?;
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let namespaces: u64 = member(memory, task, Field::TaskNsproxy)?;
    if member::<u64>(memory, namespaces, Field::NsproxyNet)? != netns
        || member::<u64>(memory, task, Field::TaskMm)? == 0
    {
        return None;
    }
    let pid = member(memory, task, Field::TaskTgid)?;
    Some(Process { pid, comm: member(memory, task, Field::TaskComm)? })
}

#[inline(always)]
fn member<T: Copy + Default>(memory: &impl Memory, address: u64, field: Field) -> Option<T> {
    let offset = memory.offset(field);
    if offset == UNKNOWN || !is_kernels(address) {
        return None;
    }
    memory.read(address + offset)
}
