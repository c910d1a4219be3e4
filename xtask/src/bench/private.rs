//! A private copy of what a benchmark touches: network, mounts and processes. Whatever happens
//! inside ends with its first process, so nothing can be left behind.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    process,
    setup::{self, Group},
    workspace,
};

/// Where a process finds that it is inside already.
const INSIDE: &str = "VETH_AGENT_BENCH_PRIVATE";

/// Goes inside, with all that the groups need installed and, where no `agent` is named, one built: what
/// returns from here with success is the first process inside, which has `--agent` and what `more` made.
pub fn go_inside(
    bench: &str,
    groups: &[Group],
    agent: Option<&Path>,
    more: impl FnOnce() -> Result<Vec<OsString>>,
) -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return prepare();
    }
    if !process::is_root() {
        bail!(
            r#"the benchmark needs root: run sudo -E env "PATH=$PATH" cargo xtask bench {bench}"#
        );
    }
    setup::install(groups)?;
    let mut more = more()?;
    if agent.is_none() {
        more.extend(["--agent".into(), workspace::build_agent()?.into()]);
    }
    enter(&more)
}

/// Nothing more to take inside.
pub fn nothing() -> Result<Vec<OsString>> {
    Ok(Vec::new())
}

/// Replaces this process by the same one inside; `more` is added to its arguments. Returns only an
/// error.
fn enter(more: &[OsString]) -> Result<()> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(env::current_exe().context("own path")?).args(env::args_os().skip(1)).args(more);
    Err(unshare.env(INSIDE, "1").exec()).context("cannot run unshare")
}

/// Makes the inside usable: loopback, an empty folder of namespaces, an empty bpffs.
fn prepare() -> Result<()> {
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
