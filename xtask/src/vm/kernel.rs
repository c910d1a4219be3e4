//! The kernels, and how they are had: from Debian's packages, unpacked and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process;

/// A kernel to test on.
#[derive(Debug)]
pub struct Kernel {
    /// What people call it, and the beginning of its release.
    pub name: &'static str,
    /// Debian's package that always depends on the newest build of it.
    package: &'static str,
}

/// All of them. To test on another one, add a line.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "6.1", package: "linux-image-cloud-amd64" },
    Kernel { name: "6.12", package: "linux-image-6.12-cloud-amd64" },
];

/// The kernel that the user means.
pub fn by_name(name: &str) -> Result<&'static Kernel, String> {
    KERNELS.iter().find(|kernel| kernel.name == name).ok_or_else(|| {
        let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        format!("there is no such kernel; these are known: {}", names.join(", "))
    })
}

/// An unpacked kernel package.
pub struct Unpacked {
    /// Its root: `boot/` and `lib/modules/` are below.
    pub root: PathBuf,
    /// `uname -r` of the kernel.
    pub release: String,
}

impl Unpacked {
    /// The kernel itself.
    pub fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The options that it was built with.
    pub fn options(&self) -> PathBuf {
        self.root.join("boot").join(format!("config-{}", self.release))
    }

    /// Its modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

impl Kernel {
    /// Fetches and unpacks the newest build below `folder`, unless it is there.
    pub fn fetch(&self, folder: &Path) -> Result<Unpacked> {
        let package = self.newest()?;
        let release = package.strip_prefix("linux-image-").unwrap_or(&package).to_owned();
        let root = folder.join(&package);
        let unpacked = Unpacked { root, release };
        if !unpacked.image().exists() {
            eprintln!("vm: fetching {package}");
            unpack(&package, &unpacked.root).with_context(|| format!("kernel {}", self.name))?;
        }
        Ok(unpacked)
    }

    /// The package of the newest build.
    fn newest(&self) -> Result<String> {
        let mut depends = Command::new("apt-cache");
        depends.args(["depends", "--important", self.package]).env("LC_ALL", "C");
        let answer = process::read(&mut depends)?;
        let found =
            answer.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image"));
        let rest = found.with_context(|| {
            format!("{} is not in the package lists; run apt-get update", self.package)
        })?;
        Ok(format!("linux-image{rest}"))
    }
}

/// What is half-way there after an interruption is not mistaken for the whole.
fn unpack(package: &str, root: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut download = Command::new("apt-get");
    // Without its sandbox, which cannot write here and only warns of it.
    download.args(["download", "-qq", "-o", "APT::Sandbox::User=root", package]);
    download.current_dir(scratch.path());
    process::run(download.stdout(std::process::Stdio::null()))?;
    let archive = fs::read_dir(scratch.path())?.next().context("apt-get fetched nothing")??;
    let half = root.with_extension("half");
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    process::run(Command::new("dpkg-deb").arg("-x").arg(archive.path()).arg(&half))?;
    let release = package.strip_prefix("linux-image-").unwrap_or(package);
    process::run(Command::new("depmod").arg("-b").arg(&half).arg(release))?;
    fs::rename(&half, root)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_known_by_its_name_and_an_unknown_one_is_told_the_names() {
        assert_eq!(
            by_name("6.12").map(|kernel| kernel.package),
            Ok("linux-image-6.12-cloud-amd64")
        );
        let error = by_name("5.4").err().unwrap_or_default();
        assert!(error.contains("6.1, 6.12"), "{error}");
    }
}
