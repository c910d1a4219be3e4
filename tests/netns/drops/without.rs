//! A kernel that does not tell of drops: everything else works, and `status` says what is missing.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use veth_tests::{Agent, Node, agent, agent_untraced, on_node, run, status_document};

use super::{pair, send};

/// Lies over the kernel's description of its types, on this node alone.
fn hide_btf(node: &Node) -> Result<()> {
    let empty = node.file("empty", "")?;
    let btf = Path::new("/sys/kernel/btf/vmlinux");
    mount(Some(&empty), btf, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("hiding BTF")
}

#[test]
fn without_btf_all_else_works_and_status_says_why() {
    on_node(|node| {
        hide_btf(node)?;
        let daemon = pair(node)?;
        let warnings = daemon.said().matches("WARN drops are not counted").count();
        ensure!(warnings == 1, "{}", daemon.said());
        send(node, "red", "10.0.0.2:9", 50, 100)?;
        run("nsenter --net=/run/netns/red ping -q -c 20 -i 0.01 10.0.0.2")?;
        let page = daemon.page()?;
        let packets = page.count("veth_agent_packets_total", "blue", "b1", "rx")?;
        ensure!(packets >= 70, "{packets}");
        ensure!(page.all("veth_agent_drops_total", &[]).next().is_none());
        ensure!(page.all("veth_agent_drops_unattributed_total", &[]).next().is_none());

        let document = status_document("")?;
        assert_eq!(document["drops"]["counted"], false);
        let reason = document["drops"]["reason"].as_str().context("no reason")?;
        ensure!(reason.contains("no drop reasons"), "{reason}");
        let table = agent("status")?.stdout;
        ensure!(table.contains("drops: not counted: this kernel"), "{table}");
        let said = agent("doctor")?;
        ensure!(said.code == 0, "{said:?}");
        ensure!(said.stdout.starts_with("drops: not counted: this kernel"), "{said:?}");
        let features = document["features"].as_array().context("no features")?;
        for feature in ["btf", "drop_reasons"] {
            let found = features.iter().find(|found| found["feature"] == feature);
            assert_eq!(found.context(feature)?["state"], "absent", "{feature}");
        }
        ensure!(agent("detach --all")?.code == 1, "the daemon runs");
        drop(daemon);
        ensure!(agent("detach --all")?.code == 0);
        Ok(())
    });
}

/// A kernel that has the reasons, and refuses the tracepoint: all else works, and they say why.
#[test]
fn where_tracing_is_refused_all_else_works_and_both_say_why() {
    super::with_reasons(|node| {
        drop(pair(node)?);
        ensure!(agent("detach --all")?.code == 0);
        let daemon = Agent::start_untraced(node)?;
        let warnings = daemon.said().matches("WARN drops are not counted").count();
        ensure!(warnings == 1, "{}", daemon.said());
        run("nsenter --net=/run/netns/red ping -q -c 20 -i 0.01 10.0.0.2")?;
        let page = daemon.page()?;
        let packets = page.count("veth_agent_packets_total", "blue", "b1", "rx")?;
        ensure!(packets >= 20, "{packets}");
        ensure!(page.all("veth_agent_drops_total", &[]).next().is_none());
        for command in ["status", "doctor"] {
            let said = agent_untraced(command)?;
            ensure!(said.code == 0, "{said:?}");
            let line = said.stdout.lines().find(|line| line.starts_with("drops: not counted: "));
            let line = line.with_context(|| format!("{said:?}"))?;
            ensure!(line.contains("not permitted"), "{line}");
        }
        Ok(())
    });
}

/// Where nobody has started the daemon, that is why.
#[test]
fn before_the_daemon_status_says_that_none_counts() {
    super::with_reasons(|node| {
        let reason = || -> Result<String> {
            let document = status_document("")?;
            Ok(document["drops"]["reason"].as_str().unwrap_or_default().to_owned())
        };
        ensure!(reason()?.contains("no `veth-agent run`"), "{}", reason()?);
        let daemon = Agent::start(node, "")?;
        let document = status_document("")?;
        assert_eq!(document["drops"]["counted"], true, "{document}");
        // The programs stay.
        daemon.kill()?;
        assert_eq!(status_document("")?["drops"]["counted"], true);
        Ok(())
    });
}
