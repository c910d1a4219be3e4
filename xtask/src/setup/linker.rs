//! `bpf-linker`, which turns LLVM bitcode into BPF objects. Every clone has its own below `target/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    apt::{Apt, Package},
    say,
};
use crate::{
    process,
    toolchain::{self, EbpfToolchain, find_command},
    workspace,
};

/// The release this project is tested with.
const VERSION: &str = "0.13.0";

/// Where Debian keeps the LLVM of its Rust compiler. Without being told, bpf-linker's build takes
/// the wrong library folder.
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

const CXX: Package = Package { name: "g++", why: "the C++ library that LLVM needs in a link" };
const CURL: Package = Package { name: "curl", why: "to fetch bpf-linker" };
const ZSTD: Package = Package { name: "zstd", why: "to unpack bpf-linker" };

/// Installs a linker that fits `toolchain`, if this clone has none.
pub fn install(toolchain: EbpfToolchain, apt: Option<&Apt>) -> Result<()> {
    let own = toolchain::own_linker(workspace::root());
    if fits(&own, toolchain) {
        return Ok(());
    }
    if let Some(other) = elsewhere().into_iter().find(|file| fits(file, toolchain)) {
        copy(&other, &own)?;
    } else {
        match toolchain {
            EbpfToolchain::DebianBpf => compile_with_debian_llvm(apt)?,
            EbpfToolchain::Nightly => fetch(&own, apt)?,
        }
    }
    if !fits(&own, toolchain) {
        bail!("bpf-linker was installed, and yet cannot link what {} compiles", toolchain.name());
    }
    Ok(())
}

/// Linkers that the user may have.
fn elsewhere() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    home.map(|home| home.join("bin/bpf-linker"))
        .into_iter()
        .chain(find_command("bpf-linker"))
        .collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    say(&format!("copying {} (the bpf-linker that this machine has)", from.display()));
    prepare_folder(to)?;
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn compile_with_debian_llvm(apt: Option<&Apt>) -> Result<()> {
    need(&[("c++", CXX)], apt)?;
    say(&format!("compiling bpf-linker {VERSION} (links eBPF objects; takes a minute)"));
    let mut install = cargo_install();
    install.args(["--no-default-features", "--features", "llvm-22"]);
    process::run(install.env("LLVM_PREFIX", DEBIAN_LLVM))
}

/// The released binary brings its own LLVM. Only where there is none for this machine it is
/// compiled, against an LLVM that the user must have.
fn fetch(own: &Path, apt: Option<&Apt>) -> Result<()> {
    need(&[("curl", CURL), ("zstd", ZSTD)], apt)?;
    say(&format!("fetching bpf-linker {VERSION} (links eBPF objects)"));
    let Err(error) = unpack_release(own) else { return Ok(()) };
    say(&format!("{error:#}; compiling it instead (needs an LLVM; takes a minute)"));
    process::run(&mut cargo_install())
}

fn unpack_release(own: &Path) -> Result<()> {
    let folder = prepare_folder(own)?;
    let archive = folder.join("bpf-linker.tar.zst");
    let url = format!(
        "https://github.com/aya-rs/bpf-linker/releases/download/v{VERSION}/\
         bpf-linker-{}-unknown-linux-musl.tar.zst",
        env::consts::ARCH
    );
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https"]);
    process::run(curl.arg("--output").arg(&archive).arg(url))?;
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(folder).arg("bpf-linker");
    process::run(&mut tar)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

fn cargo_install() -> Command {
    let mut command = workspace::cargo();
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--quiet", "--force"]);
    command.arg("--root").arg(toolchain::tool_root(workspace::root()));
    command
}

/// Installs the packages of those commands that are missing.
fn need(tools: &[(&str, Package)], apt: Option<&Apt>) -> Result<()> {
    let missing = tools.iter().filter(|(command, _)| find_command(command).is_none());
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    match (missing.first(), apt) {
        (None, _) => Ok(()),
        (Some(_), Some(apt)) => apt.install(&missing),
        (Some(package), None) => bail!("{} is missing ({})", package.name, package.why),
    }
}

fn prepare_folder(file: &Path) -> Result<&Path> {
    let folder = file.parent().context("bpf-linker has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Whether a linker is of the right release, runs, and reads what the compiler writes: LLVM reads
/// the bitcode of older releases, not of newer ones.
fn fits(linker: &Path, toolchain: EbpfToolchain) -> bool {
    let version = process::read(Command::new(linker).arg("--version"));
    let expected = format!("bpf-linker {VERSION}");
    version.is_ok_and(|text| text.trim() == expected) && llvm_fits(linker, toolchain)
}

fn llvm_fits(linker: &Path, toolchain: EbpfToolchain) -> bool {
    // A linker with no LLVM among its libraries has one inside, newer than any that Debian has.
    let Some(linked) =
        process::read(Command::new("ldd").arg(linker)).ok().and_then(|text| linked_llvm(&text))
    else {
        return true;
    };
    let compiler = toolchain.rustc(&["-vV"]);
    compiler.and_then(|text| compiler_llvm(&text)).is_some_and(|compiler| linked >= compiler)
}

/// The major version of the LLVM in `ldd`'s answer.
fn linked_llvm(ldd: &str) -> Option<u32> {
    let (_, name) = ldd.split_once("libLLVM")?;
    leading_number(name.trim_start_matches(['-', '.', 's', 'o']))
}

/// The major version of the LLVM in the answer of `rustc -vV`.
fn compiler_llvm(rustc: &str) -> Option<u32> {
    leading_number(rustc.split_once("LLVM version: ")?.1)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_of_a_linker_is_read_from_its_libraries() {
        let soname =
            |name: &str| format!("\tlibz.so.1 => /lib/libz.so.1\n\t{name} => /usr/lib/x (0x0)\n");
        assert_eq!(linked_llvm(&soname("libLLVM.so.22.1")), Some(22));
        assert_eq!(linked_llvm(&soname("libLLVM-17.so.1")), Some(17));
        assert_eq!(linked_llvm("\tstatically linked\n"), None);
    }

    #[test]
    fn the_llvm_of_a_compiler_is_read_from_its_version() {
        assert_eq!(compiler_llvm("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8"), Some(22));
        assert_eq!(compiler_llvm("rustc 1.96.0"), None);
    }
}
