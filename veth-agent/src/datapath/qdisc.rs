//! The `clsact` qdisc that filters hang below where there is no TCX, and who takes it along.
//!
//! Who comes first adds it, and who goes last deletes it, unless it was somebody else's to begin with. The agent
//! writes down in its journal that it was not; traces, which come and go without each other's knowledge, say so
//! in the handles of their filters.

use super::{AttachCause, HookName, observe};
use crate::{
    netlink::{self, CLSACT, Connection, NetlinkError},
    types::IfIndex,
};

/// In the handle of a trace's filter: the qdisc was added by a trace, or by the agent.
pub const OURS: u32 = 1 << 29;

/// What is known of an interface's `clsact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Whether there is one.
    pub is_there: bool,
    /// Whether a trace that is there says that it goes with the last of us.
    pub is_ours: bool,
}

/// Looks at it, inside its namespace.
///
/// # Errors
/// When it cannot be seen.
pub async fn survey(connection: &Connection, ifindex: IfIndex) -> Result<Qdisc, NetlinkError> {
    let is_there = is_there(connection, ifindex).await?;
    let mut is_ours = false;
    if is_there {
        for hook in HookName::BOTH {
            let filters = observe::all_filters(connection, ifindex, hook).await?;
            is_ours |= filters.iter().any(|it| it.is_of_trace && it.handle & OURS != 0);
        }
    }
    Ok(Qdisc { is_there, is_ours })
}

/// Deletes one that is ours, unless filters are left below it. Runs inside the namespace.
///
/// # Errors
/// What the kernel said; a qdisc that is gone already is fine.
pub fn remove(ifindex: IfIndex) -> Result<(), AttachCause> {
    Ok(netlink::block_on(async |connection| {
        if !is_there(&connection, ifindex).await? {
            return Ok(());
        }
        for hook in HookName::BOTH {
            if !observe::all_filters(&connection, ifindex, hook).await?.is_empty() {
                return Ok(());
            }
        }
        match connection.delete_clsact(ifindex).await {
            Err(error) if error.is_absent() => Ok(()),
            other => other,
        }
    })?)
}

async fn is_there(connection: &Connection, ifindex: IfIndex) -> Result<bool, NetlinkError> {
    let qdiscs = netlink::qdiscs(connection, ifindex.0).await?;
    Ok(qdiscs.iter().any(|qdisc| qdisc.header.parent == CLSACT))
}
