//! Fragments of both families, at every end that they pass.

use anyhow::Result;
use veth_common::{
    counters::Direction::{Rx, Tx},
    mtu::{
        Family::{Ipv4, Ipv6},
        Figure::Fragment,
    },
};
use veth_tests::{Node, on_node, undisturbed};

use super::{DATAPATHS, ENDS, only, pods, sees};
use crate::fastpath::{Shape, in_red};

const PINGS: u64 = 20;
/// Of 4,008 bytes of ICMP: 1,480 and 1,480 and 1,048 by IPv4, 1,448 and 1,448 and 1,112 by IPv6.
const PIECES: u64 = 3 * PINGS;

fn every_piece_is_counted_at_every_end(node: &Node, shape: Shape, datapath: &str) -> Result<()> {
    let daemon = pods(node, shape, datapath)?;
    for (address, family) in [("10.0.0.3", Ipv4), ("fd00::3", Ipv6)] {
        let _room = undisturbed()?;
        // There and back.
        let pieces = only(&[(Fragment(family, Rx), PIECES), (Fragment(family, Tx), PIECES)]);
        sees(node, &daemon, ENDS, [pieces; 4], || {
            in_red(&format!("ping -q -c {PINGS} -i 0.01 -s 4000 {address}"))
        })?;
        sees(node, &daemon, ENDS, [only(&[]); 4], || {
            in_red(&format!("ping -q -c {PINGS} -i 0.01 -s 1400 {address}"))
        })?;
    }
    Ok(())
}

#[test]
fn every_piece_is_counted_at_every_end_of_a_bridge() {
    for datapath in DATAPATHS {
        on_node(|node| every_piece_is_counted_at_every_end(node, Shape::Bridged, datapath));
    }
}

/// The host of routed pods puts pieces together only where something asks for it, and sends them on.
#[test]
fn every_piece_is_counted_at_every_end_of_a_route() {
    for datapath in DATAPATHS {
        on_node(|node| every_piece_is_counted_at_every_end(node, Shape::Routed, datapath));
    }
}
