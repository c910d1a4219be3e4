//! The only place that changes network namespaces. Whatever has to happen inside one (opening
//! sockets, attaching, querying and detaching programs) runs as a closure on an OS thread of its
//! own that ends afterwards: `setns` on a thread that others use would move their work too.
//!
//! No namespace is held open between two such visits. A file or socket that outlives its visit
//! would keep the namespace, and both ends of its pairs, alive after its owner deleted it.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket},
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MountPropagationFlags, UnmountFlags},
};
use thiserror::Error;

use crate::types::{NetnsCookie, NetnsName};

/// Where `ip netns` keeps named namespaces.
pub const RUN_NETNS: &str = "/run/netns";

/// The agent's own namespace, whatever thread asks.
pub const OWN: &str = "/proc/self/ns/net";

/// The calling thread's namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// Why a namespace could not be made, entered or deleted.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The file is gone or cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Open {
        /// The file that leads into the namespace.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// `setns` was refused.
    #[error("cannot enter {path}: {source}; CAP_SYS_ADMIN is needed", path = path.display())]
    Enter {
        /// The file that leads into the namespace.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path leads to another namespace than it used to.
    #[error("{path} is another namespace now", path = path.display())]
    Replaced {
        /// The file that led into the namespace.
        path: PathBuf,
    },
    /// There is no new one.
    #[error("cannot make a namespace: {0}; CAP_SYS_ADMIN is needed")]
    New(#[source] io::Error),
    /// A step of making or deleting a named namespace.
    #[error("namespace {name:?}: cannot {step}: {source}")]
    Named {
        /// Its name.
        name: String,
        /// Which step.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread that entered the namespace panicked or could not be started.
    #[error("no thread for a visit to {path}", path = path.display())]
    Thread {
        /// The file that leads into the namespace.
        path: PathBuf,
    },
}

mod sockopt {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    // `include/uapi/asm-generic/socket.h`, since Linux 5.14.
    sockopt_impl!(
        /// Cookie of the network namespace that a socket belongs to.
        NetnsCookie,
        GetOnly,
        libc::SOL_SOCKET,
        libc::SO_NETNS_COOKIE,
        u64
    );
}

/// Cookie of the calling thread's namespace.
///
/// # Errors
/// Any error of `socket(2)` or `getsockopt(2)`.
pub fn cookie() -> io::Result<NetnsCookie> {
    // A UDP socket would load no module either, but needs IPv4; AF_UNIX always exists.
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(NetnsCookie(getsockopt(&socket, sockopt::NetnsCookie)?))
}

/// Runs `visit` inside the namespace that `path` leads to.
///
/// # Errors
/// When the file cannot be opened or the namespace not entered.
pub fn within<T: Send>(path: &Path, visit: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let file =
        File::open(path).map_err(|source| NetnsError::Open { path: path.to_owned(), source })?;
    within_file(&file, path, visit)
}

/// Runs `visit` inside the namespace with `cookie` that `path` led to when it was found.
///
/// # Errors
/// As [`within`], and when the path leads to another namespace by now.
pub fn within_known<T: Send>(
    path: &Path,
    expected: NetnsCookie,
    visit: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    let checked = || match cookie() {
        Ok(found) if found == expected => Some(visit()),
        _ => None,
    };
    within(path, checked)?.ok_or_else(|| NetnsError::Replaced { path: path.to_owned() })
}

fn within_file<T: Send>(
    netns: &File,
    path: &Path,
    visit: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    let enter = || {
        if !is_current(netns) {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|error| NetnsError::Enter {
                path: path.to_owned(),
                source: error.into(),
            })?;
        }
        Ok(visit())
    };
    on_own_thread(path, enter)?
}

/// Whether the calling thread is in this namespace already. To stay takes no privileges.
fn is_current(netns: &File) -> bool {
    let identity = |file: fs::Metadata| (file.dev(), file.ino());
    let current = fs::metadata(CURRENT).map(identity);
    netns.metadata().map(identity).is_ok_and(|netns| current.is_ok_and(|current| current == netns))
}

fn on_own_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let failed = || NetnsError::Thread { path: path.to_owned() };
    thread::scope(|scope| {
        let visitor = thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(512 * 1024)
            .spawn_scoped(scope, work)
            .map_err(|_| failed())?;
        visitor.join().map_err(|_| failed())
    })
}

/// Runs `visit` inside a namespace that nobody else sees, and that ends with it.
///
/// # Errors
/// When the kernel makes none.
pub fn within_new<T: Send>(visit: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let make = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(visit()),
        Err(error) => Err(NetnsError::New(error.into())),
    };
    on_own_thread(Path::new(CURRENT), make)?
}

/// The file under `/run/netns` of a named namespace.
#[must_use]
pub fn path_of(name: &NetnsName) -> PathBuf {
    Path::new(RUN_NETNS).join(name.as_str())
}

/// Makes a namespace, runs `prepare` inside, and only then gives it its name, so that nobody ever
/// sees it half prepared.
///
/// # Errors
/// When a step is refused, or `prepare` fails; then no name is left behind.
pub fn create<T: Send, E: Send + From<NetnsError>>(
    name: &NetnsName,
    prepare: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let failed = |step| {
        let name = name.to_string();
        move |source: io::Error| NetnsError::Named { name, step, source }
    };
    share_run_netns().map_err(failed("prepare /run/netns"))?;
    let path = path_of(name);
    let make = || -> Result<T, E> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| failed("make it")(error.into()))?;
        let prepared = prepare()?;
        give_name(&path).map_err(failed("name it"))?;
        Ok(prepared)
    };
    on_own_thread(&path, make)?
}

/// Bind-mounts the calling thread's namespace on a new file.
fn give_name(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(_) => {}
        Err(rustix::io::Errno::EXIST) if is_abandoned(path) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::mount::mount_bind(CURRENT, path).map_err(|error| {
        // The mount is what failed; an empty file would only be in the way of the next try.
        let _ = fs::remove_file(path);
        error.into()
    })
}

/// Whether a file is what remains of somebody who was killed between making it and mounting a
/// namespace on it.
fn is_abandoned(path: &Path) -> bool {
    let namespaces = fs::metadata(CURRENT).map(|netns| netns.dev());
    fs::symlink_metadata(path).is_ok_and(|file| {
        file.is_file() && file.len() == 0 && namespaces.is_ok_and(|nsfs| nsfs != file.dev())
    })
}

/// Makes `/run/netns` a shared mount of its own, as `ip netns add` does (`ip/ipnetns.c`), so that a
/// namespace deleted here is also gone in the mount namespaces of others.
fn share_run_netns() -> io::Result<()> {
    fs::create_dir_all(RUN_NETNS)?;
    let share = || {
        let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        rustix::mount::mount_change(RUN_NETNS, flags)
    };
    match share() {
        Err(rustix::io::Errno::INVAL) => {
            rustix::mount::mount_bind_recursive(RUN_NETNS, RUN_NETNS)?;
            Ok(share()?)
        }
        other => Ok(other?),
    }
}

/// Takes a namespace's name away. It dies when nothing else uses it.
///
/// # Errors
/// When a step is refused.
pub fn delete(name: &NetnsName) -> Result<(), NetnsError> {
    let path = path_of(name);
    let failed = |step| move |source| NetnsError::Named { name: name.to_string(), step, source };
    match rustix::mount::unmount(&path, UnmountFlags::DETACH) {
        // A plain file that a crash left behind.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed("unmount it")(error.into())),
    }
    fs::remove_file(&path).map_err(failed("remove its name"))
}
