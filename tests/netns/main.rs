//! Real topologies, real traffic.

mod counts;
mod exact;
mod identity;
mod relations;
mod reuse;
