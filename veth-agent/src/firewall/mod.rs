//! What filters packets in a namespace. Looked at from inside it.

mod legacy;
mod nftables;
mod reach;
mod rules;
mod sysctl;
mod words;

use std::collections::BTreeSet;

pub use legacy::{LEGACY_TOOLS, rules as legacy_rules, tables};
pub use nftables::base_chains;
pub use rules::rules as nft_rules;
pub use sysctl::bridge_calls_ip;
pub use words::takes as nft_takes;

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
    /// Packets that no rule has taken, where it counts them.
    pub packets: Option<u64>,
}

/// Where packets come to a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As of the base chain.
    pub family: &'static str,
    /// Where the base chain stands.
    pub hook: Hook,
    /// The devices that it is for.
    pub devices: Vec<String>,
}

impl Place {
    /// Of a base chain.
    #[must_use]
    pub fn of(chain: &Chain) -> Self {
        Self { family: chain.family, hook: chain.hook, devices: chain.devices.clone() }
    }
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

/// A rule that drops or rejects, or the policy of a chain that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule, so that the tool finds it.
    pub name: String,
    /// Its chain, in the same way.
    pub place: String,
    /// By which base chains packets come to it.
    pub met: BTreeSet<Place>,
    /// Its handle, where the tool gives it one.
    pub handle: Option<u64>,
    /// Packets that it has taken, where it counts.
    pub packets: Option<u64>,
    /// It takes every packet that comes to it.
    pub takes_all: bool,
    /// The command that removes it. A policy has none, nor a rule that does more than drop.
    pub remove: Option<String>,
}

impl Rule {
    /// It is a rule, not the policy of a chain.
    #[must_use]
    pub const fn is_rule(&self) -> bool {
        self.remove.is_some()
    }
}
