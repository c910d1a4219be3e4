//! Frames at an interface, as tcpdump sees them.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{commander, patient};

/// A capture that runs for as long as it lives.
pub struct Capture {
    child: Child,
    frames: Receiver<Vec<u8>>,
}

/// `struct pcap_file_header` and `struct pcap_sf_pkthdr`, in the machine's own byte order.
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

impl Capture {
    /// Begins to capture what arrives at an interface of a named namespace.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(netns: &str, interface: &str) -> Result<Self> {
        Self::of(netns, interface, "in")
    }

    /// The same for what leaves by it.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn leaving(netns: &str, interface: &str) -> Result<Self> {
        Self::of(netns, interface, "out")
    }

    fn of(netns: &str, interface: &str, direction: &str) -> Result<Self> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{netns}"))
            .args(["tcpdump", "-Z", "root", "-i", interface, "-Q", direction])
            .args(["-U", "--immediate-mode"])
            // Every slot of its ring has room for a whole frame: a few hundred of them.
            .args(["-s", "32768", "-B", "16384", "-w", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = commander::spawn(command)?;
        let said = BufReader::new(child.stderr.take().context("no stderr")?);
        let written = child.stdout.take().context("no output")?;
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || read(written, &sender));
        let mut lines = said.lines().map_while(Result::ok);
        ensure!(lines.any(|line| line.contains("listening on")), "tcpdump does not listen");
        // Nobody else reads what it says, and a full pipe would stop it.
        thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, frames })
    }

    /// The frames up to the first one that is `last`, without it.
    ///
    /// # Errors
    /// When it does not come within `limit`, or as long as [`patient`] makes of it.
    pub fn until(&self, last: impl Fn(&[u8]) -> bool, limit: Duration) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frames.recv_timeout(patient(limit)).context("the last frame")?;
            if last(&frame) {
                return Ok(frames);
            }
            frames.push(frame);
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands on every frame, until tcpdump ends or nobody listens.
fn read(mut from: impl Read, to: &Sender<Vec<u8>>) -> Option<()> {
    from.read_exact(&mut [0; FILE_HEADER]).ok()?;
    loop {
        let mut header = [0; FRAME_HEADER];
        from.read_exact(&mut header).ok()?;
        let captured = u32::from_ne_bytes(*header[8..].first_chunk()?);
        let mut frame = vec![0; captured as usize];
        from.read_exact(&mut frame).ok()?;
        to.send(frame).ok()?;
    }
}
