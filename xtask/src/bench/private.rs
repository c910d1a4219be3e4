//! A private copy of what a benchmark touches: network, mounts and processes. Whatever happens
//! inside ends with its first process, so nothing can be left behind.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    process::Command,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::process;

/// Where a process finds that it is inside already.
const INSIDE: &str = "VETH_AGENT_BENCH_PRIVATE";

/// Whether this process is the first one inside.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Replaces this process by the same one inside; `more` is added to its arguments. Returns only an
/// error.
pub fn enter(more: &[&std::ffi::OsStr]) -> Result<()> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(env::current_exe().context("own path")?).args(env::args_os().skip(1)).args(more);
    Err(unshare.env(INSIDE, "1").exec()).context("cannot run unshare")
}

/// Makes the inside usable: loopback, an empty folder of namespaces, an empty bpffs.
pub fn prepare() -> Result<()> {
    end_on_signals()?;
    mount("tmpfs", "/run/netns")?;
    mount("bpf", "/sys/fs/bpf")?;
    process::read(Command::new("ip").args(["link", "set", "lo", "up"])).map(drop)
}

/// The first process of a PID namespace ignores signals that it does not handle.
fn end_on_signals() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 1, always)
            .context("signal handler")?;
    }
    Ok(())
}

fn mount(kind: &str, folder: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    process::read(Command::new("mount").args(["-t", kind, kind, folder])).map(drop)
}
