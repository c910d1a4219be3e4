//! Programs on ends: what is attached, what should be, and the steps between.
//!
//! All state is in the kernel: programs and TCX links are pinned, `clsact` filters stay on their
//! interfaces, slots and counters live in pinned maps. Every run of the agent starts by looking.

mod attach;
mod drops;
mod error;
mod hurry;
mod lock;
mod objects;
mod observe;
mod offloads;
mod pins;
mod plan;
mod qdisc;
mod reconcile;
mod remove;
mod runs;
mod slots;
mod trace;
mod upgrade;
mod xdp;

pub use attach::{AttachMode, AttachOptions};
pub use drops::{
    DropsError, DropsStart, count_drops, drop_settings, kernel_offsets, missed_drops, why_no_drops,
};
pub use error::{AttachCause, AttachError, DatapathError, HookName};
pub use hurry::Hurry;
pub use lock::{Daemon, Lock, Traces};
pub use objects::{
    DropSettings, Maps, Offsets, TRACE_OBJECT, TraceMaps, TraceSettings, VerifiedProgram,
    pinned_ids as program_ids, pinned_xdp_id as xdp_program_id, verify,
};
pub use observe::{EndHooks, Filter, Hook, Method, filters, hooks, links_by_program, tcx_chain};
pub use offloads::Unfit;
pub use pins::{DEFAULT_BPFFS, Pins};
pub use reconcile::{Outcome, Scope, read_slots, reconcile};
pub use remove::{collect_garbage, detach_ends, known_ends, remove_everything};
pub use runs::{Runs, count_runs, runs};
pub use slots::Slots;
pub use trace::{TraceLinks, Tracing, attach_trace};
pub use upgrade::upgrade;
pub use xdp::{prepare as prepare_xdp, prepared as prepared_for_xdp, withdraw as withdraw_xdp};
