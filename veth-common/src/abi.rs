//! The version of the border itself.

/// Changes whenever a map layout, a name or a global changes its meaning. It is part of the pin
/// path, so agents of different ABIs never open each other's maps.
pub const ABI_VERSION: u32 = 3;
