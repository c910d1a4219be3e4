//! `cargo xtask docs`: the pages of the documentation that are made, not written.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    process,
    setup::{self, Group},
    workspace,
};

/// Writes `docs/kernels.md`.
pub fn main() -> Result<()> {
    setup::install(&[Group::Build])?;
    let page =
        process::read(&mut Command::new(workspace::build_bin("veth-tests", "kernels-page")?))?;
    let path = workspace::root().join("docs/kernels.md");
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}
