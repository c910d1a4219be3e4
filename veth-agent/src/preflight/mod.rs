//! What the running kernel offers: asked of the kernel itself, once, and never guessed from its
//! version.

mod feature;
mod markdown;
mod probe;
mod version;

pub use feature::{Facts, Feature, MissingFeature, State};
pub use markdown::markdown;
pub use version::{KernelVersion, release};
