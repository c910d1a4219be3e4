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
        let directory = open(pins.base())?;
        match locked(&directory, FlockOperation::LockExclusive) {
            Ok(_) => Ok(Self { _directory: directory }),
            Err(error) => Err(failed(pins.base(), error)),
        }
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
        let maps = pins.maps();
        let directory = open(&maps)?;
        match locked(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(true) => Ok(Some(Self { _directory: directory })),
            Ok(false) => Ok(None),
            Err(error) => Err(failed(&maps, error)),
        }
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
        let directory = open(pins.bpffs())?;
        match locked(&directory, FlockOperation::LockShared) {
            Ok(_) => Ok(Self { _directory: directory }),
            Err(error) => Err(failed(pins.bpffs(), error)),
        }
    }

    /// Keeps others from beginning, unless one runs.
    ///
    /// # Errors
    /// When there is no bpffs or the lock is refused.
    pub fn keep_out(pins: &Pins) -> Result<Option<Self>, DatapathError> {
        let directory = open(pins.bpffs())?;
        match locked(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(true) => Ok(Some(Self { _directory: directory })),
            Ok(false) => Ok(None),
            Err(error) => Err(failed(pins.bpffs(), error)),
        }
    }
}

fn open(path: &Path) -> Result<File, DatapathError> {
    File::open(path).map_err(|source| DatapathError::Pin { path: path.to_owned(), source })
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

fn failed(path: &Path, error: Errno) -> DatapathError {
    DatapathError::Pin { path: path.to_owned(), source: error.into() }
}
