//! Finds libpcap. Where there is a static one it goes into the binary, so that the agent starts on machines
//! without it.

use std::{env, path::PathBuf, process::Command};

const STATIC: &str = "libpcap.a";
const SHARED: &str = "libpcap.so";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    if let Some(folder) = folder_of(STATIC) {
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=static=pcap");
    } else if folder_of(SHARED).is_some() {
        println!("cargo::rustc-link-lib=dylib=pcap");
    } else {
        println!(
            "cargo::error=libpcap is missing; run `cargo xtask setup build`, which installs it"
        );
    }
}

/// Where the linker would find a library: a C compiler answers with the bare name where it would not.
fn folder_of(library: &str) -> Option<PathBuf> {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let asked = Command::new(compiler).arg(format!("--print-file-name={library}")).output();
    let answer = String::from_utf8(asked.ok()?.stdout).ok()?;
    let file = PathBuf::from(answer.trim()).canonicalize().ok()?;
    Some(file.parent()?.to_owned())
}
