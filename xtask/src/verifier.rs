//! `cargo xtask verifier`: what this kernel's verifier says of every program.

use anyhow::Result;

use crate::{
    process,
    setup::{self, Group},
    workspace,
};

/// Loads every program of every object and prints its verified instructions.
pub fn main() -> Result<()> {
    setup::install(&[Group::Build])?;
    let mut command = workspace::cargo();
    command.args(["run", "--release", "--quiet", "--package", "veth-tests", "--bin", "verifier"]);
    process::run(&mut command)
}
