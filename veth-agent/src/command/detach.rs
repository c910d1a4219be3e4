//! `veth-agent detach`.

use std::collections::BTreeSet;

use super::{Failure, existing_maps, privileged};
use crate::{
    cli::DetachArgs,
    datapath::{self, AttachError, Daemon, Pins},
    inventory::{self, Depth, Snapshot},
    types::EndId,
};

/// Takes programs off.
pub fn detach(pins: &Pins, args: &DetachArgs) -> Result<(), Failure> {
    privileged("detach")?;
    let snapshot = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let ends = args.name.as_deref().map(|name| ends_of(&snapshot, name)).transpose()?;
    if !pins.exist() {
        // Nothing was ever attached, or all of it has been taken off.
        return Ok(());
    }
    if Daemon::is_running(pins) {
        return Err(Failure::failed(
            "a `veth-agent run` is at work on this node and would attach again; stop it first",
        ));
    }
    let errors = match ends {
        Some(ends) => {
            let mut maps = existing_maps(pins).map_err(Failure::failed)?;
            datapath::detach_ends(pins, &mut maps, &snapshot, &ends)
        }
        None => datapath::remove_everything(pins, &snapshot),
    };
    report(&errors.map_err(Failure::failed)?)
}

/// The ends of the pair called `name`, else those in the namespace called so.
fn ends_of(snapshot: &Snapshot, name: &str) -> Result<BTreeSet<EndId>, Failure> {
    let of_pair: BTreeSet<_> = snapshot
        .pairs()
        .iter()
        .filter(|pair| pair.name == name)
        .flat_map(inventory::Pair::ends)
        .collect();
    if !of_pair.is_empty() {
        return Ok(of_pair);
    }
    let netns = snapshot.namespaces.values().find(|netns| netns.label(snapshot.host) == name);
    match netns {
        Some(netns) => Ok(snapshot.ends().filter(|end| end.netns == netns.cookie).collect()),
        None => Err(Failure::Invalid(vec![format!(
            "no pair and no namespace is called {name:?}; `veth-agent list` shows their names"
        )])),
    }
}

fn report(errors: &[AttachError]) -> Result<(), Failure> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(errors.iter().map(|error| format!("left attached: {error}")).collect()))
}
