//! `apply` and `delete`: what they make, repair, undo and leave alone.

mod crash;
mod delete;
mod drift;
mod undo;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Output, agent};

/// A bit of everything that a file can declare.
const EVERYTHING: &str = "
namespaces: [{ name: orange }, { name: green }]
bridges:
  - { name: br0, addresses: [10.0.0.1/24, 'fd00:b::1/64'], mtu: 1400 }
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24, 'fd00:1::2/64'] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24], mac: '02:00:00:00:00:03' }
  - name: port
    ends:
      - { interface: veth-port, bridge: br0, mtu: 1400 }
      - namespace: orange
        interface: up0
        mtu: 1400
        addresses: [10.0.0.2/24, 'fd00:b::2/64']
        routes: [{ to: default, via: 10.0.0.1 }, { to: 'fd00:c::/64', via: 'fd00:b::1' }]
  - name: routed
    ends:
      - { interface: veth-r, addresses: [10.9.0.10/32], routes: [{ to: 10.9.0.1/32 }] }
      - namespace: green
        interface: r0
        addresses: [10.9.0.1/32]
        routes: [{ to: 10.9.0.10/32 }, { to: default, via: 10.9.0.10, metric: 7 }]
";

/// A topology file of a test.
struct File(PathBuf);

impl File {
    fn new(node: &Node, name: &str, content: &str) -> Result<Self> {
        node.file(name, content).map(Self)
    }

    fn run(&self, command: &str) -> Result<Output> {
        agent(&format!("{command} -f {}", self.0.display()))
    }

    fn apply(&self) -> Result<()> {
        self.succeed("apply")
    }

    fn delete(&self) -> Result<()> {
        self.succeed("delete")
    }

    fn succeed(&self, command: &str) -> Result<()> {
        let output = self.run(command)?;
        ensure!(output.code == 0, "{command}: {output:?}");
        Ok(())
    }

    /// `command` must fail for a reason that has all of `names`, in lines of ours.
    fn fail(&self, command: &str, names: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        ensure!(output.code == 1, "{command}: {output:?}");
        let ours = output.stderr.lines().all(|line| line.starts_with("veth-agent: "));
        ensure!(ours && !output.stderr.contains("panicked"), "{command}: {output:?}");
        for name in names {
            ensure!(output.stderr.contains(name), "no {name:?} in {:?}", output.stderr);
        }
        Ok(output.stderr)
    }

    /// Nothing is left to be done.
    fn settled(&self) -> Result<()> {
        let output = self.run("apply --dry-run")?;
        ensure!(output.code == 0, "{output:?}");
        ensure!(output.stdout.is_empty(), "still to be done:\n{}", output.stdout);
        Ok(())
    }
}

/// Lets the agent make the maps that it keeps between its runs.
fn move_in(node: &Node) -> Result<()> {
    let pair = "pairs: [{ name: first, ends: [{ interface: first0 }, { interface: first1 }] }]";
    let file = File::new(node, "first.yaml", pair)?;
    file.apply().context("moving in")?;
    file.delete().context("moving in")
}
