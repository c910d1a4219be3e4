//! A tool that looks on while packets pass.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::process;

/// How long one may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks whether it has ended.
const MOMENT: Duration = Duration::from_millis(1);

/// A tool that runs. Dropping it kills it.
pub struct Onlooker {
    child: Child,
    stderr: BufReader<ChildStderr>,
    shown: String,
    said: String,
}

impl Onlooker {
    /// Starts it and waits until it has said `ready`. What it prints is thrown away.
    pub fn start(mut command: Command, ready: &str) -> Result<Self> {
        let shown = process::display(&command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| shown.clone())?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut onlooker = Self { child, stderr, shown, said: String::new() };
        while !onlooker.said.lines().next_back().is_some_and(|line| line.contains(ready)) {
            if onlooker.stderr.read_line(&mut onlooker.said)? == 0 {
                bail!("{} ended:\n{}", onlooker.shown, onlooker.said);
            }
        }
        Ok(onlooker)
    }

    /// Time that a CPU has given it so far.
    pub fn taken(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
            // Documentation/scheduler/sched-stats.rst: time on the CPU in ns, then others.
            let taken = stat.split(' ').next().and_then(|taken| taken.parse().ok());
            sum += Duration::from_nanos(taken.context("schedstat")?);
        }
        Ok(sum)
    }

    /// Asks it to end, checks that it does, with success, and gives what it said.
    pub fn stop(mut self) -> Result<String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no pid")?;
        kill_process(pid, Signal::INT).with_context(|| self.shown.clone())?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("{} ignores SIGINT", self.shown);
            }
            thread::sleep(MOMENT);
        };
        self.stderr.read_to_string(&mut self.said)?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.shown, self.said);
        }
        Ok(std::mem::take(&mut self.said))
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill, and both calls fail harmlessly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
