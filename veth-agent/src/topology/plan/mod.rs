//! The difference between what is wanted and what is there, as a list of steps. Pure functions:
//! nothing here asks or changes the kernel.

mod apply;
mod delete;
mod link;
mod pair;
mod route;
#[cfg(test)]
mod tests;
mod view;

use thiserror::Error;

pub use self::{apply::apply, delete::delete};
use super::action::Action;

/// What is to be done, in this order, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps. None where nothing differs.
    pub actions: Vec<Action>,
    /// What is left as it is on purpose, one line each.
    pub notes: Vec<String>,
    /// What cannot be removed, with the reason and the mend, one line each. It does not keep the
    /// steps from being taken.
    pub left: Vec<String>,
}

/// Why there is no plan, in one line that names the thing and the mend.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The file refers to something that it does not declare and that is not there.
    #[error("{0}")]
    Invalid(String),
    /// Something that is there is in the way.
    #[error("{0}")]
    Conflict(String),
}

/// Lines, each of which is said once.
#[derive(Debug)]
struct Once<T>(Vec<T>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Once<T> {
    fn push(&mut self, line: T) {
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }
}
