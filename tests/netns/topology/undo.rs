//! An `apply` that fails undoes all that it did.

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Picture, agent_path, on_node, run, shell, try_run};

use super::{EVERYTHING, File, move_in};

/// A pair and a bridge that could be made, before one that cannot.
fn after_good_ones(bad: &str) -> String {
    format!("{EVERYTHING}{bad}")
}

#[test]
fn a_name_that_is_taken_leaves_nothing_of_the_file() {
    on_node(|node| {
        move_in(node)?;
        node.netns("there")?;
        shell(
            "ip link add taken type bridge
             ip link add pair-a type veth peer name pair-b
             ip -n there link add taken type bridge",
        )?;
        let before = Picture::take()?;
        for (end, names) in [
            ("{ interface: taken }", ["taken", "not a veth end"]),
            ("{ interface: pair-a }", ["pair-a", "its other end is pair-b"]),
            ("{ namespace: there, interface: taken }", ["\"there\"", "not a veth end"]),
            ("{ namespace: there, interface: lo0, bridge: lo }", ["", ""]),
        ] {
            let bad = format!(
                "  - {{ name: bad, ends: [{end}, {{ namespace: orange, interface: bad1 }}] }}\n"
            );
            let file = File::new(node, "t.yaml", &after_good_ones(&bad))?;
            if names[0].is_empty() {
                ensure!(file.run("apply")?.code == 2);
            } else {
                let said = file.fail("apply", &names).context(end)?;
                ensure!(said.lines().count() == 1 && said.contains("another name"), "{said}");
            }
            before.still_holds().context(end)?;
        }
        Ok(())
    });
}

#[test]
fn a_step_that_the_kernel_refuses_late_undoes_all_before_it() {
    on_node(|node| {
        move_in(node)?;
        node.quiet_netns("dull")?;
        let before = Picture::take()?;
        for (end, names) in [
            (
                "namespace: dull, interface: x, addresses: [10.8.0.1/24], routes: [{ to: \
                 10.7.0.0/16, via: 10.6.0.1 }]",
                ["10.6.0.1", "unreachable"],
            ),
            ("namespace: dull, interface: x, addresses: ['fd00:8::1/64']", ["fd00:8::1", "dull"]),
        ] {
            let bad = format!("  - {{ name: bad, ends: [{{ {end} }}, {{ interface: bad1 }}] }}\n");
            let file = File::new(node, "t.yaml", &after_good_ones(&bad))?;
            let said = file.fail("apply", &names).context(end)?;
            ensure!(!said.contains("left behind"), "{said}");
            before.still_holds().context(end)?;
        }
        Ok(())
    });
}

#[test]
fn an_adopted_pair_gets_back_what_it_had() {
    on_node(|node| {
        move_in(node)?;
        node.netns("there")?;
        shell(
            "ip link add br9 address 02:00:00:00:01:09 type bridge
             ip link add old9 address 02:00:00:00:01:08 type bridge
             ip link add mine0 mtu 1300 address 02:00:00:00:01:01 type veth peer name mine1 \
             netns there mtu 1300 address 02:00:00:00:01:02
             ip link set mine0 master old9 up
             ip -n there addr add 10.4.0.9/24 dev mine1
             ip -n there link set mine1 up
             ip -n there route add 10.99.0.0/16 via 10.4.0.1",
        )?;
        let before = Picture::take()?;
        let adopt = "
pairs:
  - name: mine
    ends:
      - { interface: mine0, mtu: 1200, mac: '02:00:00:00:02:01', bridge: br9, up: false }
      - namespace: there
        interface: mine1
        mtu: 1200
        mac: '02:00:00:00:02:02'
        addresses: [10.4.0.2/24, 10.5.0.2/24]
        routes: [{ to: 10.77.0.0/16, via: 10.4.0.1 }, { to: 10.78.0.0/16, via: 10.66.0.1 }]
";
        let file = File::new(node, "t.yaml", adopt)?;
        let said = file.fail("apply", &["10.66.0.1", "10.78.0.0/16"])?;
        ensure!(!said.contains("left behind"), "{said}");
        before.still_holds()
    });
}

#[test]
fn a_pair_of_ours_gets_back_the_addresses_and_routes_that_a_failed_change_took() {
    on_node(|node| {
        move_in(node)?;
        let file = |rest: &str| {
            let text = format!(
                "namespaces: [{{ name: orange }}]\npairs:\n  - name: p\n    ends:\n      - {{ \
                 interface: p0, addresses: [10.1.0.1/24] }}\n      - {{ namespace: orange, \
                 interface: p1, {rest} }}\n"
            );
            File::new(node, "t.yaml", &text)
        };
        file("addresses: [10.1.0.2/24], routes: [{ to: 10.2.0.0/16, via: 10.1.0.1 }]")?.apply()?;
        let before = Picture::take()?;
        file("addresses: [10.3.0.2/24], routes: [{ to: 10.2.0.0/16, via: 10.66.0.1 }]")?
            .fail("apply", &["10.66.0.1"])?;
        before.still_holds()
    });
}

/// Pairs that all have an end in a namespace which goes away meanwhile.
fn vanishing(pairs: usize) -> String {
    let ends = (0..pairs).map(|nth| {
        format!(
            "  - {{ name: p{nth}, ends: [{{ namespace: vanish, interface: v{nth} }}, {{ namespace: \
             stay, interface: s{nth} }}] }}\n"
        )
    });
    "namespaces: [{ name: stay }]\npairs:\n".to_owned() + &ends.collect::<String>()
}

fn vanish_half_way(node: &Node, file: &File) -> Result<i32> {
    let said = node.scratch().join("said");
    let script = format!(
        "{agent} apply -f {file} 2>{said} &
         apply=$!
         until ip -n vanish link show dev v0 >/dev/null 2>&1; do
             kill -0 $apply
         done
         ip netns del vanish
         wait $apply",
        agent = agent_path().display(),
        file = file.0.display(),
        said = said.display(),
    );
    let code = shell(&script)?.code;
    let said = std::fs::read_to_string(said)?;
    ensure!(said.lines().all(|line| line.starts_with("veth-agent: ")), "{said}");
    ensure!(code == 0 || said.contains("vanish"), "exit {code}: {said}");
    ensure!(!said.contains("left behind"), "exit {code}: {said}");
    Ok(code)
}

#[test]
fn a_namespace_that_vanishes_half_way_undoes_the_rest() {
    on_node(|node| {
        move_in(node)?;
        let file = File::new(node, "t.yaml", &vanishing(40))?;
        let before = Picture::take()?;
        node.eventually("it vanishes in time", std::time::Duration::from_secs(30), || {
            node.netns("vanish")?;
            let code = vanish_half_way(node, &file)?;
            if code == 0 {
                // It went only after the last look; what was made elsewhere stands.
                run("ip netns del stay")?;
                return Ok(None);
            }
            ensure!(code == 1, "exit {code}");
            before.still_holds()?;
            Ok(Some(()))
        })?;
        // And with the namespace there again, all is made.
        node.netns("vanish")?;
        file.apply()?;
        file.settled()?;
        file.delete()?;
        ensure!(try_run("ip -n vanish link show dev v0")?.code != 0);
        run("ip netns del vanish")?;
        before.still_holds()
    });
}
