//! The logic of the eBPF programs, as a library over a small [`packet::Packet`] trait: it compiles
//! for the kernel and, for its tests, for the host. The objects in `src/bin` are thin entry points.
#![no_std]

#[cfg(test)]
mod crafted;
pub mod datapath;
pub mod drop_maps;
pub mod filter;
pub mod kernel;
pub mod maps;
pub mod observe;
pub mod packet;
pub mod parse;
pub mod trace_maps;

/// A TC verdict that leaves the packet to whatever comes next in the chain (`TCX_NEXT`,
/// `TC_ACT_UNSPEC`). `TC_ACT_OK` would end the chain and switch off other people's programs.
pub const TC_NEXT: i32 = -1;
