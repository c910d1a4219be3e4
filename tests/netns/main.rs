//! Real topologies, real traffic.

mod coexist;
mod counts;
mod daemon;
mod daemon_apply;
mod daemon_bpffs;
mod daemon_overrun;
mod daemon_restart;
mod drops;
mod exact;
mod fastpath;
mod features;
mod identity;
mod list;
mod metrics;
mod metrics_prometheus;
mod netkit;
mod relations;
mod residue;
mod reuse;
mod scenarios;
mod status;
mod topology;
mod upgrade;
