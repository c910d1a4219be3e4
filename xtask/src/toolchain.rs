//! Which compiler and linker build the eBPF objects, found by looking at what is there.
//!
//! `veth-agent/build.rs` includes this file too, so that `cargo xtask setup` and a plain
//! `cargo build` never disagree. It therefore needs nothing but `std`.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The name under which rustup knows Debian's own compiler, which ships a ready-made `core` for
/// BPF.
pub const DEBIAN_BPF: &str = "debian-bpf";

/// The name of the toolchain that compiles `core` for BPF from source.
pub const NIGHTLY: &str = "nightly";

/// A compiler that can build the eBPF objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EbpfToolchain {
    /// Debian's compiler, linked into rustup as [`DEBIAN_BPF`].
    DebianBpf,
    /// rustup's nightly with the component `rust-src`.
    Nightly,
}

impl EbpfToolchain {
    /// The first toolchain that is installed and complete.
    pub fn find() -> Option<Self> {
        [Self::DebianBpf, Self::Nightly].into_iter().find(|toolchain| toolchain.is_complete())
    }

    /// The name to hand to `rustup run`.
    pub fn name(self) -> &'static str {
        match self {
            Self::DebianBpf => DEBIAN_BPF,
            Self::Nightly => NIGHTLY,
        }
    }

    /// The first line on standard output of `rustc ARG`, run with this toolchain.
    pub fn rustc(self, arg: &[&str]) -> Option<String> {
        let output = Command::new("rustup")
            .args(["run", self.name(), "rustc"])
            .args(arg)
            .env("RUSTUP_AUTO_INSTALL", "0")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    }

    fn is_complete(self) -> bool {
        let Some(sysroot) = self.rustc(&["--print", "sysroot"]) else { return false };
        let rustlib = Path::new(&sysroot).join("lib/rustlib");
        match self {
            Self::DebianBpf => rustlib.join(bpf_target()).join("lib").is_dir(),
            Self::Nightly => rustlib.join("src/rust/library").is_dir(),
        }
    }
}

/// The BPF target with this machine's byte order.
pub fn bpf_target() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// Where `cargo xtask setup` puts this clone's own tools.
///
/// Always below `target/`, wherever `CARGO_TARGET_DIR` points, so that every build finds them.
pub fn tool_root(workspace: &Path) -> PathBuf {
    workspace.join("target/bpf-toolchain")
}

/// This clone's own `bpf-linker`, there or not.
pub fn own_linker(workspace: &Path) -> PathBuf {
    tool_root(workspace).join("bin/bpf-linker")
}

/// The places where commands are looked for: `PATH`, and the administrator's folders, which an
/// ordinary user's `PATH` leaves out on Debian.
pub fn command_dirs() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into))
        .collect()
}

/// The file that `command` would run.
pub fn find_command(command: &str) -> Option<PathBuf> {
    command_dirs().into_iter().map(|dir| dir.join(command)).find(|file| file.is_file())
}
