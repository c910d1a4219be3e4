//! The loop of a trace: from the rings to the output, until something ends it.

use std::{
    io::{self, ErrorKind, Write},
    os::fd::OwnedFd,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use rustix::event::{PollFd, PollFlags, Timespec};
use thiserror::Error;
use veth_common::trace::Seen;

use super::{
    Describe, Printer, Session, Sighting,
    describe::Step,
    follow::{Follower, Hop},
};
use crate::collect::{self, Captured};

/// How often to look where nothing comes.
const PAUSE: Duration = Duration::from_millis(5);

/// What ends a trace.
#[derive(Debug, Default)]
pub struct Until {
    /// So many packets. The kernel tells only of one more that has come in vain.
    pub count: Option<u32>,
    /// A moment.
    pub deadline: Option<Instant>,
    /// A process.
    pub child: Option<Child>,
    /// Somebody said so.
    pub stopped: Arc<AtomicBool>,
    /// Nobody reads this pipe any more.
    pub pipe: Option<OwnedFd>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What the kernel counted.
    pub seen: Seen,
    /// What was written.
    pub printed: u64,
    /// What came after nobody read any more.
    pub unread: u64,
}

/// Why a trace broke off.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The output cannot be written.
    #[error("{0}")]
    Output(io::Error),
    /// What was counted cannot be read.
    #[error("the counts of the trace cannot be read: {0}")]
    Counts(#[from] MapError),
    /// The child cannot be waited for.
    #[error("the command cannot be waited for: {0}")]
    Child(io::Error),
    /// The kernel matched another number than arrived.
    #[error(
        "{matched} packets matched, but {accounted} were accounted for; this is a mistake in veth-agent, please report it"
    )]
    Disagree {
        /// By the kernel's count.
        matched: u64,
        /// Printed, lost or unread.
        accounted: u64,
    },
}

impl Totals {
    /// Every packet that matched was printed, or counted as lost.
    ///
    /// # Errors
    /// When the counts disagree.
    pub const fn check(&self) -> Result<(), TraceError> {
        let (matched, accounted) = (self.seen.matched, self.printed + self.unread + self.seen.lost);
        if matched == accounted { Ok(()) } else { Err(TraceError::Disagree { matched, accounted }) }
    }
}

/// Shows packets until something ends it, and takes the programs off.
///
/// # Errors
/// When the output fails for another reason than that nobody reads it; the programs are off then, too.
pub fn run(
    session: &mut Session,
    describe: &mut Describe,
    follow: bool,
    printer: &mut Printer,
    out: &mut impl Write,
    until: &mut Until,
) -> Result<Totals, TraceError> {
    let follower = follow.then(|| Follower::new(session.cables(), printer.order()));
    let totals = Totals::default();
    let mut output = Output { describe, follower, printer, out, totals, closed: false };
    output.begin(session)?;
    let mut came = 0;
    loop {
        let ends = until.reached().map_err(TraceError::Child)?;
        let captured = session.poll();
        let idle = captured.is_empty();
        came += captured.len() as u64;
        let enough = until.count.is_some_and(|count| came >= u64::from(count));
        output.take(session, captured)?;
        if ends || enough || output.closed || session.is_over() {
            break;
        }
        if idle {
            thread::sleep(PAUSE);
        }
    }
    let (left, seen) = session.stop()?;
    output.take(session, left)?;
    output.finish(session)?;
    output.totals.seen = seen;
    Ok(output.totals)
}

impl Until {
    fn reached(&mut self) -> io::Result<bool> {
        if let Some(child) = &mut self.child
            && child.try_wait()?.is_some()
        {
            return Ok(true);
        }
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        Ok(over || self.stopped.load(Ordering::Relaxed) || self.pipe.as_ref().is_some_and(unread))
    }
}

/// Whether a pipe has lost its reader, which without this a writer learns from its next packet only.
fn unread(pipe: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec::default();
    rustix::event::poll(&mut asked, Some(&now)).is_ok()
        && asked[0].revents().contains(PollFlags::ERR)
}

struct Output<'a, W> {
    describe: &'a mut Describe,
    follower: Option<Follower>,
    printer: &'a mut Printer,
    out: &'a mut W,
    totals: Totals,
    closed: bool,
}

impl<W: Write> Output<'_, W> {
    fn begin(&mut self, session: &Session) -> Result<(), TraceError> {
        let begun = self.printer.begin(session.watched(), self.out).and_then(|()| self.out.flush());
        self.note(begun).map(drop)
    }

    /// Shows what has come, or keeps it until its packet has arrived.
    fn take(&mut self, session: &Session, captured: Vec<Captured>) -> Result<(), TraceError> {
        let Some(follower) = &mut self.follower else {
            let came = !captured.is_empty();
            for captured in &captured {
                self.show(session, captured, Step::default())?;
            }
            return if came { self.flush() } else { Ok(()) };
        };
        captured.into_iter().for_each(|captured| follower.add(captured));
        let arrived = follower.arrived(collect::monotonic());
        self.hops(session, arrived)
    }

    fn finish(&mut self, session: &Session) -> Result<(), TraceError> {
        let left = self.follower.as_mut().map(Follower::finish).unwrap_or_default();
        self.hops(session, left)
    }

    fn hops(&mut self, session: &Session, hops: Vec<Hop>) -> Result<(), TraceError> {
        if hops.is_empty() {
            return Ok(());
        }
        for Hop { packet, captured, since, verdict } in hops {
            let step = Step { packet_id: Some(packet), since, verdict };
            self.show(session, &captured, step)?;
        }
        self.flush()
    }

    fn show(
        &mut self,
        session: &Session,
        captured: &Captured,
        step: Step,
    ) -> Result<(), TraceError> {
        if self.closed {
            self.totals.unread += 1;
            return Ok(());
        }
        let (printer, out) = (&mut *self.printer, &mut *self.out);
        let print = |sighting: &Sighting<'_>| printer.print(sighting, out);
        let shown = self.describe.with(session, captured, step, print);
        let counted =
            if self.note(shown)? { &mut self.totals.printed } else { &mut self.totals.unread };
        *counted += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TraceError> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.note(flushed).map(drop)
    }

    /// Whether it was written; that nobody reads any more is no failure.
    fn note(&mut self, written: io::Result<()>) -> Result<bool, TraceError> {
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(false)
            }
            Err(error) => Err(TraceError::Output(error)),
        }
    }
}
