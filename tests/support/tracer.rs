//! `veth-agent trace` beside a test.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{Node, agent_path, commander};

/// A trace that runs.
pub struct Tracer {
    child: Ended,
    out: JoinHandle<Vec<u8>>,
    said: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
}

/// A process that ends with this value: one that nobody waits for would keep the node from ending.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A trace that has ended.
#[derive(Debug)]
pub struct Traced {
    /// Exit status.
    pub code: i32,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it said.
    pub said: String,
}

/// The last line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Came by.
    pub seen: u64,
    /// Of those, the filter let through.
    pub matched: u64,
    /// Of those, were printed.
    pub printed: u64,
    /// Found no room.
    pub lost: u64,
}

const SOON: Duration = Duration::from_secs(20);

impl Tracer {
    /// Starts it with arguments, split at spaces, and waits until it is attached.
    ///
    /// # Errors
    /// When it ends before.
    pub fn start(node: &Node, arguments: &str) -> Result<Self> {
        let mut command = Command::new(agent_path());
        command.arg("trace").args(arguments.split_whitespace());
        Self::spawn(node, command)
    }

    /// Starts a command that is, or becomes, a trace.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn spawn(node: &Node, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Ended(commander::spawn(command)?);
        let mut out = child.0.stdout.take().context("no output")?;
        let out = thread::spawn(move || {
            let mut all = Vec::new();
            let _ = out.read_to_end(&mut all);
            all
        });
        let said = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.0.stderr.take().context("no stderr")?).lines();
        let heard = Arc::clone(&said);
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) += &(line + "\n");
            }
        });
        let mut tracer = Self { child, out, said, listener };
        node.eventually("a trace that is attached", SOON, || {
            let attached = tracer.said().contains("attached ");
            Ok((attached || tracer.listener.is_finished()).then_some(()))
        })?;
        if tracer.said().contains("attached ") {
            return Ok(tracer);
        }
        // Its standard error has been closed: all that it had to say is there.
        tracer.child.0.wait()?;
        bail!("it has ended: {}", tracer.said())
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.0.id().cast_signed()), signal)?)
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.0.try_wait()?.is_some())
    }

    /// Ends it by a signal.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self, node: &Node, signal: Signal) -> Result<Traced> {
        self.signal(signal)?;
        self.end(node)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not.
    pub fn end(mut self, node: &Node) -> Result<Traced> {
        let ended = || Ok(self.child.0.try_wait()?);
        let status = node.eventually("the end of a trace", SOON, ended)?;
        let Ok(out) = self.out.join() else { bail!("no output") };
        ensure!(self.listener.join().is_ok(), "no stderr");
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Traced { code: status.code().unwrap_or(-1), out, said })
    }
}

impl Traced {
    /// What it printed, as objects.
    ///
    /// # Errors
    /// When that is not what it printed.
    pub fn json(&self) -> Result<Vec<Value>> {
        let lines = std::str::from_utf8(&self.out)?.lines();
        lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Its last line.
    ///
    /// # Errors
    /// When there is none.
    pub fn totals(&self) -> Result<Totals> {
        let line = self.said.lines().find(|line| line.contains("seen "));
        let line = line.with_context(|| format!("no totals: {}", self.said))?;
        let number = |name: &str| -> Result<u64> {
            let (_, rest) = line.split_once(name).with_context(|| line.to_owned())?;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Ok(digits.parse()?)
        };
        Ok(Totals {
            seen: number("seen ")?,
            matched: number("matched ")?,
            printed: number("printed ")?,
            lost: number("lost ")?,
        })
    }
}
