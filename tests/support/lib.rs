//! Support for the tests: each one runs in a node of its own, with its own host namespace, process
//! tree, `/run/netns` and bpffs, made of real kernel namespaces. Nothing that it does is seen
//! outside, tests run in parallel, and the kernel cleans up when they end.

mod agent;
mod command;
mod commander;
mod node;
mod page;
mod raw;
mod stats;
mod traffic;
mod xdp;

pub use agent::{Agent, agent, agent_path};
pub use command::{Output, run, try_run};
pub use node::{Node, on_node};
pub use page::{Page, Sample};
pub use raw::{Qdisc, RawFrames, frame};
pub use stats::{LinkStats, link_stats};
pub use traffic::{tcp_bulk, udp_both_ways, undisturbed};
pub use xdp::XdpPass;
