//! Expedited RCU grace periods, on request.
//!
//! The kernel waits for a grace period under the RTNL lock for each TCX attach
//! (`tcx_link_prog_attach`, `kernel/bpf/tcx.c`): 12 to 15 ms at 250 Hz, against 0.05 ms when grace
//! periods are expedited (measured). `/sys/kernel/rcu_expedited` belongs to the whole node and costs
//! interrupts on every CPU, so it is touched only where the user says so, only while programs are
//! being attached, and the journal remembers it over a crash.

use std::fs;

use veth_common::{
    endpoint::EndKey,
    journal::{Journal, RCU_EXPEDITED},
};

use super::{AttachOptions, Lock, Maps, Pins};

const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// The journal entry that stands for the node, not for an end.
pub const NODE: EndKey = EndKey::new(0, 0);

/// Turns the switch on, where `wanted` and where it is off; says whether it did.
pub fn begin(maps: &mut Maps, wanted: bool) -> bool {
    if !wanted || !fs::read_to_string(SWITCH).is_ok_and(|value| value.trim() == "0") {
        return false;
    }
    let entry = Journal { flags: RCU_EXPEDITED, ..Journal::default() };
    let noted = maps.journal.insert(NODE, entry, 0);
    match noted.map_err(|error| error.to_string()).and_then(|()| write("1")) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("grace periods are not expedited: {error}");
            false
        }
    }
}

/// Turns the switch off where we turned it on: now, or before a crash.
pub fn end(maps: &mut Maps) {
    let ours = maps.journal.get(&NODE, 0).is_ok_and(|entry| entry.flags & RCU_EXPEDITED != 0);
    if !ours {
        return;
    }
    match write("0") {
        Ok(()) => _ = maps.journal.remove(&NODE),
        Err(error) => tracing::warn!("{error}; write 0 to it"),
    }
}

/// A hurry that lasts as long as this does, for work other than attaching.
#[derive(Debug)]
pub struct Hurry {
    pins: Pins,
    max_ends: u32,
}

impl Hurry {
    /// Begins one where the options ask for it and programs are there to go.
    #[must_use]
    pub fn during(pins: &Pins, options: AttachOptions) -> Option<Self> {
        if !options.expedite_rcu || !pins.exist() {
            return None;
        }
        let _lock = Lock::acquire(pins).ok()?;
        let mut maps = Maps::open(pins, options.max_ends).ok()?;
        begin(&mut maps, true).then(|| Self { pins: pins.clone(), max_ends: options.max_ends })
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        let lock = Lock::acquire(&self.pins);
        if let (Ok(_), Ok(mut maps)) = (lock, Maps::open(&self.pins, self.max_ends)) {
            end(&mut maps);
        }
    }
}

fn write(value: &str) -> Result<(), String> {
    fs::write(SWITCH, value).map_err(|error| format!("{SWITCH}: {error}"))
}
