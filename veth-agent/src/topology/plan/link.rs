//! The settings that ends and bridges have in common: addresses, MTU, MAC, up or down.

use std::net::IpAddr;

use ipnet::IpNet;

use super::PlanError;
use crate::{
    inventory::{Address, Link},
    topology::{
        action::{Action, LinkRef},
        describe,
        kernel::same_subnet,
        spec::LinkSettings,
    },
};

/// The steps for one link, by the phase that they belong to.
#[derive(Default)]
pub(super) struct Settle {
    /// Takes away what is ours and not wanted any more.
    pub(super) remove: Vec<Action>,
    /// MTU, MAC, down.
    pub(super) change: Vec<Action>,
    /// Adds addresses.
    pub(super) add: Vec<Action>,
    /// Sets the link up.
    pub(super) up: Option<Action>,
    /// Addresses that an earlier step takes away, the ones that come back included.
    pub(super) removed: Vec<IpNet>,
    /// Addresses that [`Self::add`] adds.
    pub(super) added: Vec<IpNet>,
    pub(super) conflicts: Vec<PlanError>,
    pub(super) notes: Vec<String>,
}

/// Plans the settings of a link that this plan makes, with its MTU and MAC.
pub(super) fn fresh(link: &LinkRef, wanted: &LinkSettings) -> Settle {
    Settle {
        add: add(link, &wanted.addresses),
        added: wanted.addresses.clone(),
        up: wanted.up.then(|| set_up(link, true)),
        ..Settle::default()
    }
}

/// Plans the repair of a link that is there.
pub(super) fn repair(link: &LinkRef, wanted: &LinkSettings, seen: &Link) -> Settle {
    let mut settle = Settle { conflicts: conflicts(link, wanted, seen), ..Settle::default() };
    settle.removed = removals(link, wanted, seen, &mut settle.notes);
    let missing = |address: &&IpNet| {
        settle.removed.contains(address) || !seen.addresses.iter().any(|a| a.net == **address)
    };
    settle.added = wanted.addresses.iter().filter(missing).copied().collect();
    settle.add = add(link, &settle.added);
    settle.remove = remove(link, &settle.removed);
    settle.change = changes(link, wanted, seen);
    settle.up = (wanted.up && !seen.admin_up).then(|| set_up(link, true));
    settle
}

/// Takes the addresses in `unwanted` off a link that otherwise stays as it is.
pub(super) fn take_off(link: &LinkRef, unwanted: &[IpNet], seen: &Link) -> Settle {
    let stays = |address: &&Address| !(address.ours && unwanted.contains(&address.net));
    let wanted = LinkSettings {
        addresses: seen.addresses.iter().filter(stays).map(|address| address.net).collect(),
        mtu: None,
        mac: None,
        up: seen.admin_up,
    };
    repair(link, &wanted, seen)
}

fn changes(link: &LinkRef, wanted: &LinkSettings, seen: &Link) -> Vec<Action> {
    let link = || link.clone();
    let mtu = wanted.mtu.filter(|mtu| mtu.bytes() != seen.mtu);
    let mac = wanted.mac.filter(|mac| Some(*mac) != seen.mac);
    let down = !wanted.up && seen.admin_up;
    let mtu = mtu.map(|mtu| Action::SetMtu { link: link(), mtu });
    let mac = mac.map(|mac| Action::SetMac { link: link(), mac });
    let down = down.then(|| Action::SetUp { link: link(), up: false });
    [mtu, mac, down].into_iter().flatten().collect()
}

fn add(link: &LinkRef, addresses: &[IpNet]) -> Vec<Action> {
    let step = |address: &IpNet| Action::AddAddress { link: link.clone(), address: *address };
    addresses.iter().map(step).collect()
}

/// Last come, first gone: a secondary address before the primary one that would take it along.
fn remove(link: &LinkRef, addresses: &[IpNet]) -> Vec<Action> {
    let step = |address: &IpNet| Action::RemoveAddress { link: link.clone(), address: *address };
    addresses.iter().rev().map(step).collect()
}

fn set_up(link: &LinkRef, up: bool) -> Action {
    Action::SetUp { link: link.clone(), up }
}

/// What must go, in the kernel's order: what is ours and not wanted, and what would go with it or
/// with the link's going down, to be added again.
fn removals(
    link: &LinkRef,
    wanted: &LinkSettings,
    seen: &Link,
    notes: &mut Vec<String>,
) -> Vec<IpNet> {
    let is_wanted = |address: &Address| wanted.addresses.contains(&address.net);
    let unwanted = |address: &Address| address.ours && !is_wanted(address);
    let goes_down = seen.admin_up && !wanted.up;
    let mut removals = Vec::new();
    for (nth, address) in seen.addresses.iter().enumerate() {
        let (before, from_here) = seen.addresses.split_at(nth);
        let in_subnet = |other: &&Address| same_subnet(address.net, other.net);
        let primary = before.iter().find(in_subnet);
        let goes_with_primary = primary.is_some_and(|primary| removals.contains(&primary.net));
        let foreign = from_here
            .iter()
            .skip(1)
            .filter(in_subnet)
            .find(|other| !other.ours && !is_wanted(other))
            .filter(|_| primary.is_none());
        if let (true, Some(foreign)) = (unwanted(address), foreign) {
            notes.push(format!(
                "{}: {} stays, since {}, which veth-agent did not set, would go with it",
                describe::link(link),
                address.net,
                foreign.net
            ));
            continue;
        }
        // Going down takes IPv6 addresses off, or not (`keep_addr_on_down`).
        let refreshed = is_wanted(address)
            && (goes_with_primary || (goes_down && matches!(address.net, IpNet::V6(_))));
        if unwanted(address) || refreshed {
            removals.push(address.net);
        }
    }
    removals
}

/// IPv6 has an address once on a link, whatever its prefix length.
fn conflicts(link: &LinkRef, wanted: &LinkSettings, seen: &Link) -> Vec<PlanError> {
    let other_prefix = |address: &IpNet| {
        let there = seen.addresses.iter().find(|there| {
            !there.ours && there.net != *address && there.net.addr() == address.addr()
        })?;
        Some(PlanError::Conflict(format!(
            "{link}: address {} is there and was not set by veth-agent; remove it, or write that \
             prefix length",
            there.net
        )))
    };
    let ipv6 = wanted.addresses.iter().filter(|address| matches!(address.addr(), IpAddr::V6(_)));
    ipv6.filter_map(other_prefix).collect()
}
