//! What hears of the packets that the kernel frees, once per node.
//!
//! Two halves: a program that is attached and stays, pinned with its link, and one that counts, in a place
//! of a program array. Another build's counting program comes into that place in one step, so an upgrade
//! counts no packet twice and misses none, and a restart finds everything as it was.

use std::collections::BTreeSet;

use rustix::thread::{MembarrierCommand, membarrier};
use thiserror::Error;
use veth_common::{
    drops::{DropKey, DropProgram, Field, SKB_BYTES},
    endpoint::EndKey,
    names,
    trace::NormalEnd,
};

use super::{
    DatapathError, Lock, Maps, Pins,
    objects::{self, DropSettings, DropsObject, Offsets},
};
use crate::{
    btf::{Btf, BtfError},
    preflight::{Feature, MissingFeature},
    types::{EndId, IfIndex, NetnsCookie},
};

/// Why drops are not counted.
#[derive(Debug, Error)]
pub enum DropsError {
    /// The kernel has no reasons.
    #[error(transparent)]
    Missing(#[from] MissingFeature),
    /// The kernel's types are not described.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// Programs or pins.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// How well drops are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropsStart {
    /// Members of the kernel's structures that were not found: what they would tell is not used.
    pub unknown: Vec<String>,
    /// Losses of XDP that are not heard of, and why.
    pub unheard: Vec<String>,
}

/// Lets the drops of this node be counted, by the programs of this build.
///
/// # Errors
/// Why they are not; nothing else depends on it.
pub fn count_drops(pins: &Pins, maps: &mut Maps) -> Result<DropsStart, DropsError> {
    Feature::DropReasons.require()?;
    let offsets = kernel_offsets(&Btf::of_kernel()?);
    let _lock = Lock::acquire(pins)?;
    let mut object = DropsObject::load(pins, &offsets)?;
    let unknown = Field::COUNTED.iter().filter(|field| !offsets.contains_key(field));
    let unknown = unknown.map(|field| {
        let facts = field.facts();
        format!("{}.{}", facts.structure, facts.member)
    });
    let mut start = DropsStart { unknown: unknown.collect(), unheard: Vec::new() };
    for program in DropProgram::ALL {
        match count_by(pins, maps, &mut object, program) {
            Err(error) if program != DropProgram::Packets => start.unheard.push(error.to_string()),
            other => other?,
        }
    }
    Ok(start)
}

fn count_by(
    pins: &Pins,
    maps: &mut Maps,
    object: &mut DropsObject,
    program: DropProgram,
) -> Result<(), DatapathError> {
    // First what counts: from the moment that the other is attached, nothing is missed.
    object.count_by(maps, program)?;
    let link = pins.drops_link(program);
    if link.exists() {
        return Ok(());
    }
    object.attach(program, &pins.drops_program(program), &link)
}

/// Why drops are not counted; `None` where they are. Tries to, for a moment, where nobody has begun it.
#[must_use]
pub fn why_no_drops(pins: &Pins) -> Option<String> {
    match pins.drops_link(DropProgram::Packets).try_exists() {
        Ok(true) => return None,
        Ok(false) => {}
        Err(error) => return Some(format!("cannot be seen: {error}; run it as root")),
    }
    let tried = || -> Result<(), DropsError> {
        Feature::DropReasons.require()?;
        let mut object = DropsObject::load_apart()?;
        Ok(object.attach_for_now(DropProgram::Packets).map(drop)?)
    };
    Some(match tried() {
        Ok(()) => "no `veth-agent run` has been started on this node".to_owned(),
        Err(error) => error.to_string(),
    })
}

/// What it takes for a trace to see what is dropped at those of these places that are watched; `normal` are the
/// ends of lives that are not drops.
///
/// # Errors
/// Why it cannot.
pub fn drop_settings(
    places: impl Iterator<Item = (EndId, bool)>,
    normal: Vec<NormalEnd>,
) -> Result<DropSettings, DropsError> {
    Feature::DropReasons.require()?;
    let places = places.map(|(place, watched)| (EndKey::from(place), watched)).collect();
    Ok(DropSettings { normal, places })
}

/// Where the kernel keeps what the programs read, as far as they can.
#[must_use]
pub fn kernel_offsets(btf: &Btf) -> Offsets {
    let offset = |field: Field| {
        let facts = field.facts();
        let found = btf.member(facts.structure, facts.member)?;
        let end = u64::from(found.offset) + u64::from(found.bytes);
        let readable = found.bytes == facts.bytes
            && found.offset.is_multiple_of(facts.bytes.clamp(1, 8))
            && (facts.structure != "sk_buff" || end <= SKB_BYTES);
        readable.then_some((field, found.offset))
    };
    Field::ALL.into_iter().filter_map(offset).collect()
}

/// Events that nobody heard of, because the same CPU was hearing of another.
///
/// # Errors
/// When the kernel does not say.
pub fn missed_drops(pins: &Pins) -> Result<u64, DatapathError> {
    let missed =
        DropProgram::ALL.map(|program| objects::missed_drops(&pins.drops_program(program)));
    missed.into_iter().sum()
}

/// Ends the counts of ends that have no slot any more.
///
/// # Errors
/// When the map cannot be changed.
pub fn forget_drops(maps: &mut Maps, ends: &BTreeSet<EndId>) -> Result<(), DatapathError> {
    if ends.is_empty() {
        return Ok(());
    }
    // A program that has found the end before it went would begin the count anew.
    // Where CPUs are kept free of the kernel there is no such barrier, and time must do.
    let _ = membarrier(MembarrierCommand::Global);
    let is_theirs = |key: &DropKey| {
        let (netns, ifindex) = (NetnsCookie(key.netns_cookie), IfIndex(key.ifindex));
        ends.contains(&EndId { netns, ifindex })
    };
    let theirs: Vec<_> = maps.drop_counts.keys().filter_map(Result::ok).filter(is_theirs).collect();
    for key in theirs {
        maps.drop_counts.remove(&key).map_err(|error| DatapathError::Map {
            name: names::MAP_DROP_COUNTS,
            source: Box::new(error),
        })?;
    }
    Ok(())
}
