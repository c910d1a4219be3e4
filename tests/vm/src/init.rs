//! The first process of a test machine: mounts what a node has, does the job, tells the events on a
//! serial port and ends the machine.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, mount},
    process::{WaitOptions, wait},
    system::{RebootCommand, reboot, uname},
    termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr},
};
use veth_vm::{EVENT_PORT, Event, JOB_FILE, Job};

const MOUNTS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
];

/// What taps are made by.
const TUN: (&str, u32, u32) = ("/dev/net/tun", 10, 200);

/// Where the kernel is told not to give every namespace a GRE and an IPIP device of its own as soon as it has
/// the modules, as many nodes have it (`net.core.fb_tunnels_only_for_init_net`).
const FALLBACK_TUNNELS: &str = "/proc/sys/net/core/fb_tunnels_only_for_init_net";

/// The kernel starts this program as process 1, which has to outlive all others and to take in
/// their remains; the work is done by a second process.
fn main() {
    let outcome = if std::process::id() == 1 { oversee() } else { work() };
    if let Err(error) = outcome {
        eprintln!("vm-init: {error:#}");
    }
    if std::process::id() == 1 {
        // The emulator ends instead of starting again.
        let _ = reboot(RebootCommand::Restart);
    }
}

/// Makes a device whose module the kernel asks for when somebody opens it, as `kmod static-nodes` has it made elsewhere.
fn static_node((path, major, minor): (&'static str, u32, u32)) -> Result<()> {
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder)?;
    }
    let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
    mknodat(CWD, path, kind, mode, makedev(major, minor)).context(path)
}

fn oversee() -> Result<()> {
    for (kind, target) in MOUNTS {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("mounting {kind} on {target}"))?;
    }
    static_node(TUN)?;
    fs::write(FALLBACK_TUNNELS, "2").context(FALLBACK_TUNNELS)?;
    let worker = Command::new("/init").spawn().context("starting the worker")?;
    let worker = i32::try_from(worker.id())?;
    while let Some((pid, _)) = wait(WaitOptions::empty())? {
        if pid.as_raw_nonzero().get() == worker {
            break;
        }
    }
    Ok(())
}

fn work() -> Result<()> {
    let mut port = Port::open()?;
    if let Err(error) = do_job(&mut port) {
        port.tell(&Event::Broken { why: format!("{error:#}") })?;
    }
    port.drain()
}

fn do_job(port: &mut Port) -> Result<()> {
    let job: Job = serde_json::from_slice(&fs::read(JOB_FILE)?)?;
    let mut up = Command::new("ip");
    up.args(["link", "set", "lo", "up"]).envs(&job.environment);
    let status = up.status().with_context(|| format!("{up:?}"))?;
    ensure!(status.success(), "{up:?}: {status}");
    let kernel = uname();
    let kernel = kernel.release().to_string_lossy();
    veth_vm::run(&job, &kernel, Path::new("/run/job"), |event| port.tell(event))
}

/// Where the events leave.
struct Port(File);

impl Port {
    /// A serial port rewrites line ends unless it is told not to.
    fn open() -> Result<Self> {
        let port = OpenOptions::new().write(true).open(EVENT_PORT);
        let port = port.with_context(|| EVENT_PORT.to_owned())?;
        let mut settings = tcgetattr(&port)?;
        settings.make_raw();
        tcsetattr(&port, OptionalActions::Now, &settings)?;
        Ok(Self(port))
    }

    fn tell(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line).context("telling an event")
    }

    fn drain(&self) -> Result<()> {
        Ok(tcdrain(&self.0)?)
    }
}
