//! Without privileges: a line that names the mend, and nothing was touched.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Output, Picture, agent, agent_path, on_node, run, shell};

use crate::{civil, one_line};

const TOPOLOGY: &str = "
namespaces: [{ name: orange }]
pairs:
  - name: demo
    ends:
      - { interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: orange, interface: tap2, addresses: [192.168.1.3/24] }
";

/// A copy of the agent that everybody may run, wherever the build lies.
fn open_the_door(node: &Node) -> Result<()> {
    fs::set_permissions(node.scratch(), fs::Permissions::from_mode(0o755))?;
    fs::copy(agent_path(), node.scratch().join("veth-agent"))?;
    Ok(())
}

fn as_nobody(node: &Node, arguments: &str) -> Result<Output> {
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    shell(&format!("{nobody} {}/veth-agent {arguments}", node.scratch().display()))
}

fn fails_for_want_of_privileges(output: &Output) -> Result<()> {
    ensure!(output.code == 1, "{output:?}");
    ensure!(output.stdout.is_empty(), "{output:?}");
    let line = one_line(output)?;
    let mend = line.contains("root") || line.contains("CAP_");
    ensure!(mend, "names no mend: {line}");
    Ok(())
}

#[test]
fn apply_names_the_mend_and_touches_nothing() {
    on_node(|node| {
        open_the_door(node)?;
        let file = node.file("t.yaml", TOPOLOGY)?;
        let apply = format!("apply -f {}", file.display());
        let before = Picture::take()?;
        fails_for_want_of_privileges(&as_nobody(node, &apply)?)?;
        before.still_holds()?;

        node.netns("orange")?;
        let before = Picture::take()?;
        fails_for_want_of_privileges(&as_nobody(node, &apply)?)?;
        before.still_holds()?;

        let host_only = "pairs: [{ name: p, ends: [{ interface: a }, { interface: b }] }]";
        let file = node.file("h.yaml", host_only)?;
        fails_for_want_of_privileges(&as_nobody(node, &format!("apply -f {}", file.display()))?)?;
        before.still_holds()
    });
}

#[test]
fn what_apply_made_is_not_for_others_to_change() {
    on_node(|node| {
        open_the_door(node)?;
        let file = node.file("t.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        let before = Picture::take()?;
        let file = file.display();
        for arguments in
            [format!("delete -f {file}"), format!("apply -f {file}"), "detach --all".to_owned()]
        {
            fails_for_want_of_privileges(&as_nobody(node, &arguments)?)?;
            before.still_holds()?;
        }
        fails_for_want_of_privileges(&as_nobody(node, "detach demo")?)?;
        fails_for_want_of_privileges(&as_nobody(node, "run --listen 127.0.0.1:0")?)?;
        before.still_holds()
    });
}

#[test]
fn run_and_detach_fail_on_a_node_where_the_agent_never_was() {
    on_node(|node| {
        open_the_door(node)?;
        let before = Picture::take()?;
        fails_for_want_of_privileges(&as_nobody(node, "run --listen 127.0.0.1:0")?)?;
        fails_for_want_of_privileges(&as_nobody(node, "detach --all")?)?;
        before.still_holds()
    });
}

#[test]
fn list_explains_what_it_could_not_see() {
    on_node(|node| {
        open_the_door(node)?;
        node.netns("orange")?;
        run("ip link add tap1 type veth peer name tap2 netns orange")?;
        run("ip link add one type veth peer name other")?;
        for format in ["table", "wide", "json"] {
            let output = as_nobody(node, &format!("list -o {format}"))?;
            ensure!(output.code == 0, "{output:?}");
            civil(&output)?;
            ensure!(output.stdout.contains("one@host"), "{output:?}");
            ensure!(output.stdout.contains("tap1@host"), "{output:?}");
            ensure!(!output.stdout.contains("tap2"), "{output:?}");
            let line = one_line(&output)?;
            ensure!(line.contains("/run/netns/orange") && line.contains("root"), "{line}");
        }
        Ok(())
    });
}

/// What is attached is for root to see: others are told that they do not see it, and who would.
#[test]
fn programs_that_cannot_be_seen_are_not_shown_as_none() {
    on_node(|node| {
        open_the_door(node)?;
        let file = node.file("t.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        for command in ["list", "list -o json", "status", "status -o json"] {
            let output = as_nobody(node, command)?;
            ensure!(output.code == 0, "{output:?}");
            civil(&output)?;
            let told =
                |line: &str| line.contains("attached cannot be seen") && line.contains("root");
            ensure!(output.stderr.lines().any(told), "{command}: {}", output.stderr);
        }
        let status = as_nobody(node, "status")?.stdout;
        let tcx =
            status.lines().find(|line| line.starts_with("TCX ")).context("no line for TCX")?;
        ensure!(tcx.contains("unknown: not permitted; run it as root"), "{tcx}");
        ensure!(status.contains("attach by an unknown way"), "{status}");
        Ok(())
    });
}

/// Nothing is concluded from what cannot be seen: not that it is gone, nor that it leaks.
#[test]
fn doctor_tells_what_it_could_not_see() {
    on_node(|node| {
        open_the_door(node)?;
        let file = node.file("t.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        run("ip -n orange link set tap2 down")?;
        let text = as_nobody(node, "doctor")?;
        civil(&text)?;
        ensure!(
            text.code == 3 && text.stdout.contains("host/tap1 has no carrier (likely)"),
            "{text:?}"
        );
        ensure!(!text.stdout.contains("link del"), "{text:?}");
        let told = |line: &str| line.contains("/run/netns/orange") && line.contains("root");
        ensure!(text.stderr.lines().any(told), "{text:?}");
        let json = as_nobody(node, "doctor -o json")?;
        let document: serde_json::Value = serde_json::from_str(&json.stdout)?;
        let unread = document["unread"].as_array().context("no list")?;
        ensure!(unread.iter().any(|it| it.to_string().contains("/run/netns/orange")), "{json:?}");
        let asked = as_nobody(node, "doctor orange")?;
        ensure!(asked.code == 1 && asked.stdout.is_empty(), "{asked:?}");
        ensure!(asked.stderr.contains("is not known"), "{asked:?}");
        // One that is seen is told of.
        ensure!(as_nobody(node, "doctor host")?.code == 3);
        Ok(())
    });
}
