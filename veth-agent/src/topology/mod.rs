//! From a topology file to actions: [`model`] is the file as it is written, [`validate`] turns it
//! into a checked [`spec::Topology`], [`plan`] compares that with what is there, `execute` carries
//! the difference out and can undo it.

pub mod action;
mod describe;
mod kernel;
pub mod model;
pub mod plan;
pub mod read;
pub mod spec;
pub mod validate;
