//! `delete` removes what `apply` made, and nothing else.

use anyhow::ensure;
use veth_tests::{Picture, agent, on_node, run, shell};

use super::{EVERYTHING, File, move_in};

#[test]
fn the_node_is_as_it_was() {
    on_node(|node| {
        let empty = Picture::take()?;
        move_in(node)?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        let built = Picture::take()?;
        let planned = file.run("delete --dry-run")?;
        ensure!(planned.code == 0 && planned.stdout.contains("delete pair"), "{planned:?}");
        built.still_holds()?;
        file.delete()?;
        before.still_holds()?;
        file.delete()?;
        before.still_holds()?;
        let detached = agent("detach --all")?;
        ensure!(detached.code == 0, "{detached:?}");
        empty.still_holds()
    });
}

#[test]
fn deleting_what_was_never_made_succeeds() {
    on_node(|node| {
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn a_dry_run_of_apply_makes_nothing() {
    on_node(|node| {
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        let planned = file.run("apply --dry-run")?;
        ensure!(planned.code == 0, "{planned:?}");
        for line in ["create namespace \"orange\"", "create bridge br0", "create pair \"demo\""] {
            ensure!(planned.stdout.contains(line), "{planned:?}");
        }
        before.still_holds()
    });
}

#[test]
fn namespaces_and_bridges_that_were_there_before_stay() {
    on_node(|node| {
        move_in(node)?;
        node.netns("orange")?;
        shell(
            "ip link add br0 type bridge
             ip link set br0 mtu 1400
             ip addr add 10.0.0.200/24 dev br0
             ip link set br0 up
             ip link add guest type veth peer name guest0 netns orange
             ip link set guest master br0 up",
        )?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        for link in ["ip link show dev br0", "ip -n orange link show dev lo"] {
            let shown = run(link)?.stdout;
            ensure!(!shown.contains("alias"), "marked: {shown}");
        }
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn an_adopted_pair_is_deleted_and_its_likes_are_not() {
    on_node(|node| {
        move_in(node)?;
        node.netns("there")?;
        shell(
            "ip link add other0 type veth peer name other1 netns there
             ip link add x type veth peer name y",
        )?;
        let before = Picture::take()?;
        run("ip link add p0 type veth peer name p1 netns there")?;
        let text =
            "pairs: [{ name: p, ends: [{ interface: p0 }, { namespace: there, interface: p1 }] }]";
        let file = File::new(node, "t.yaml", text)?;
        // Not adopted yet, so not ours.
        let unmarked = Picture::take()?;
        file.delete()?;
        unmarked.still_holds()?;
        file.apply()?;
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn a_foreign_interface_in_a_namespace_of_ours_is_in_the_way() {
    on_node(|node| {
        move_in(node)?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        run("ip link add guest type veth peer name guest0 netns green")?;
        let said = file.fail("delete", &["green", "guest0", "delete again"])?;
        ensure!(said.lines().count() == 1, "{said}");
        run("ip -n green link show dev guest0")?;
        ensure!(!std::path::Path::new("/run/netns/orange").exists(), "the rest was not deleted");
        file.fail("delete", &["green", "guest0"])?;
        run("ip link del guest")?;
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn a_foreign_port_of_a_bridge_of_ours_is_in_the_way() {
    on_node(|node| {
        move_in(node)?;
        run("ip link add guest type veth peer name guest0")?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        run("ip link set guest master br0")?;
        file.fail("delete", &["br0", "guest", "nomaster"])?;
        run("ip link set guest nomaster")?;
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn a_mark_of_another_pair_is_respected() {
    on_node(|node| {
        let one = "pairs: [{ name: one, ends: [{ interface: a }, { interface: b }] }]";
        let one = File::new(node, "one.yaml", one)?;
        one.apply()?;
        let before = Picture::take()?;
        let two = "pairs: [{ name: two, ends: [{ interface: a }, { interface: b }] }]";
        let two = File::new(node, "two.yaml", two)?;
        two.fail("apply", &["\"one\""])?;
        two.delete()?;
        before.still_holds()
    });
}
