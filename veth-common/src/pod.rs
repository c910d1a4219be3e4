//! The only place that declares types fit to be copied as bytes.

use core::mem::{align_of, offset_of, size_of};

use aya::Pod;

use crate::{
    config::EndConfig,
    counters::{Counters, EndCounters},
    drops::{DropCount, DropKey},
    endpoint::{EndKey, EndSlot},
    fastpath::{Endpoint, EndpointKey, Fallbacks},
    journal::Journal,
    ledger::Base,
    mtu::{AddressKey, MtuCounters},
    trace::{Event, NormalEnd, Seen},
};

const _: () = {
    assert!(size_of::<Counters>() == 24 && align_of::<Counters>() == 8);
    assert!(size_of::<EndCounters>() == 72 && offset_of!(EndCounters, tx) == 24);
    assert!(size_of::<DropKey>() == 24 && offset_of!(DropKey, reason) == 20);
    assert!(size_of::<DropCount>() == 16);
    assert!(size_of::<EndKey>() == 16 && offset_of!(EndKey, padding) == 12);
    assert!(size_of::<EndSlot>() == 8);
    assert!(size_of::<EndpointKey>() == 24 && offset_of!(EndpointKey, address) == 8);
    assert!(size_of::<Endpoint>() == 32 && offset_of!(Endpoint, near_mac) == 26);
    assert!(size_of::<Fallbacks>() == 128);
    assert!(size_of::<Base>() == 24 && offset_of!(Base, segments) == 16);
    assert!(size_of::<Journal>() == 8 && offset_of!(Journal, egress_priority) == 6);
    assert!(size_of::<EndConfig>() == 12 && offset_of!(EndConfig, limits) == 4);
    assert!(size_of::<MtuCounters>() == 96);
    assert!(size_of::<Event>() == 88 && offset_of!(Event, kind) == 80);
    assert!(size_of::<Seen>() == 24);
    assert!(size_of::<NormalEnd>() == 24 && offset_of!(NormalEnd, only_to_groups) == 20);
    assert!(size_of::<AddressKey>() == 24 && offset_of!(AddressKey, address) == 8);
};

// SAFETY: `repr(C)` integers whose sizes, asserted above, leave no padding; every bit pattern is a
// value.
unsafe impl Pod for Counters {}
// SAFETY: as above.
unsafe impl Pod for EndCounters {}
// SAFETY: as above.
unsafe impl Pod for DropKey {}
// SAFETY: as above.
unsafe impl Pod for DropCount {}
// SAFETY: as above.
unsafe impl Pod for EndKey {}
// SAFETY: as above.
unsafe impl Pod for EndSlot {}
// SAFETY: as above.
unsafe impl Pod for EndpointKey {}
// SAFETY: as above.
unsafe impl Pod for Endpoint {}
// SAFETY: as above.
unsafe impl Pod for Fallbacks {}
// SAFETY: as above.
unsafe impl Pod for Journal {}
// SAFETY: as above.
unsafe impl Pod for EndConfig {}
// SAFETY: as above.
unsafe impl Pod for MtuCounters {}
// SAFETY: as above.
unsafe impl Pod for AddressKey {}
// SAFETY: as above.
unsafe impl Pod for Base {}
// SAFETY: as above.
unsafe impl Pod for Event {}
// SAFETY: as above.
unsafe impl Pod for Seen {}
// SAFETY: as above.
unsafe impl Pod for NormalEnd {}
