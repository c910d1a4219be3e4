//! Neighbours that do not answer, and why.

use std::time::Duration;

use anyhow::{Result, ensure};
use veth_tests::{Finding, Node, doctor, mend, on_node, run};

use super::{answers, answers_soon, bridged};

/// Red asks blue in vain.
fn asked_in_vain(node: &Node) -> Result<Finding> {
    node.eventually("asked in vain", Duration::from_secs(20), || {
        ensure!(!answers("red", "10.0.0.3", 56)?);
        let found = doctor("")?;
        Ok(found.into_iter().find(|it| it.check == "neighbour" && it.what.contains("10.0.0.3")))
    })
}

#[test]
fn settings_by_which_nobody_answers() {
    on_node(|node| {
        bridged(node)?;
        let switch = "sysctl -qw net.ipv4.conf.blue1.arp_ignore=8";
        for (fault, told) in [
            (format!("nsenter --net=/run/netns/blue {switch}"), "arp_ignore is 8"),
            ("bridge link set dev blue0 bcast_flood off".to_owned(), "is sent no broadcasts"),
        ] {
            run("ip -n red neigh flush dev red1")?;
            run(&fault)?;
            let finding = asked_in_vain(node)?;
            ensure!(finding.evidence.iter().any(|it| it.contains(told)), "{finding:?}");
            mend(node, &finding)?;
            answers_soon(node, "red", "10.0.0.3", 56)?;
        }
        Ok(())
    });
}

/// What comes in by a wrong way is dropped before it could be answered.
#[test]
fn a_question_that_comes_in_by_a_wrong_way() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n red neigh flush dev red1")?;
        run("nsenter --net=/run/netns/blue sysctl -qw net.ipv4.conf.blue1.rp_filter=1")?;
        run("ip -n blue route add 10.0.0.2 dev lo")?;
        let finding = asked_in_vain(node)?;
        ensure!(finding.mend.is_none(), "{finding:?}");
        Ok(())
    });
}
