//! Real topologies, real traffic.

mod exact;

mod coexist;
