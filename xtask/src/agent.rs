//! The agent's binary, run as its users run it.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{process, scrape::Client};

/// How long `run` may take to get ready, and to stop. Attaching to thousands of ends takes its time.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks at something that is waited for.
const MOMENT: Duration = Duration::from_millis(1);

/// The agent's binary.
#[derive(Clone, Debug)]
pub struct Agent {
    binary: PathBuf,
}

impl Agent {
    /// The agent at `binary`.
    pub fn new(binary: PathBuf) -> Self {
        Self { binary }
    }

    /// A command of the agent's, without arguments.
    pub fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// Runs a subcommand to its end and returns what it printed.
    pub fn call(&self, args: &[&str]) -> Result<String> {
        process::read(Command::new(&self.binary).args(args))
    }

    /// Runs a subcommand, with options behind it, on a topology file.
    pub fn with_file(&self, subcommand: &[&str], file: &Path) -> Result<String> {
        process::read(Command::new(&self.binary).args(subcommand).arg("-f").arg(file))
    }

    /// Starts `run` with `options` on a free port, with its log in `folder`, and waits until it is
    /// ready, or until `go_on` is an error.
    pub fn start(
        &self,
        options: &[&str],
        folder: &Path,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<Daemon> {
        let address = free_address()?;
        let log = folder.join("run.log");
        let file = fs::File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = Command::new(&self.binary);
        command.args(["run", "--listen", &address]).args(options);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Ctrl-C is for us: we stop the daemon when its turn comes.
        command.process_group(0);
        let start = Instant::now();
        let child = command.spawn().with_context(|| process::display(&command))?;
        let mut daemon =
            Daemon { child, client: Client::new(&address), log, ready: Duration::ZERO };
        daemon.wait_until_ready(start, go_on)?;
        Ok(daemon)
    }
}

/// A running `veth-agent run`. Dropping it kills it.
pub struct Daemon {
    child: Child,
    client: Client,
    log: PathBuf,
    ready: Duration,
}

impl Daemon {
    /// From the start of the process until `/readyz` said yes.
    pub fn ready_after(&self) -> Duration {
        self.ready
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its HTTP side.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop and checks that it does, with success.
    pub fn stop(mut self) -> Result<()> {
        kill_process(self.process()?, Signal::TERM).context("SIGTERM to veth-agent run")?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return self.stopped(status);
            }
            thread::sleep(MOMENT);
        }
        bail!("veth-agent run ignores SIGTERM; its log:\n{}", self.log())
    }

    fn process(&self) -> Result<Pid> {
        let raw = i32::try_from(self.child.id()).ok();
        raw.and_then(Pid::from_raw).context("veth-agent run has no pid")
    }

    fn stopped(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("veth-agent run ended with {status}; its log:\n{}", self.log());
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, start: Instant, go_on: impl Fn() -> Result<()>) -> Result<()> {
        while start.elapsed() < PATIENCE {
            go_on()?;
            if self.client.get("/readyz").is_ok() {
                self.ready = start.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("veth-agent run ended with {status}; its log:\n{}", self.log());
            }
            thread::sleep(MOMENT);
        }
        bail!("veth-agent run is not ready after {PATIENCE:?}; its log:\n{}", self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill, and both calls fail harmlessly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address whose port was free a moment ago.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.to_string())
}
