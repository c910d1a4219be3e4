//! veth-agent builds, watches and explains veth pairs, the cables of the container world.
//! `docs/architecture.md` draws the way of its data; every module is one room on that way.
#![deny(unsafe_code)]

pub mod inventory;
pub mod mark;
pub mod topology;
pub mod types;
