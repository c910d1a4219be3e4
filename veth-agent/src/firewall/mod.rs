//! What filters packets in a namespace. Looked at from inside it.

mod legacy;
mod nftables;
mod sysctl;

pub use legacy::{LEGACY_TOOLS, rules as legacy_rules, tables};
pub use nftables::{base_chains, rules as nft_rules};
pub use sysctl::bridge_calls_ip;

/// Where a base chain of nftables stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// On the way to this host's own sockets.
    Input,
    /// From one interface to another.
    Forward,
    /// From this host's own sockets.
    Output,
    /// Behind routing.
    Postrouting,
    /// Of one device, at its ingress.
    Ingress,
    /// Of one device, at its egress.
    Egress,
}

/// A base chain of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `ip`, `ip6`, `inet`, `bridge`, `netdev` or another.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub hook: Hook,
    /// The devices that it is for, in the family `netdev`.
    pub devices: Vec<String>,
    /// How many rules it has.
    pub rules: u32,
    /// Handle of the first one, as `nft -a` shows it.
    pub first_rule: Option<u64>,
    /// What no rule takes is dropped.
    pub drops: bool,
}

/// A table of legacy iptables or ebtables in which something stands on the forward path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// The tool that shows it: `iptables`, `ip6tables` or `ebtables`.
    pub tool: &'static str,
    /// Its name.
    pub table: String,
    /// The first rule or policy, as the tool writes it.
    pub rule: String,
}

/// A rule that drops or rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule, so that the tool finds it.
    pub name: String,
    /// Name of its chain.
    pub chain: String,
    /// Its handle, where the tool gives it one.
    pub handle: Option<u64>,
    /// Packets that it has taken, where it counts.
    pub packets: Option<u64>,
    /// It takes every packet that comes to it.
    pub takes_all: bool,
    /// The command that removes it.
    pub remove: String,
}
