//! Real topologies, real traffic.

mod counts;
mod exact;
mod identity;
mod list;
mod relations;
mod reuse;
mod scenarios;
mod topology;
