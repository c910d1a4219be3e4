//! Real topologies, real traffic.

mod counts;
mod exact;
mod relations;
