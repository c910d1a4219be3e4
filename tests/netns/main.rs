//! Real topologies, real traffic.

mod coexist;
mod counts;
mod daemon;
mod daemon_apply;
mod daemon_bpffs;
mod daemon_overrun;
mod daemon_restart;
mod doctor;
mod exact;
mod fastpath;
mod features;
mod identity;
mod ledger;
mod list;
mod metrics;
mod metrics_mtu;
mod metrics_prometheus;
mod mtu_counts;
mod netkit;
mod relations;
mod residue;
mod reuse;
mod scenarios;
mod status;
mod topology;
mod upgrade;
