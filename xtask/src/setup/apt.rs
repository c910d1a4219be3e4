//! Debian's package manager.

use std::{
    cell::Cell,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::say;
use crate::{process, toolchain::find_command};

/// A package and the reason for it, as the user reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The package's name.
    pub name: &'static str,
    /// What it is needed for.
    pub why: &'static str,
}

/// `apt-get`, on a machine that has it.
pub struct Apt {
    updated: Cell<bool>,
}

impl Apt {
    /// `None` on a machine without apt.
    pub fn find() -> Option<Self> {
        let found =
            ["apt-get", "apt-cache", "dpkg-query"].iter().all(|c| find_command(c).is_some());
        found.then(|| Self { updated: Cell::new(false) })
    }

    /// Whether every one of `packages` could be installed now.
    pub fn offers(&self, packages: &[Package]) -> Result<bool> {
        self.update()?;
        let mut policy = Command::new("apt-cache");
        policy.arg("policy").args(packages.iter().map(|package| package.name)).env("LC_ALL", "C");
        Ok(candidates(&process::read(&mut policy)?) == packages.len())
    }

    /// Whether `package` is installed.
    pub fn has(&self, package: &str) -> bool {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", "--showformat", "${db:Status-Status}", package]);
        process::read(&mut query).is_ok_and(|status| status == "installed")
    }

    /// Installs `packages`, saying why.
    pub fn install(&self, packages: &[Package]) -> Result<()> {
        self.update()?;
        for package in packages {
            say(&format!("installing {} ({})", package.name, package.why));
        }
        let mut install = apt_get()?;
        install.args(["install", "--yes", "-qq", "--no-install-recommends", "--no-remove"]);
        install.args(packages.iter().map(|package| package.name));
        process::run(install.stdout(Stdio::null()))
    }

    /// Fetches the package lists, once a run and only if something is to be installed.
    fn update(&self) -> Result<()> {
        if self.updated.replace(true) {
            return Ok(());
        }
        say("apt-get update (to know which packages there are)");
        let updated = process::run(apt_get()?.args(["update", "-qq"]).stdout(Stdio::null()));
        if let Err(error) = updated {
            say(&format!("{error:#}; going on with the lists that are there"));
        }
        Ok(())
    }
}

/// `apt-get` that asks nothing and waits for its turn.
fn apt_get() -> Result<Command> {
    let mut command = process::as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]);
    Ok(command)
}

/// How many packages of `apt-cache policy`'s answer have a version to install.
fn candidates(policy: &str) -> usize {
    let versions = policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate: "));
    versions.filter(|version| *version != "(none)").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_candidate_is_not_offered() {
        let policy = "a:\n  Installed: (none)\n  Candidate: 1.2\n  Version table:\n\
                      b:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), 1);
        assert_eq!(candidates(""), 0);
    }
}
