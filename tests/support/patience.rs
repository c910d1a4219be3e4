//! What to expect of machines slower than most.

use std::{sync::OnceLock, time::Duration};

/// How many times as slow as a real machine this one is: `VETH_TESTS_PATIENCE`, given for emulated
/// processors.
fn factor() -> u32 {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let given = || std::env::var("VETH_TESTS_PATIENCE").ok().and_then(|factor| factor.parse().ok());
    *FACTOR.get_or_init(|| given().unwrap_or(1))
}

/// A limit for a real machine, longer on a slow one.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    limit * factor()
}

/// How much traffic a test sends: so much on a real machine, less on a slow one.
#[must_use]
pub fn bearable(amount: u64) -> u64 {
    amount / u64::from(factor())
}

/// Whether this machine is emulated: its image has not all that a real one has.
#[must_use]
pub fn is_emulated() -> bool {
    let second = Duration::from_secs(1);
    patient(second) > second
}
