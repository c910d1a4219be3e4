//! Builds the eBPF objects that the agent carries inside.
//!
//! The agent finds each of them at `OUT_DIR/<name of the binary>`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use aya_build::{Package, Toolchain};

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use toolchain::{DEBIAN_BPF, EbpfToolchain};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const VETH_EBPF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../veth-ebpf");

fn main() {
    if let Err(message) = build() {
        // Fails the build with this one line. A failing exit status would add the script's whole
        // output to it.
        println!("cargo::error={}", message.replace('\n', " "));
    }
}

fn build() -> Result<(), String> {
    let workspace = Path::new(WORKSPACE);
    let toolchain = EbpfToolchain::find().ok_or_else(|| missing("compiler"))?;
    let linker = linker(workspace).ok_or_else(|| missing("linker (bpf-linker)"))?;
    rerun_if_changed(workspace, &linker);
    set_environment(&linker, toolchain)?;

    let package = Package { name: "veth-ebpf", root_dir: VETH_EBPF, ..Package::default() };
    aya_build::build_ebpf([package], aya_toolchain(toolchain))
        .map_err(|error| format!("building the eBPF objects: {error:#}"))
}

fn missing(what: &str) -> String {
    format!("the eBPF {what} is missing; run `cargo xtask setup build`, which installs it")
}

/// This clone's own linker, else one that the user has installed.
fn linker(workspace: &Path) -> Option<PathBuf> {
    let own = toolchain::own_linker(workspace);
    if own.is_file() { Some(own) } else { toolchain::find_command("bpf-linker") }
}

/// `aya_build` names the folder of `veth-ebpf` itself.
fn rerun_if_changed(workspace: &Path, linker: &Path) {
    println!("cargo::rerun-if-changed={}", linker.display());
    for input in ["veth-common", "Cargo.toml", "Cargo.lock", "xtask/src/toolchain.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn set_environment(linker: &Path, toolchain: EbpfToolchain) -> Result<(), String> {
    let path = path_with(linker)?;
    // SAFETY: a build script has one thread here; `aya_build` starts its own later.
    unsafe {
        env::set_var("PATH", path);
        // Progress of the inner cargo would come out as warnings of this package.
        env::set_var("CARGO_TERM_QUIET", "true");
        if toolchain == EbpfToolchain::DebianBpf {
            // `aya-ebpf` alone needs an unstable feature, and this compiler calls itself stable.
            env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
        }
    }
    Ok(())
}

/// `PATH` with the linker's folder first.
fn path_with(linker: &Path) -> Result<OsString, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let first = linker.parent().map(Path::to_path_buf);
    env::join_paths(first.into_iter().chain(env::split_paths(&path)))
        .map_err(|error| format!("a folder on PATH cannot be used: {error}"))
}

fn aya_toolchain(toolchain: EbpfToolchain) -> Toolchain<'static> {
    match toolchain {
        EbpfToolchain::DebianBpf => Toolchain::Custom(DEBIAN_BPF),
        EbpfToolchain::Nightly => Toolchain::Nightly,
    }
}
