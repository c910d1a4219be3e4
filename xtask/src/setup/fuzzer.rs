//! libFuzzer, which clang links into what it fuzzes.

use std::{fs, process::Command};

use anyhow::{Result, bail};

use super::apt::{Apt, Package};
use crate::{process, toolchain::find_command};

const DEBIAN: &[Package] = &[
    Package { name: "clang", why: "to link the fuzzer" },
    Package { name: "libclang-rt-dev", why: "libFuzzer, which makes up the inputs" },
    Package { name: "g++", why: "the C++ library that libFuzzer needs" },
];

/// Installs what is missing of clang, libFuzzer and the C++ library.
pub fn install(apt: Option<&Apt>) -> Result<()> {
    if find_command("c++").is_some() && has_library() {
        return Ok(());
    }
    let Some(apt) = apt else { bail!("please install clang, its run-time libraries, and g++") };
    let missing: Vec<_> = DEBIAN.iter().filter(|package| !apt.has(package.name)).copied().collect();
    apt.install(&missing)
}

/// Whether there is a clang, and with it the library.
fn has_library() -> bool {
    let Ok(folder) = process::read(Command::new("clang").arg("--print-runtime-dir")) else {
        return false;
    };
    let Ok(mut files) = fs::read_dir(folder.trim()) else { return false };
    files.any(|file| {
        file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libclang_rt.fuzzer"))
    })
}
