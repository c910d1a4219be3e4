//! Bridges: who is on them, and who may be.

use anyhow::ensure;
use veth_tests::{cured, doctor, on_node, run};

use super::{answers, answers_soon, bridged};

#[test]
fn an_end_that_was_taken_off_its_bridge() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set blue0 nomaster")?;
        ensure!(!answers("blue", "10.0.0.1", 56)?);
        let finding = cured(node, "port-missing", "host/blue0")?;
        ensure!(finding.what.contains("blue's gateway 10.0.0.1 is on br0"), "{finding:?}");
        answers_soon(node, "blue", "10.0.0.2", 56)?;
        // The subnet tells, too.
        run("ip link set blue0 nomaster")?;
        run("ip -n blue route del default")?;
        let finding = cured(node, "port-missing", "host/blue0")?;
        ensure!(finding.what.contains("blue's subnet 10.0.0.0/24 is on br0"), "{finding:?}");
        answers_soon(node, "blue", "10.0.0.2", 56)
    });
}

/// Beyond a physical port may be whoever: an address that nobody seen here has need not be free.
#[test]
fn no_address_is_handed_out_where_not_all_are_seen() {
    on_node(|node| {
        bridged(node)?;
        run("ip tuntap add lan0 mode tap")?;
        run("ip link set lan0 master br0 up")?;
        run("ip -n red addr flush dev red1")?;
        let found = doctor("")?;
        ensure!(found.len() == 1 && found[0].check == "no-address", "{found:?}");
        ensure!(found[0].mend.is_none(), "{found:?}");
        run("ip -n red addr add 10.0.0.3/24 dev red1")?;
        run("ip -n red route add default via 10.0.0.1")?;
        let found = doctor("")?;
        ensure!(found.len() == 1 && found[0].check == "duplicate-address", "{found:?}");
        ensure!(found[0].mend.is_none(), "{found:?}");
        Ok(())
    });
}
