//! What the kernel itself counts.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// Link statistics of one interface, as `ip -s link` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent.
    pub tx_dropped: u64,
}

impl LinkStats {
    /// What came to `earlier` until now.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            rx_packets: self.rx_packets - earlier.rx_packets,
            rx_bytes: self.rx_bytes - earlier.rx_bytes,
            tx_packets: self.tx_packets - earlier.tx_packets,
            tx_bytes: self.tx_bytes - earlier.tx_bytes,
            tx_dropped: self.tx_dropped - earlier.tx_dropped,
        }
    }
}

/// The kernel's statistics of `interface` in `netns`, `host` being the node's own namespace.
///
/// # Errors
/// When there is no such interface.
pub fn link_stats(netns: &str, interface: &str) -> Result<LinkStats> {
    let scope = if netns == "host" { String::new() } else { format!("-n {netns} ") };
    let output = run(&format!("ip {scope}-s -j link show dev {interface}"))?;
    let links: Value = serde_json::from_str(&output.stdout)?;
    let field = |direction: &str, name: &str| {
        links[0]["stats64"][direction][name].as_u64().with_context(|| format!("no {name}"))
    };
    Ok(LinkStats {
        rx_packets: field("rx", "packets")?,
        rx_bytes: field("rx", "bytes")?,
        tx_packets: field("tx", "packets")?,
        tx_bytes: field("tx", "bytes")?,
        tx_dropped: field("tx", "dropped")?,
    })
}
