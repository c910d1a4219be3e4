//! Where programs, links and maps are pinned: `<bpffs>/veth-agent/v<ABI>/`, mode 0700. Pins are
//! named by numbers, because bpffs refuses dots and interface names repeat.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::mount::MountFlags;
use veth_common::{abi::ABI_VERSION, drops::DropProgram};

use super::{DatapathError, HookName};
use crate::types::{EndId, IfIndex, NetnsCookie};

/// Where bpffs usually is.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

/// What pins of XDP programs and links end in.
const XDP: &str = "xdp";

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The agent's corner of bpffs.
#[derive(Clone, Debug)]
pub struct Pins {
    /// `<bpffs>/veth-agent`.
    family: PathBuf,
    base: PathBuf,
}

impl Pins {
    /// The corner below `bpffs`, whether it exists or not.
    #[must_use]
    pub fn at(bpffs: &Path) -> Self {
        let family = bpffs.join("veth-agent");
        let base = family.join(format!("v{ABI_VERSION}"));
        Self { family, base }
    }

    /// Mounts bpffs and makes the directories, where they are missing.
    ///
    /// # Errors
    /// When bpffs is missing and cannot be mounted, or a directory cannot be made.
    pub fn prepare(&self) -> Result<(), DatapathError> {
        self.mount()?;
        for directory in [&self.family, &self.base, &self.maps(), &self.programs(), &self.links()] {
            match fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(directory)(error));
                }
                _ => {}
            }
        }
        // The umask or an older agent may have left it open.
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.family, mode).map_err(failed(&self.family))
    }

    fn mount(&self) -> Result<(), DatapathError> {
        let bpffs = self.bpffs();
        let unmountable = |source| DatapathError::Bpffs { path: bpffs.to_owned(), source };
        let stat = rustix::fs::statfs(bpffs).map_err(|error| unmountable(error.into()))?;
        if stat.f_type == BPF_FS_MAGIC {
            return Ok(());
        }
        tracing::info!(path = %bpffs.display(), "mounting bpffs");
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("bpf", bpffs, "bpf", flags, Some(c"mode=0700"))
            .map_err(|error| unmountable(error.into()))
    }

    /// Whether the agent has left anything here.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.base.exists()
    }

    /// The bpffs.
    #[must_use]
    pub fn bpffs(&self) -> &Path {
        self.family.parent().unwrap_or(&self.family)
    }

    /// The directory that stands for all of them.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Directory of the maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.base.join("maps")
    }

    fn programs(&self) -> PathBuf {
        self.base.join("programs")
    }

    fn links(&self) -> PathBuf {
        self.base.join("links")
    }

    /// Pin of the program that serves `hook` of all ends of a namespace.
    #[must_use]
    pub fn program(&self, netns: NetnsCookie, hook: HookName) -> PathBuf {
        self.programs().join(format!("{netns}-{hook}"))
    }

    /// Pin of the TCX link of an end.
    #[must_use]
    pub fn link(&self, end: EndId, hook: HookName) -> PathBuf {
        self.links().join(format!("{}-{}-{hook}", end.netns, end.ifindex))
    }

    /// Pin of the XDP program that serves the ends of a namespace.
    #[must_use]
    pub fn xdp_program(&self, netns: NetnsCookie) -> PathBuf {
        self.programs().join(format!("{netns}-{XDP}"))
    }

    /// Pin of the XDP link of an end.
    #[must_use]
    pub fn xdp_link(&self, end: EndId) -> PathBuf {
        self.links().join(format!("{}-{}-{XDP}", end.netns, end.ifindex))
    }

    /// Pin of the program that is attached to a tracepoint of drops.
    #[must_use]
    pub fn drops_program(&self, program: DropProgram) -> PathBuf {
        self.programs().join(format!("drops-{}", program.tracepoint()))
    }

    /// Pin of its link.
    #[must_use]
    pub fn drops_link(&self, program: DropProgram) -> PathBuf {
        self.links().join(format!("drops-{}", program.tracepoint()))
    }

    /// The ends with a pinned XDP link.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pinned_xdp(&self) -> Result<Vec<EndId>, DatapathError> {
        list(&self.links(), |name| {
            let (end, hook) = parse_link(name)?;
            (hook == XDP).then_some(end)
        })
    }

    /// All pinned links to TC hooks.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pinned_links(&self) -> Result<Vec<(EndId, HookName)>, DatapathError> {
        list(&self.links(), |name| {
            let (end, hook) = parse_link(name)?;
            Some((end, parse_hook(hook)?))
        })
    }

    /// All pinned programs, and the namespaces that they serve.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pinned_programs(&self) -> Result<Vec<(NetnsCookie, PathBuf)>, DatapathError> {
        let directory = self.programs();
        list(&directory, |name| {
            let (netns, _) = name.split_once('-')?;
            Some((NetnsCookie(netns.parse().ok()?), directory.join(name)))
        })
    }

    /// Removes every pin and directory. What was pinned lives on while something else holds it.
    ///
    /// # Errors
    /// The first removal that failed.
    pub fn remove_all(&self) -> Result<(), DatapathError> {
        for directory in [self.links(), self.programs(), self.maps()] {
            for file in list(&directory, |name| Some(directory.join(name)))? {
                remove_file(&file)?;
            }
        }
        for directory in
            [self.links(), self.programs(), self.maps(), self.base.clone(), self.family.clone()]
        {
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Another ABI's pins are another agent's business.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                other => other.map_err(failed(&directory))?,
            }
        }
        Ok(())
    }
}

/// Removes one pin; one that is gone already is fine.
///
/// # Errors
/// When the kernel refuses.
pub fn remove_file(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// The end and the hook that a link's pin is named after.
fn parse_link(name: &str) -> Option<(EndId, &str)> {
    let (netns, rest) = name.split_once('-')?;
    let (ifindex, hook) = rest.split_once('-')?;
    let netns = NetnsCookie(netns.parse().ok()?);
    Some((EndId { netns, ifindex: IfIndex(ifindex.parse().ok()?) }, hook))
}

fn parse_hook(text: &str) -> Option<HookName> {
    HookName::BOTH.into_iter().find(|hook| hook.as_str() == text)
}

fn list<T>(directory: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, DatapathError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(directory))?,
    };
    Ok(entries
        .filter_map(Result::ok)
        .filter_map(|entry| parse(entry.file_name().to_str()?))
        .collect())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DatapathError + use<> {
    let path = path.to_owned();
    |source| DatapathError::Pin { path, source }
}
