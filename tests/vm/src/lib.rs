//! What the two sides of a virtual machine have in common: the job that goes in, the events that
//! come out, one JSON object a line, and the runner that turns the one into the other.

mod job;
mod runner;

pub use job::{Event, Job, Outcome, Program, Suite, TestEnd, TestName};
pub use runner::{SKIPPED_VARIABLE, run};

/// Where the init process finds its job.
pub const JOB_FILE: &str = "/job.json";

/// The serial port on which the events leave; the first one is the console's.
pub const EVENT_PORT: &str = "/dev/ttyS1";
