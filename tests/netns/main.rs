//! Real topologies, real traffic.

mod exact;
