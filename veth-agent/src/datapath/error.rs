//! What goes wrong with programs, maps and pins.

use std::{fmt, io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};
use thiserror::Error;

use crate::{
    cause::{chain, errno},
    netlink::NetlinkError,
    netns::NetnsError,
};

/// One of the two hooks of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookName {
    /// Packets that arrive at the end.
    Ingress,
    /// Packets that leave it.
    Egress,
}

impl HookName {
    /// Both, in the order in which they are attached.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word in pins, labels and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why nothing could be done with programs at all.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// bpffs is missing and cannot be mounted.
    #[error("{path}: no bpffs, and it cannot be mounted: {source}; mount -t bpf bpf {path}", path = path.display())]
    Bpffs {
        /// Where it should be.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file or directory on bpffs.
    #[error("{path}: {source}", path = path.display())]
    Pin {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pinned map is not what this agent would have made.
    #[error("{path}: the pinned map has another layout ({found}, wanted {wanted}); run `veth-agent detach --all` first", path = path.display())]
    Layout {
        /// Which.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        wanted: String,
    },
    /// A map could not be made or used.
    #[error("BPF map {name}: {}", chain(.source))]
    Map {
        /// Which.
        name: &'static str,
        /// What went wrong.
        source: Box<MapError>,
    },
    /// The object could not be loaded.
    #[error("eBPF programs cannot be loaded: {}; CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed", chain(.0))]
    Load(Box<EbpfError>),
    /// A program could not be loaded or pinned.
    #[error("eBPF program {name}: {}", why_not_loaded(.source))]
    Program {
        /// Which.
        name: &'static str,
        /// What went wrong.
        source: Box<ProgramError>,
    },
    /// An object that is built into the agent lacks something.
    #[error("the built-in eBPF object has no {0}; this build is broken")]
    Missing(&'static str),
}

/// How the lines begin that end a verifier's log.
const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];

/// Of a verifier's log, the line that says what it does not like; all of it is for `--log-level debug`.
fn why_not_loaded(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return chain(error) };
    tracing::debug!(log = %verifier_log, "what the verifier says");
    let log = verifier_log.to_string();
    let is_count = |line: &&str| {
        line.trim().is_empty() || STATISTICS.iter().any(|begin| line.starts_with(begin))
    };
    match log.lines().rev().find(|line| !is_count(line)) {
        Some(line) => format!("the kernel refuses it: {io_error}: {}", line.trim()),
        None => format!("the kernel refuses it: {io_error}"),
    }
}

/// Why a hook of an end has no program of ours.
#[derive(Debug, Error)]
#[error("{netns}/{interface}: {hook}: {cause}")]
pub struct AttachError {
    /// Label of the namespace.
    pub netns: String,
    /// Name of the interface.
    pub interface: String,
    /// Which hook: `ingress`, `egress` or `xdp`.
    pub hook: &'static str,
    /// Why.
    pub cause: AttachCause,
}

/// Reasons, each with a short label for metrics.
#[derive(Clone, Debug, Error)]
pub enum AttachCause {
    /// The end or its namespace went away meanwhile.
    #[error("it is gone")]
    Gone,
    /// All slots are taken.
    #[error("all {0} slots are taken; raise --max-ends")]
    Full(u32),
    /// Not permitted.
    #[error("not permitted: {0}; CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN are needed")]
    Permission(String),
    /// Anything else that the kernel said.
    #[error("{0}")]
    Kernel(String),
}

impl AttachCause {
    /// The label of `veth_agent_attach_errors_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Full(_) => "map_full",
            Self::Permission(_) => "permission",
            Self::Kernel(_) => "kernel",
        }
    }

    fn new(error: &(dyn std::error::Error + 'static)) -> Self {
        use nix::libc::{EACCES, ENODEV, ENOENT, ENXIO, EPERM};

        match errno(error) {
            Some(ENODEV | ENXIO | ENOENT) => Self::Gone,
            Some(EPERM | EACCES) => Self::Permission(chain(error)),
            _ => Self::Kernel(chain(error)),
        }
    }
}

macro_rules! cause_from {
    ($($error:ty),+) => {$(
        impl From<$error> for AttachCause {
            fn from(error: $error) -> Self {
                Self::new(&error)
            }
        }
    )+};
}

cause_from!(ProgramError, LinkError, PinError, MapError, NetlinkError, io::Error, DatapathError);

impl From<NetnsError> for AttachCause {
    fn from(error: NetnsError) -> Self {
        match error {
            NetnsError::Replaced { .. } => Self::Gone,
            other => Self::new(&other),
        }
    }
}

impl From<nix::Error> for AttachCause {
    fn from(error: nix::Error) -> Self {
        Self::new(&io::Error::from(error))
    }
}
