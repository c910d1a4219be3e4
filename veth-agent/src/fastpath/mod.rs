//! The fast path: which pairs may send packets straight into each other's far ends, and the tables
//! from which the programs know it.
//!
//! Redirecting skips what stands on the way: firewalls, queueing disciplines, other people's programs.
//! So the namespace that forwards is looked at first ([`gather`]), what would be skipped is named
//! ([`audit`]), a pure plan says which addresses may be redirected to ([`plan`]), and only then are the
//! tables written ([`sync`]). They are good for as long as somebody renews the [`lease`].

mod audit;
mod facts;
mod gather;
pub mod lease;
mod plan;
mod ready;
mod sync;

pub use audit::{Obstacle, obstacles};
pub use facts::{EndFacts, Facts, XdpFacts};
pub use gather::{gather, look_at_end};
pub use plan::{Near, NearEnd, Plan, Verdict, near_ends, plan, plan_for};
pub use ready::{Failures, prepare, withdraw};
pub use sync::sync;
