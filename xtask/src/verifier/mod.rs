//! `cargo xtask verifier`: what each kernel's verifier says of every program, against the table in
//! `docs/verifier.md`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    setup::{self, Group},
    vm, workspace,
};

mod table;

pub use table::{Row, read_rows};

/// The program that asks; it prints an array of [`Row`]s without their kernel.
pub const PROGRAM: &str = "verifier";

/// What to ask.
#[derive(clap::Args)]
pub struct Args {
    /// Only this machine's kernel, not the ones in virtual machines.
    #[arg(long)]
    host: bool,
    /// Write what was found into the table.
    #[arg(long)]
    update: bool,
}

/// Loads every program of every object on each kernel, and compares or writes the table.
pub fn main(args: &Args) -> Result<()> {
    setup::install(&[Group::Build])?;
    let mut found = on_host()?;
    if !args.host {
        setup::install(&[Group::Vm])?;
        found.extend(vm::verify()?);
    }
    print!("{}", table::markdown(&found));
    if args.update {
        let (path, old) = read()?;
        let page = table::page(&table::merged(&old, &found));
        return fs::write(&path, page).with_context(|| path.display().to_string());
    }
    check(&found)
}

/// What this machine's kernel says. Its version is not in everybody's table.
pub fn on_host() -> Result<Vec<Row>> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let program = workspace::build_bin("veth-tests", PROGRAM)?;
    let mut ask = process::as_root(&program.display().to_string())?;
    read_rows(&version(&release), &process::read(&mut ask)?)
}

/// The first two numbers of a release.
fn version(release: &str) -> String {
    release.split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}

/// Fails where a program has grown over its budget.
pub fn check(found: &[Row]) -> Result<()> {
    let (_, old) = read()?;
    let over = table::over_budget(&old, found);
    for line in &over {
        eprintln!("verifier: {line}");
    }
    if !over.is_empty() {
        bail!(
            "{} programs are over their budget or new: make them smaller, or accept it with \
             `cargo xtask verifier --update`",
            over.len()
        );
    }
    Ok(())
}

fn read() -> Result<(PathBuf, Vec<Row>)> {
    let path = workspace::root().join("docs/verifier.md");
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok((path, table::parse(&page)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_beginning_of_a_release() {
        assert_eq!(version("6.12.117+deb12-cloud-amd64"), "6.12");
        assert_eq!(version("7.0-rc1"), "7.0");
    }

    #[test]
    fn the_table_in_the_documentation_is_as_it_would_be_written() -> Result<()> {
        let (path, rows) = read()?;
        assert!(!rows.is_empty());
        assert_eq!(fs::read_to_string(path)?, table::page(&rows));
        Ok(())
    }
}
