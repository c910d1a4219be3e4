//! The compiler of the eBPF objects.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{
    apt::{Apt, Package},
    say,
};
use crate::{
    process,
    toolchain::{DEBIAN_BPF, EbpfToolchain, NIGHTLY, find_command},
    workspace,
};

/// Debian's own compiler, with a ready-made `core` for BPF: no nightly and no `rust-src` needed.
const DEBIAN: &[Package] = &[
    Package { name: "rustc-web", why: "a Rust compiler that knows BPF without nightly" },
    Package { name: "cargo-web", why: "the cargo that goes with rustc-web" },
    Package { name: "libstd-rust-web-dev-bpf", why: "Rust's core library for BPF" },
    Package { name: "llvm-22-dev", why: "the LLVM that bpf-linker links against" },
];

/// Packages that rustc-web would push off the machine.
const RIVALS: &[&str] = &["rustc", "cargo", "rustup"];

/// Returns a complete toolchain, after installing one if there is none.
pub fn install(apt: Option<&Apt>) -> Result<EbpfToolchain> {
    if find_command("rustup").is_none() {
        bail!("rustup is missing: install it from https://rustup.rs, then run this again");
    }
    if let Some(toolchain) = EbpfToolchain::find() {
        return Ok(toolchain);
    }
    match apt {
        Some(apt) if suits(apt)? => install_debian(apt)?,
        _ => install_nightly()?,
    }
    EbpfToolchain::find().context("the eBPF compiler was installed, and yet cannot be used")
}

/// Whether Debian's compiler can be installed without removing another.
fn suits(apt: &Apt) -> Result<bool> {
    let installed = DEBIAN.iter().all(|package| apt.has(package.name));
    Ok(installed || !RIVALS.iter().any(|rival| apt.has(rival)) && apt.offers(DEBIAN)?)
}

fn install_debian(apt: &Apt) -> Result<()> {
    let missing: Vec<_> = DEBIAN.iter().filter(|package| !apt.has(package.name)).copied().collect();
    if !missing.is_empty() {
        apt.install(&missing)?;
    }
    say(&format!("naming Debian's compiler {DEBIAN_BPF} in rustup (for build scripts to find it)"));
    process::run(Command::new("rustup").args(["toolchain", "link", DEBIAN_BPF, "/usr"]))
}

fn install_nightly() -> Result<()> {
    say("installing the nightly toolchain with rust-src (to compile Rust's core library for BPF)");
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    process::run(install.args(["--component", "rust-src"]))
}

/// Adds rustfmt and clippy, which a minimal rustup profile lacks.
pub fn install_lints() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let mut version = workspace::cargo();
        version.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        if process::run(&mut version).is_err() {
            say(&format!("adding {component} to the active toolchain (the tests run it)"));
            process::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}
