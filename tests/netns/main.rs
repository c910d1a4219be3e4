//! Real topologies, real traffic.

mod exact;

mod list;
mod scenarios;
mod topology;
