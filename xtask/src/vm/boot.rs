//! Boots a machine and listens to its events.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use veth_vm::Event;

use super::{TEST_LIMIT, image, kernel::Kernel, report::KernelReport};

/// Processors of a machine.
pub const CPUS: usize = 2;

/// How long a machine may say nothing: a test at its limit, and the boot.
const SILENCE: Duration = Duration::from_secs(TEST_LIMIT + 60);

/// How long a machine may run.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// How much of the console is shown after a hang or a panic.
const TAIL_LINES: usize = 40;

/// What is booted.
pub struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
    console: PathBuf,
}

impl Machine {
    /// Fetches the kernel and packs what it boots into.
    ///
    /// # Errors
    /// When the kernel cannot be had.
    pub fn prepare(kernel: &Kernel, folder: &Path, userland: &Path) -> Result<Self> {
        let unpacked = kernel.fetch(folder)?;
        let initramfs = image::with_modules(folder, kernel, &unpacked, userland)?;
        let console = folder.join(format!("console-{}.log", kernel.name));
        Ok(Self { kernel: unpacked.image(), initramfs, console })
    }
}

/// Boots the machine and puts what happens into `report`.
///
/// # Errors
/// When the machine does not come to the end of its job, with the console's last lines.
pub fn boot(machine: &Machine, report: &mut KernelReport) -> Result<()> {
    let started = Instant::now();
    let mut emulator = command(machine).spawn().context("qemu-system-x86_64")?;
    let events = listen(emulator.stdout.take().context("the emulator has no output")?);
    let mut finished = false;
    let outcome = loop {
        match events.recv_timeout(SILENCE.min(LIMIT.saturating_sub(started.elapsed()))) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(event) => {
                    finished |= event == Event::Finished;
                    report.add(event, started.elapsed());
                }
                Err(error) => break Err(format!("an event that cannot be read ({error}): {line}")),
            },
            Err(RecvTimeoutError::Disconnected) if finished => break Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                break Err("the machine ended before its job did".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {
                break Err(format!("hung: no event for {} s", SILENCE.as_secs()));
            }
        }
    };
    // It has ended by itself, or it never will.
    let _ = emulator.kill();
    emulator.wait()?;
    match outcome {
        Ok(()) => Ok(()),
        Err(why) => {
            bail!("{why}; the end of {}:\n{}", machine.console.display(), tail(&machine.console))
        }
    }
}

fn command(machine: &Machine) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    // KVM is not dependable inside other virtual machines. One thread for all processors: with
    // several, one of them may run code that another has just patched, and the kernel dies of its
    // own breakpoint (seen in `netif_rx_internal`, when a static key was switched).
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-m", "4096"]);
    command.args(["-smp", &CPUS.to_string()]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(&machine.kernel).arg("-initrd").arg(&machine.initramfs);
    // Without `fb_tunnels`, each namespace that comes after the first tunnel has links of its own kind.
    let words = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off fb_tunnels=none";
    command.args(["-append", words]);
    command
        .arg("-serial")
        .arg(format!("file:{}", machine.console.display()))
        .args(["-serial", "stdio"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Lines as they come; the channel closes when the machine ends.
fn listen(out: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
