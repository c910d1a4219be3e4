//! Read-only globals that the agent sets when it loads an object. The verifier treats them as
//! constants.

/// `u64`: cookie of the network namespace that this instance of the object serves.
pub const NETNS_COOKIE: &str = "NETNS_COOKIE";
