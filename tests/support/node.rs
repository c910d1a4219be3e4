//! A node of its own for a test.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    unistd::geteuid,
};

use crate::{agent_path, commander, patient, run};

/// A node of its own: what the calling thread and the commands that it starts see.
pub struct Node {
    init: Child,
    scratch: tempfile::TempDir,
}

/// Runs `test` on a node of its own.
///
/// # Panics
/// When the test fails, or is not run as root.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn on_node(test: impl FnOnce(&Node) -> Result<()> + Send + 'static) {
    assert!(geteuid().is_root(), "these tests make network namespaces: run them as root");
    // Found before /proc stops showing this process.
    agent_path();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let body = move || {
        let node = Node::new().context("making a node")?;
        test(&node)
    };
    let thread = thread::Builder::new().name(name).spawn(body);
    match thread.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => panic!("{error:?}"),
        Ok(Err(panicked)) => std::panic::resume_unwind(panicked),
        Err(error) => panic!("no thread: {error}"),
    }
}

impl Node {
    fn new() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        commander::install()?;
        mount_on("none", Path::new("/"), "", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        // The first process of a process namespace; with it, all others end.
        let mut init = Command::new("sh");
        init.args(["-ec", "mount -t proc proc /proc; echo up; exec sleep infinity"])
            .stdout(Stdio::piped())
            .stdin(Stdio::null());
        let mut init = commander::spawn(init)?;
        let mut line = String::new();
        let out = init.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line == "up\n", "the node's first process did not start");
        std::fs::create_dir_all("/run/netns")?;
        mount_on("tmpfs", Path::new("/run/netns"), "tmpfs", MsFlags::empty())?;
        mount_on("bpf", Path::new("/sys/fs/bpf"), "bpf", MsFlags::empty())?;
        run("ip link set lo up")?;
        Ok(Self { init, scratch })
    }

    /// A file of this test.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// The directory of this test's files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Makes a named namespace with its loopback up.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn netns(&self, name: &str) -> Result<()> {
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip -n {name} link set lo up"))?;
        Ok(())
    }

    /// Makes a named namespace without IPv6, where the kernel sends nothing by itself.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn quiet_netns(&self, name: &str) -> Result<()> {
        self.netns(name)?;
        for scope in ["all", "default"] {
            let setting = format!("net.ipv6.conf.{scope}.disable_ipv6=1");
            run(&format!("nsenter --net=/run/netns/{name} sysctl -qw {setting}"))?;
        }
        Ok(())
    }

    /// Tells two ends each other's MAC for good, so that they never ask: not at the first packet, and
    /// not again seconds later, in the midst of a count. Each is `(netns, interface, address)`, the node's
    /// own namespace being `host`.
    ///
    /// # Errors
    /// When an end is not there.
    pub fn acquaint(&self, ends: [(&str, &str, &str); 2]) -> Result<()> {
        let [one, other] = ends;
        for ((netns, interface, _), (far, end, address)) in [(one, other), (other, one)] {
            let mac = mac_text(far, end)?;
            let at = if netns == "host" { String::new() } else { format!("-n {netns} ") };
            run(&format!(
                "ip {at}neighbour replace {address} lladdr {mac} dev {interface} nud permanent"
            ))?;
        }
        Ok(())
    }

    /// Runs `work` on a thread inside a named namespace.
    ///
    /// # Errors
    /// What `work` says, or that the namespace cannot be entered.
    pub fn within<T: Send>(
        &self,
        netns: &str,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let file = std::fs::File::open(Path::new("/run/netns").join(netns))?;
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                work()
            });
            match worker.join() {
                Ok(result) => result,
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
        })
    }

    /// Waits until `condition` gives something, for `limit` at the most, or as long as [`patient`]
    /// makes of it.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn eventually<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let (started, limit) = (Instant::now(), patient(limit));
        loop {
            if let Some(found) = condition()? {
                return Ok(found);
            }
            if started.elapsed() > limit {
                bail!("not within {limit:?}: {what}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The MAC of an end in a named namespace, or on the node's `host`, as the kernel writes it.
///
/// # Errors
/// When it is not there.
pub fn mac_text(netns: &str, interface: &str) -> Result<String> {
    let at = if netns == "host" { String::new() } else { format!("-n {netns} ") };
    let shown = run(&format!("ip {at}-br link show dev {interface}"))?.stdout;
    Ok(shown.split_whitespace().nth(2).context("no MAC")?.to_owned())
}

/// The same in bytes.
///
/// # Errors
/// As [`mac_text`].
pub fn mac(netns: &str, interface: &str) -> Result<[u8; 6]> {
    let text = mac_text(netns, interface)?;
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    octets.try_into().map_err(|_| anyhow::anyhow!("{text} is no MAC"))
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
        commander::uninstall();
    }
}

fn mount_on(source: &str, target: &Path, kind: &str, flags: MsFlags) -> Result<()> {
    mount(Some(source), target, Some(kind), flags, None::<&str>)
        .with_context(|| format!("mounting {kind} on {}", target.display()))
}
