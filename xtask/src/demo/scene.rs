//! What the demo builds, and takes down again.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Daemon},
    scrape::Client,
};

/// Where the agent pins what must outlive it.
const PINS: &str = "/sys/fs/bpf/veth-agent";

/// Names that nobody else is likely to use.
const TOPOLOGY: &str = "\
namespaces:
  - name: va-demo-orange
  - name: va-demo-green
pairs:
  - name: va-demo
    ends:
      - { namespace: va-demo-orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: va-demo-green,  interface: tap2, addresses: [192.168.1.3/24] }
";

/// The topology, as people draw it.
pub const PICTURE: &str = "
  +- va-demo-orange ---+                    +- va-demo-green ----+
  |  192.168.1.2  tap1 +--------------------+ tap2  192.168.1.3  |
  +--------------------+                    +--------------------+
";

/// One end of the demo's pair.
pub struct End {
    /// The namespace's name.
    pub netns: &'static str,
    /// The interface's name.
    pub interface: &'static str,
    /// The address, without prefix.
    pub address: &'static str,
}

/// Both ends, as in the topology.
pub const ENDS: [End; 2] = [
    End { netns: "va-demo-orange", interface: "tap1", address: "192.168.1.2" },
    End { netns: "va-demo-green", interface: "tap2", address: "192.168.1.3" },
];

/// The pair, the daemon, and what to do about them at the end. Dropping it removes them.
pub struct Scene {
    agent: Agent,
    folder: TempDir,
    daemon: Option<Daemon>,
    /// Somebody else's pins were there before us: the agent is in use on this machine.
    in_use: bool,
    removed: bool,
}

impl Scene {
    /// Looks whether there is room for the scene. Touches nothing yet.
    pub fn prepare(agent: Agent) -> Result<Self> {
        if let Some(end) = ENDS.iter().find(|end| netns_file(end).exists()) {
            bail!("namespace \"{0}\" exists already; remove it: ip netns delete {0}", end.netns);
        }
        let folder = TempDir::with_prefix("veth-agent-demo-").context("temporary folder")?;
        fs::write(folder.path().join("topology.yaml"), TOPOLOGY).context("topology file")?;
        Ok(Self { agent, folder, daemon: None, in_use: has_pins(), removed: false })
    }

    /// `veth-agent apply`.
    pub fn build(&self) -> Result<()> {
        self.agent.with_file("apply", &self.topology()).map(drop)
    }

    /// `veth-agent run`, ready; gives up when `go_on` is an error.
    pub fn start_daemon(&mut self, go_on: impl Fn() -> Result<()>) -> Result<&Daemon> {
        let daemon = self.agent.start(self.folder.path(), go_on)?;
        Ok(self.daemon.insert(daemon))
    }

    /// The daemon's HTTP side.
    pub fn client(&self) -> Result<&Client> {
        self.daemon.as_ref().map(Daemon::client).context("veth-agent run was not started")
    }

    /// Stops the daemon and takes everything down. Goes on after a failure.
    pub fn remove(mut self) -> Result<()> {
        self.take_down()
    }

    fn topology(&self) -> std::path::PathBuf {
        self.folder.path().join("topology.yaml")
    }

    fn take_down(&mut self) -> Result<()> {
        self.removed = true;
        let stopped = self.daemon.take().map_or(Ok(()), Daemon::stop);
        let deleted = self.agent.with_file("delete", &self.topology()).map(drop);
        let detached = self.detach();
        stopped.and(deleted).and(detached).and_then(|()| self.nothing_left())
    }

    /// The daemon attaches to every end on the node. Unless the agent was in use before, all of
    /// that goes again.
    fn detach(&self) -> Result<()> {
        if self.in_use {
            println!("detach   left out: veth-agent was in use on this machine before the demo");
            return Ok(());
        }
        self.agent.call(&["detach", "--all"]).map(drop)
    }

    fn nothing_left(&self) -> Result<()> {
        if let Some(end) = ENDS.iter().find(|end| netns_file(end).exists()) {
            bail!("namespace \"{}\" is still there", end.netns);
        }
        if !self.in_use && has_pins() {
            bail!("{PINS} still has pins");
        }
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = self.take_down()
        {
            eprintln!("demo: cleaning up: {error:#}");
        }
    }
}

fn netns_file(end: &End) -> std::path::PathBuf {
    Path::new("/run/netns").join(end.netns)
}

/// Whether there is a pin, at any depth.
fn has_pins() -> bool {
    fn any_file(folder: &Path) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        entries.flatten().map(|entry| entry.path()).any(|path| !path.is_dir() || any_file(&path))
    }
    any_file(Path::new(PINS))
}
