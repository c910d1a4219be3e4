//! Real topologies, real traffic.

mod exact;

mod coexist;
mod daemon;
mod daemon_apply;
mod daemon_bpffs;
mod daemon_overrun;
mod daemon_restart;
mod metrics;
mod metrics_prometheus;
mod residue;
