//! A thin layer over rtnetlink: sockets that belong to a namespace, dumps that are whole, and the
//! requests that the executor makes.

mod connection;
mod dump;
mod ethtool;
mod path;
mod raw;
mod request;

pub use connection::{Connection, block_on};
pub use dump::{
    addresses, link, links, nsid_of, policy_rules, qdiscs, root_qdisc, routes, tc_filters,
};
pub use ethtool::{has_family, offloads, switch_offloads};
pub use path::{all_qdiscs, cached_routes, neighbours, route_to};
pub use raw::{attributes, dump, nested, text, xfrm_policies};
pub use request::*;

use thiserror::Error;

/// What can go wrong on a netlink socket.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The kernel refused, by errno.
    #[error("{0}")]
    Refused(std::io::Error),
    /// Things kept changing while they were listed.
    #[error("the kernel's list of {0} kept changing; try again")]
    Unstable(&'static str),
    /// No socket.
    #[error("no netlink socket: {0}")]
    Socket(std::io::Error),
    /// The socket ended, or an answer could not be read.
    #[error("netlink: {0}")]
    Broken(String),
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] crate::netns::NetnsError),
}

impl NetlinkError {
    /// The kernel's errno, where that is what went wrong.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            _ => None,
        }
    }

    /// The thing is not there (any more).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        use nix::libc::{EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH};
        matches!(self.errno(), Some(ENODEV | ENOENT | ESRCH | EADDRNOTAVAIL))
    }

    /// The thing is there already.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.errno() == Some(nix::libc::EEXIST)
    }
}

impl From<rtnetlink::Error> for NetlinkError {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::Refused(message.to_io()),
            other => Self::Broken(other.to_string()),
        }
    }
}
