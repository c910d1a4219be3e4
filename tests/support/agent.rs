//! The real binary.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Node, Output, Page, command::collect, commander, patient, refused::refuse_tracing};

/// The binary under test: `VETH_AGENT`, else the one that cargo built beside the tests.
///
/// # Panics
/// When there is none.
pub fn agent_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let beside = || {
            let exe = std::env::current_exe().ok()?;
            Some(exe.parent()?.parent()?.join("veth-agent"))
        };
        let path = std::env::var_os("VETH_AGENT").map(PathBuf::from).or_else(beside);
        let path = path.filter(|path| path.exists());
        assert!(path.is_some(), "no veth-agent to test; run the tests with `cargo xtask test`");
        path.unwrap_or_default()
    })
}

/// Runs the agent with arguments, split at spaces.
///
/// # Errors
/// When it cannot be started.
pub fn agent(arguments: &str) -> Result<Output> {
    collect(command(arguments))
}

/// The same where the kernel refuses tracing.
///
/// # Errors
/// As [`agent`].
pub fn agent_untraced(arguments: &str) -> Result<Output> {
    let mut command = command(arguments);
    refuse_tracing(&mut command);
    collect(command)
}

fn command(arguments: &str) -> Command {
    let mut command = Command::new(agent_path());
    command.args(arguments.split_whitespace());
    command
}

/// A running daemon.
pub struct Agent {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Agent {
    /// Starts `veth-agent run` on a free port and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start or does not become ready.
    pub fn start(node: &Node, arguments: &str) -> Result<Self> {
        Self::begin(node, command(&format!("run --listen 127.0.0.1:0 {arguments}")))
    }

    /// The same where the kernel refuses tracing.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_untraced(node: &Node) -> Result<Self> {
        let mut command = command("run --listen 127.0.0.1:0");
        refuse_tracing(&mut command);
        Self::begin(node, command)
    }

    fn begin(node: &Node, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = commander::spawn(command)?;
        let stderr = child.stderr.take().context("no stderr")?;
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut agent = Self { child, address: String::new(), said };
        agent.address = node.eventually("the agent serves", Duration::from_secs(20), || {
            let said = agent.said();
            let address = said.split("serving http://").nth(1);
            let address = address.and_then(|rest| Some(rest.split_once("/metrics")?.0.to_owned()));
            if address.is_none()
                && let Some(status) = agent.child.try_wait()?
            {
                bail!("the agent ended with {status}: {said}");
            }
            Ok(address)
        })?;
        node.eventually("the agent is ready", Duration::from_secs(60), || {
            Ok((agent.get("/readyz")?.0 == 200).then_some(()))
        })?;
        Ok(agent)
    }

    /// All that it has said on stderr.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process, as this test's process sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a path: status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patient(Duration::from_secs(10))))
            .build()
            .into();
        let mut answer = agent.get(format!("http://{}{path}", self.address)).call()?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    /// Its metrics.
    ///
    /// # Errors
    /// When it does not answer, or the page cannot be read.
    pub fn page(&self) -> Result<Page> {
        let (status, body) = self.get("/metrics")?;
        ensure!(status == 200, "{status}: {body}");
        Page::parse(&body)
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time, or not with status 0.
    pub fn stop(mut self, node: &Node, signal: Signal) -> Result<String> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        let status = node.eventually("the agent stops", Duration::from_secs(10), || {
            Ok(self.child.try_wait()?)
        })?;
        ensure!(status.success(), "{status}: {}", self.said());
        Ok(self.said())
    }

    /// Stops a daemon and starts the next.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub fn start_again(node: &Node, old: Self, signal: Signal) -> Result<Self> {
        old.stop(node, signal)?;
        Self::start(node, "")
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
