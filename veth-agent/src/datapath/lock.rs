//! Two agents never change programs at the same time, there is one daemon, and who cleans up knows whether a trace
//! runs. The locks are `flock(2)` on directories, so the kernel releases them when their holder dies.

use std::{fs::File, path::Path};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{DatapathError, Pins};

/// Held while programs, links or slots are looked at and changed.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// When the pins are missing or the lock is refused.
    pub fn acquire(pins: &Pins) -> Result<Self, DatapathError> {
        let (directory, _) = lock(pins.base(), FlockOperation::LockExclusive)?;
        Ok(Self { _directory: directory })
    }
}

/// Held by the one running daemon, for as long as it runs.
#[derive(Debug)]
pub struct Daemon {
    _directory: File,
}

impl Daemon {
    /// Becomes the daemon, unless there is one.
    ///
    /// # Errors
    /// When the pins are missing or the lock is refused.
    pub fn become_it(pins: &Pins) -> Result<Option<Self>, DatapathError> {
        let (directory, given) = lock(&pins.maps(), FlockOperation::NonBlockingLockExclusive)?;
        Ok(given.then_some(Self { _directory: directory }))
    }

    /// Whether a daemon is running.
    #[must_use]
    pub fn is_running(pins: &Pins) -> bool {
        File::open(pins.maps())
            .is_ok_and(|file| locked(&file, FlockOperation::NonBlockingLockShared) == Ok(false))
    }
}

/// Held by every trace that has filters below a `clsact`, or by the one who takes those of dead traces off. It is on
/// the bpffs itself, which stays when all pins go.
#[derive(Debug)]
pub struct Traces {
    _directory: File,
}

impl Traces {
    /// Becomes one of those that run.
    ///
    /// # Errors
    /// When there is no bpffs or the lock is refused.
    pub fn join(pins: &Pins) -> Result<Self, DatapathError> {
        let (directory, _) = lock(pins.bpffs(), FlockOperation::LockShared)?;
        Ok(Self { _directory: directory })
    }

    /// Keeps others from beginning, unless one runs.
    ///
    /// # Errors
    /// When there is no bpffs or the lock is refused.
    pub fn keep_out(pins: &Pins) -> Result<Option<Self>, DatapathError> {
        let (directory, given) = lock(pins.bpffs(), FlockOperation::NonBlockingLockExclusive)?;
        Ok(given.then_some(Self { _directory: directory }))
    }
}

/// The directory, and whether its lock was given.
fn lock(path: &Path, operation: FlockOperation) -> Result<(File, bool), DatapathError> {
    let failed = |source| DatapathError::Pin { path: path.to_owned(), source };
    let directory = File::open(path).map_err(failed)?;
    let given = locked(&directory, operation).map_err(|error| failed(error.into()))?;
    Ok((directory, given))
}

/// Whether the lock was given; `false` where somebody else holds it.
fn locked(file: &File, operation: FlockOperation) -> Result<bool, Errno> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
