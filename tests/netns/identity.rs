//! Every end has counters of its own, whatever its name and index.

use veth_tests::{Agent, Qdisc, RawFrames, frame, on_node, undisturbed};

use crate::counts::{assert_equal, assert_pings, at_rest, join, quiet, side};

#[test]
fn ends_of_the_same_index_in_four_namespaces_are_kept_apart() {
    on_node(|node| {
        quiet(node, &["a", "b", "c", "d"])?;
        let ends = [
            side("a", "eth0", "10.0.0.1", Some(2)),
            side("b", "eth0", "10.0.0.2", Some(2)),
            side("c", "eth0", "10.0.0.1", Some(2)),
            side("d", "eth0", "10.0.0.2", Some(2)),
        ];
        let [a, b, c, d] = &ends;
        join(node, [a, b])?;
        join(node, [c, d])?;
        let daemon = Agent::start(node, "")?;
        a.ping(b, 3)?;
        d.ping(c, 11)?;
        let readings = at_rest(node, &daemon, ends.each_ref().map(|side| side.end))?;
        assert_pings(&readings, &[3, 3, 11, 11]);
        Ok(())
    });
}

#[test]
fn ends_of_one_namespace_are_kept_apart() {
    on_node(|node| {
        quiet(node, &["hub", "left", "right"])?;
        let ends = [
            side("hub", "tap1", "10.0.1.1", None),
            side("left", "tap1", "10.0.1.2", None),
            side("hub", "tap2", "10.0.2.1", None),
            side("right", "tap1", "10.0.2.2", None),
            side("hub", "tap3", "10.0.3.1", None),
            side("right", "tap2", "10.0.3.2", None),
        ];
        let [hub1, left, hub2, right1, hub3, right2] = &ends;
        join(node, [hub1, left])?;
        join(node, [hub2, right1])?;
        join(node, [hub3, right2])?;
        let daemon = Agent::start(node, "")?;
        left.ping(hub1, 5)?;
        hub2.ping(right1, 7)?;
        right2.ping(hub3, 11)?;
        let readings = at_rest(node, &daemon, ends.each_ref().map(|side| side.end))?;
        assert_pings(&readings, &[5, 5, 7, 7, 11, 11]);
        Ok(())
    });
}

#[test]
fn both_ends_of_a_pair_in_one_namespace_are_kept_apart() {
    on_node(|node| {
        quiet(node, &["both"])?;
        let ends = [side("both", "tap1", "10.0.1.1", None), side("both", "tap2", "10.0.2.1", None)];
        join(node, ends.each_ref())?;
        let daemon = Agent::start(node, "")?;
        node.within("both", || {
            let _room = undisturbed()?;
            let (one, other) =
                (RawFrames::on("tap1", Qdisc::Pass)?, RawFrames::on("tap2", Qdisc::Pass)?);
            (0..3).try_for_each(|_| one.send(&frame(0x88b5, &[], 100)))?;
            (0..8).try_for_each(|_| other.send(&frame(0x88b5, &[], 1000)))
        })?;
        let readings = at_rest(node, &daemon, ends.each_ref().map(|side| side.end))?;
        assert_equal(&readings);
        assert_eq!(readings[0].counted(), [(8, 8000), (3, 300)]);
        assert_eq!(readings[1].counted(), [(3, 300), (8, 8000)]);
        Ok(())
    });
}

#[test]
fn ends_of_the_same_index_on_the_host_and_in_namespaces_are_kept_apart() {
    on_node(|node| {
        quiet(node, &["host", "pod", "x", "y"])?;
        let ends = [
            side("host", "vethf00", "10.0.1.1", Some(7)),
            side("pod", "eth0", "10.0.1.2", Some(8)),
            side("x", "tap1", "10.0.2.1", Some(7)),
            side("y", "tap1", "10.0.2.2", Some(7)),
        ];
        let [host, pod, x, y] = &ends;
        join(node, [host, pod])?;
        join(node, [x, y])?;
        let daemon = Agent::start(node, "")?;
        host.ping(pod, 4)?;
        x.ping(y, 9)?;
        let readings = at_rest(node, &daemon, ends.each_ref().map(|side| side.end))?;
        assert_pings(&readings, &[4, 4, 9, 9]);
        Ok(())
    });
}
