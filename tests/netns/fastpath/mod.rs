//! The fast path: packets go from one pair straight into the far end of another.

mod audit;
mod hop;
mod life;
mod mtu;
mod oracle;
mod sender;
mod xdp;

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use veth_agent::{
    collect::{self, EndReading},
    datapath::{DEFAULT_BPFFS, Maps, Pins},
    netns,
    types::{EndId, IfIndex},
};
use veth_tests::{Agent, Node, Page, agent, run};

/// Two pods on a bridge.
pub const BRIDGED: &str = "
namespaces: [{ name: red }, { name: blue }]
bridges: [{ name: br0, addresses: [10.0.0.1/24, fd00::1/64] }]
pairs:
  - name: red
    datapath: tc
    ends:
      - { interface: r0, bridge: br0 }
      - { namespace: red, interface: r1, addresses: [10.0.0.2/24, fd00::2/64] }
  - name: blue
    datapath: tc
    ends:
      - { interface: b0, bridge: br0 }
      - { namespace: blue, interface: b1, addresses: [10.0.0.3/24, fd00::3/64] }
";

/// Two pods that the host routes between.
pub const ROUTED: &str = "
namespaces: [{ name: red }, { name: blue }]
pairs:
  - name: red
    datapath: tc
    ends:
      - { interface: r0, addresses: [169.254.1.1/32, fd01::1/128], routes: [{ to: 10.0.0.2/32 }, { to: fd00::2/128 }] }
      - namespace: red
        interface: r1
        addresses: [10.0.0.2/32, fd00::2/128]
        routes: [{ to: 169.254.1.1/32 }, { to: default, via: 169.254.1.1 }, { to: fd01::1/128 }, { to: '::/0', via: fd01::1 }]
  - name: blue
    datapath: tc
    ends:
      - { interface: b0, addresses: [169.254.1.1/32, fd01::1/128], routes: [{ to: 10.0.0.3/32 }, { to: fd00::3/128 }] }
      - namespace: blue
        interface: b1
        addresses: [10.0.0.3/32, fd00::3/128]
        routes: [{ to: 169.254.1.1/32 }, { to: default, via: 169.254.1.1 }, { to: fd01::1/128 }, { to: '::/0', via: fd01::1 }]
";

pub const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Bridged,
    Routed,
}

/// By which programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Tc,
    Xdp,
}

impl By {
    pub fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

/// Makes the pods, and starts the agent that speeds them up by TC.
pub fn pods(node: &Node, shape: Shape) -> Result<Agent> {
    pods_by(node, shape, By::Tc)
}

/// Makes the pods, and starts the agent that speeds them up.
pub fn pods_by(node: &Node, shape: Shape, by: By) -> Result<Agent> {
    let said = make_pods(node, shape, by.word())?;
    ensure!(said.contains("the fast path is idle"), "{said}");
    Agent::start(node, "")
}

/// Makes the pods, with a datapath as the file names it; gives what was said.
pub fn make_pods(node: &Node, shape: Shape, datapath: &str) -> Result<String> {
    let topology = match shape {
        Shape::Bridged => BRIDGED,
        Shape::Routed => {
            run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
            ROUTED
        }
    };
    let topology = topology.replace("datapath: tc", &format!("datapath: {datapath}"));
    let file = node.file("pods.yaml", &topology)?;
    let applied = agent(&format!("apply -f {}", file.display()))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    // Until then the kernel sends from, and answers for, other addresses.
    node.eventually("duplicate address detection has ended", SOON, || {
        let tentative = |netns: &str| -> Result<bool> {
            Ok(!run(&format!("ip -n {netns} -6 addr show tentative"))?.stdout.is_empty())
        };
        Ok((!tentative("red")? && !tentative("blue")?).then_some(()))
    })?;
    Ok(applied.stderr)
}

pub fn in_red(line: &str) -> Result<()> {
    run(&format!("nsenter --net=/run/netns/red {line}"))?;
    Ok(())
}

pub fn redirected(page: &Page, near: &str) -> Result<u64> {
    redirected_by(page, near, By::Tc)
}

pub fn redirected_by(page: &Page, near: &str, by: By) -> Result<u64> {
    let labels = [("netns", "host"), ("interface", near), ("method", by.word())];
    Ok(page.value("veth_agent_redirects_total", &labels)? as u64)
}

pub fn fallbacks(page: &Page, near: &str, reason: &str) -> Result<u64> {
    let labels = [("netns", "host"), ("interface", near), ("reason", reason)];
    Ok(page.value("veth_agent_redirect_fallbacks_total", &labels)? as u64)
}

/// What the maps say of a host end; no daemon need run.
pub fn reading(interface: &str) -> Result<EndReading> {
    Ok(collect::read(&maps()?, here(interface)?))
}

/// The agent's maps.
pub fn maps() -> Result<Maps> {
    Ok(Maps::open(&Pins::at(DEFAULT_BPFFS.as_ref()), 1)?)
}

/// The identity of an end in the calling thread's namespace.
pub fn here(interface: &str) -> Result<EndId> {
    Ok(EndId { netns: netns::cookie()?, ifindex: IfIndex(if_nametoindex(interface)?) })
}

/// Waits until the agent has looked for obstacles again, which it does whenever it renews its lease.
pub fn audited(node: &Node) -> Result<()> {
    let maps = Maps::open(&Pins::at(DEFAULT_BPFFS.as_ref()), 1)?;
    let before = maps.lease.get(&0, 0)?;
    node.eventually("the lease is renewed", SOON, || {
        Ok((maps.lease.get(&0, 0)? != before).then_some(()))
    })
}

/// Waits until pings take the fast path by TC both ways.
pub fn fast(node: &Node, daemon: &Agent) -> Result<()> {
    fast_by(node, daemon, By::Tc)
}

/// Waits until pings take the fast path both ways.
pub fn fast_by(node: &Node, daemon: &Agent, by: By) -> Result<()> {
    node.eventually("the fast path is taken", SOON, || {
        let before = daemon.page()?;
        in_red("ping -q -c 2 -i 0.01 -W 2 10.0.0.3")?;
        let after = daemon.page()?;
        let new = |near| -> Result<u64> {
            let before = redirected_by(&before, near, by).unwrap_or(0);
            Ok(redirected_by(&after, near, by)?.saturating_sub(before))
        };
        match (new("r0"), new("b0")) {
            (Ok(2), Ok(2)) => Ok(Some(())),
            _ => Ok(None),
        }
    })
}
