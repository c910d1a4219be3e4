//! Debian's package manager.

use std::{
    cell::Cell,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

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

    /// Installs `packages`, saying why. What is there stays, if need be in the version that goes with
    /// them.
    pub fn install(&self, packages: &[Package]) -> Result<()> {
        self.update()?;
        for package in packages {
            say(&format!("installing {} ({})", package.name, package.why));
        }
        let names: Vec<_> = packages.iter().map(|package| package.name).collect();
        let mut tried = Command::new("apt-get");
        tried.args(["install", "--simulate", "--no-install-recommends"]).args(&names);
        let in_the_way = removals(&process::read(tried.env("LC_ALL", "C"))?);
        let in_the_way = in_the_way.iter().map(|name| offered(name));
        let in_the_way = in_the_way.collect::<Result<Vec<_>>>()?;
        let mut install = apt_get()?;
        install.args(["install", "--yes", "-qq", "--no-install-recommends", "--no-remove"]);
        if !in_the_way.is_empty() {
            say(&format!("installing {} (to go with it)", in_the_way.join(", ")));
            install.arg("--allow-downgrades");
        }
        process::run(install.args(names).args(in_the_way).stdout(Stdio::null()))
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

/// `package=version` of the newest version that the package lists offer.
fn offered(package: &str) -> Result<String> {
    let versions = process::read(Command::new("apt-cache").args(["madison", package]))?;
    let newest = newest_offered(&versions);
    let newest =
        newest.with_context(|| format!("{package}: in the way, and in no package list"))?;
    Ok(format!("{package}={newest}"))
}

/// The first version of `apt-cache madison`'s answer, which is sorted.
fn newest_offered(versions: &str) -> Option<&str> {
    versions.lines().next()?.split('|').nth(1).map(str::trim)
}

/// The packages that apt would take away, by what `apt-get --simulate` prints.
fn removals(simulated: &str) -> Vec<String> {
    let lines = simulated.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
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
    fn what_would_be_taken_away_is_told() {
        let simulated = "The following packages will be REMOVED:\n  qemu-utils\n\
                         Remv qemu-utils [1:10.0.2+ds-2~bpo12+1]\n\
                         Inst qemu-system-x86 (1:7.2 Debian:12.0/stable [amd64])\n";
        assert_eq!(removals(simulated), ["qemu-utils"]);
        let offered = "qemu-utils | 1:7.2+b3 | http://example.org bookworm/main amd64 Packages\n\
                       qemu-utils | 1:7.2 | http://example.org bookworm-security/main\n";
        assert_eq!(newest_offered(offered), Some("1:7.2+b3"));
        assert_eq!(removals("Inst cpio (2.13 Debian)\n"), [""; 0]);
    }

    #[test]
    fn a_package_without_a_candidate_is_not_offered() {
        let policy = "a:\n  Installed: (none)\n  Candidate: 1.2\n  Version table:\n\
                      b:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), 1);
        assert_eq!(candidates(""), 0);
    }
}
