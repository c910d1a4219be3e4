#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail so")]

mod adopt;
mod build;
mod conflicts;
mod kernel;
mod random;
mod remove;
