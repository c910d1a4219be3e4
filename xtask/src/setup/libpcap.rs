//! libpcap, which compiles the filters of `trace` and goes into the binary.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use super::apt::{Apt, Package};
use crate::{process, toolchain::find_command};

const LIBPCAP: Package =
    Package { name: "libpcap-dev", why: "its compiler of filter expressions goes into the agent" };
const CC: Package = Package { name: "gcc", why: "to link the agent" };

/// Installs it, if a linker would not find it.
pub fn install(apt: Option<&Apt>) -> Result<()> {
    let mut missing = Vec::new();
    if find_command("cc").is_none() {
        missing.push(CC);
    }
    if !["libpcap.a", "libpcap.so"].iter().any(|library| is_found(library)) {
        missing.push(LIBPCAP);
    }
    match (missing.first(), apt) {
        (None, _) => Ok(()),
        (Some(_), Some(apt)) => apt.install(&missing),
        (Some(package), None) => bail!("{} is missing ({})", package.name, package.why),
    }
}

/// Whether a linker finds a library: the compiler answers with the bare name where it would not.
fn is_found(library: &str) -> bool {
    let answer = process::read(Command::new("cc").arg(format!("--print-file-name={library}")));
    answer.is_ok_and(|file| Path::new(file.trim()).is_absolute())
}
