//! Support for the tests: each one runs in a node of its own, with its own host namespace, process
//! tree, `/run/netns` and bpffs, made of real kernel namespaces. Nothing that it does is seen
//! outside, tests run in parallel, and the kernel cleans up when they end.

mod agent;
mod background;
mod capture;
mod command;
mod commander;
mod doctor;
mod features;
mod foreign;
mod list;
mod node;
mod page;
mod patience;
mod picture;
mod raw;
mod refused;
mod stats;
mod status;
mod tracer;
mod traffic;
mod xdp;

/// Where the agent's pins of this ABI are.
pub const PINS: &str = "/sys/fs/bpf/veth-agent/v3";

pub use agent::{Agent, agent, agent_path, agent_untraced};
pub use background::{Background, Unnamed};
pub use capture::Capture;
pub use command::{Output, run, shell, try_run};
pub use doctor::{Finding, cured, doctor, healthy, mend};
pub use features::{built_with, expected, lacks, skipped};
pub use foreign::Foreign;
pub use list::{ListedEnd, listed};
pub use node::{Node, mac, mac_text, on_node};
pub use page::{Page, Sample};
pub use patience::{bearable, is_emulated, patient};
pub use picture::Picture;
pub use raw::{Gso, Qdisc, RawFrames, frame, udp_frame, udp_frame_of, udp6_frame_of};
pub use stats::{LinkStats, link_stats};
pub use status::{StatusHook, status_document, status_hooks};
pub use tracer::{Totals, Traced, Tracer};
pub use traffic::{Streamed, alone, on_one_cpu, tcp_bulk, tcp_until, udp_both_ways, undisturbed};
pub use xdp::{NextProgram, XdpDrop, XdpPass, XdpRedirect};
