//! Frames of XDP, which no socket buffer carries.

use anyhow::Result;
use nix::net::if_::if_nametoindex;
use veth_agent::preflight::Feature;
use veth_tests::{Node, Qdisc, RawFrames, XdpRedirect, expected, frame, run};

use super::{BLUE, RED, lose, pair, with_reasons};

/// Sends frames to blue, where they are redirected to a device of this name.
fn redirect(node: &Node, to: &str, count: u64) -> Result<()> {
    let _theirs = node.within("blue", || XdpRedirect::attach("b1", if_nametoindex(to)?))?;
    let frames = node.within("red", || RawFrames::on("r1", Qdisc::Pass))?;
    (0..count).try_for_each(|_| frames.send(&frame(0x88b5, &[], 100)))
}

/// The kernel has received them and knows no way on: the loopback takes no frames.
#[test]
fn a_refused_redirect_is_lost_where_the_frame_came_in() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        redirect(node, "lo", 50)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("xdp_redirect_eopnotsupp", 50)])])
    });
}

/// A receiver without NAPI takes none either. Since Linux 6.3 that is known before a frame is sent;
/// before, the device refuses it (`veth_xdp_xmit`).
#[test]
fn frames_that_a_device_does_not_take_are_lost_at_either_end_of_their_way() {
    with_reasons(|node| {
        node.quiet_netns("green")?;
        let daemon = pair(node)?;
        run("ip -n blue link add b2 type veth peer name g1 netns green")?;
        run("ip -n blue link set b2 up")?;
        run("ip -n green link set g1 up")?;
        let (came_in, went_out) = (BLUE, ("blue", "b2"));
        for end in [went_out, ("green", "g1")] {
            crate::counts::attached(node, end)?;
            crate::counts::carrier(node, end)?;
        }
        redirect(node, "b2", 50)?;
        // What came with that netlink family, `netdev`.
        let refused = if expected(Feature::XdpFragRedirect) {
            [(came_in, [("xdp_redirect_eopnotsupp", 50)].as_slice()), (went_out, &[])]
        } else {
            [(came_in, [].as_slice()), (went_out, &[("xdp_xmit_enxio", 50)])]
        };
        lose(node, &daemon, &refused)
    });
}
