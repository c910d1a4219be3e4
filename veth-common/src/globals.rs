//! Read-only globals that the agent sets when it loads an object. The verifier treats them as
//! constants.

/// `u64`: cookie of the network namespace that this instance of the object serves.
pub const NETNS_COOKIE: &str = "NETNS_COOKIE";

/// `u32`: bytes of a frame that a trace captures, at the most.
pub const SNAPLEN: &str = "SNAPLEN";

/// `u32`: whether a trace records only as many packets as it has places for.
pub const LIMITED: &str = "LIMITED";

/// `u32`: how far into a frame the filter of a trace may look, in bytes; 0 where there is none.
pub const FILTER_REACH: &str = "FILTER_REACH";

/// `u32`: whether a trace looks for the process that sends.
pub const PROCESSES: &str = "PROCESSES";
