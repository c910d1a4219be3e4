//! veth-agent builds, watches and explains veth pairs, the cables of the container world.
//! `docs/architecture.md` draws the way of its data; every module is one room on that way.
#![forbid(unsafe_code)]

pub mod btf;
pub mod cause;
pub mod cli;
pub mod collect;
pub mod command;
pub mod config;
pub mod datapath;
pub mod diagnose;
mod escape;
pub mod export;
pub mod fastpath;
pub mod firewall;
pub mod inventory;
pub mod ledger;
pub mod mark;
pub mod mtu;
pub mod netlink;
pub mod netns;
pub mod preflight;
pub mod shell;
pub mod sizes;
pub mod supervise;
pub mod topology;
pub mod trace;
pub mod types;
