//! Somebody ends a trace, by a signal.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use procfs::process::Process;
use rustix::process::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

/// Signals within this time are one: `timeout` sends its own to the process, and then to its group.
const ONE: Duration = Duration::from_millis(100);

/// Whether somebody has asked for the end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Asked for by SIGINT, SIGTERM, and SIGHUP where that is not ignored, as `nohup` has it. A second one ends
    /// the process at once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn by_signal() -> io::Result<Self> {
        let stop = Self::default();
        let again = Arc::new(AtomicBool::new(false));
        let (first, heard) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(signal) {
                continue;
            }
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
            flag::register_usize(
                signal,
                Arc::clone(&stop.0),
                usize::try_from(signal).unwrap_or(0),
            )?;
            low_level::pipe::register(signal, heard.try_clone()?)?;
        }
        thread::Builder::new().spawn(move || {
            if (&first).read_exact(&mut [0]).is_ok() {
                thread::sleep(ONE);
                again.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(stop)
    }

    /// As a signal does.
    #[cfg(test)]
    pub(super) fn ask(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// By which signal.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().and_then(Signal::from_named_raw)
    }
}

/// Whether whoever started the process wants it to ignore a signal.
fn is_ignored(signal: i32) -> bool {
    let status = Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & (1 << (signal - 1)) != 0)
}
