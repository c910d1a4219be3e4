//! What crosses the border between the agent and its eBPF programs: map layouts, names and
//! read-only globals. `repr(C)` integers and byte arrays only, so that both compilers agree.
#![no_std]

pub mod abi;
pub mod config;
pub mod counters;
pub mod drops;
pub mod endpoint;
pub mod fastpath;
pub mod globals;
pub mod journal;
pub mod ledger;
pub mod mtu;
pub mod names;
#[cfg(feature = "user")]
mod pod;
pub mod trace;
