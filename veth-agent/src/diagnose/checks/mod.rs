//! One check a file: a pure function from all that is known to what is wrong.

mod carrier;
mod dropped;
mod duplicate_address;
mod duplicate_mac;
mod end_down;
mod firewall;
mod forwarding;
mod gone;
mod hook;
mod ipv6;
mod leaked;
mod mtu;
mod neighbour;
mod next_hop;
mod no_address;
mod port;
mod qdisc;
mod reverse_path;
mod route;
mod tunnel;
mod unplugged;
mod way_out;

use super::{Case, Finding};

/// A check.
type Check = fn(&Case<'_>) -> Vec<Finding>;

/// All checks.
pub const ALL: [Check; 22] = [
    end_down::check,
    carrier::check,
    no_address::check,
    route::check,
    next_hop::check,
    way_out::check,
    mtu::check,
    tunnel::check,
    forwarding::check,
    reverse_path::check,
    firewall::check,
    dropped::check,
    port::check,
    unplugged::check,
    duplicate_address::check,
    duplicate_mac::check,
    qdisc::check,
    neighbour::check,
    ipv6::check,
    hook::check,
    leaked::check,
    gone::check,
];
