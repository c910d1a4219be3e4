//! Processes that run beside a test.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{Node, commander};

/// A process that ends with this value.
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts a command line, split at spaces.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().context("an empty command line")?);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: commander::spawn(command)? })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network namespace without a name. It lives as long as this value, which holds its only
/// process.
pub struct Unnamed {
    _process: Background,
    pid: u32,
    inode: u64,
}

impl Unnamed {
    /// Its process, as commands on the node see it.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What metrics call it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("net:[{}]", self.inode)
    }
}

impl Node {
    /// Makes a namespace without a name, with its loopback up.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn unnamed(&self) -> Result<Unnamed> {
        let script =
            "ip link set lo up; echo $$; stat -Lc %i /proc/self/ns/net; exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-ec", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = commander::spawn(command)?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let process = Background { child };
        let mut number = || -> Result<u64> {
            Ok(lines.next().context("the namespace's process ended")??.parse()?)
        };
        let (pid, inode) = (u32::try_from(number()?)?, number()?);
        Ok(Unnamed { _process: process, pid, inode })
    }
}
