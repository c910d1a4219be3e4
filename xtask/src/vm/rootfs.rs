//! A tree of files for an initramfs: commands of this machine with the libraries that they need.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::process;

/// A tree that becomes an archive.
pub struct Rootfs {
    root: PathBuf,
}

impl Rootfs {
    /// An empty tree at `root`, in place of what is there.
    pub fn new(root: PathBuf) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// Where a path of the tree is on this machine.
    pub fn place(&self, inside: &Path) -> PathBuf {
        self.root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// An empty folder.
    pub fn folder(&self, inside: &str) -> Result<()> {
        Ok(fs::create_dir_all(self.place(Path::new(inside)))?)
    }

    /// A symbolic link.
    pub fn link(&self, inside: &str, target: &str) -> Result<()> {
        Ok(symlink(target, self.place(Path::new(inside)))?)
    }

    /// A file with this content.
    pub fn write(&self, inside: &str, content: &[u8]) -> Result<()> {
        Ok(fs::write(self.place(Path::new(inside)), content)?)
    }

    /// Puts a program of this machine at `inside`, without what only debuggers read, and its
    /// libraries where it looks for them.
    pub fn program(&self, from: &Path, inside: &Path) -> Result<()> {
        let target = self.place(inside);
        prepare(&target)?;
        let mut strip = Command::new("strip");
        strip.arg("--strip-debug").arg("-o").arg(&target).arg(from).stderr(Stdio::null());
        if process::run(&mut strip).is_err() {
            // A script.
            fs::copy(from, &target).with_context(|| format!("copying {}", from.display()))?;
        }
        libraries(from)?.iter().try_for_each(|library| self.copy(library))
    }

    /// Copies a file of this machine to the same place, with the link that its path may be.
    pub fn copy(&self, from: &Path) -> Result<()> {
        let real = from.canonicalize().with_context(|| from.display().to_string())?;
        let folder = from.parent().context("a file without a folder")?.canonicalize()?;
        let named = folder.join(from.file_name().context("a file without a name")?);
        let target = self.place(&real);
        if !target.exists() {
            prepare(&target)?;
            fs::copy(&real, &target).with_context(|| format!("copying {}", real.display()))?;
        }
        let link = self.place(&named);
        if named != real && link.symlink_metadata().is_err() {
            prepare(&link)?;
            symlink(&real, &link)?;
        }
        Ok(())
    }

    /// Packs the tree as a cpio archive that belongs to root.
    pub fn pack(&self, archive: &Path) -> Result<()> {
        let script = "find . -print0 | LC_ALL=C sort -z | \
                      cpio --null --create --quiet --format=newc --owner=0:0";
        let out = fs::File::create(archive).with_context(|| archive.display().to_string())?;
        let mut pack = Command::new("sh");
        process::run(pack.args(["-ec", script]).current_dir(&self.root).stdout(out))
    }
}

fn prepare(file: &Path) -> Result<()> {
    let folder = file.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The libraries of a program, the loader among them; none for a script or a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    Ok(read_ldd(&String::from_utf8_lossy(&output.stdout)))
}

fn read_ldd(text: &str) -> Vec<PathBuf> {
    let paths =
        text.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found = read_ldd(text);
        assert_eq!(found, ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(read_ldd("\tnot a dynamic executable\n").is_empty());
    }
}
