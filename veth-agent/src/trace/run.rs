//! The loop of a trace: from the rings to the output, until something ends it.

use std::{
    io::{self, ErrorKind, Write as _},
    os::fd::OwnedFd,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use rustix::event::{PollFd, PollFlags, Timespec};
use thiserror::Error;
use veth_common::trace::Seen;

use super::{
    Describe, Outlet, Printer, Session, Sighting, Stop,
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
    /// Somebody says so.
    pub stop: Stop,
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
    /// What the output did not take when the trace was to end.
    pub untaken: u64,
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
        /// Printed, lost, unread or not taken.
        accounted: u64,
    },
}

impl Totals {
    /// Every packet that matched was printed, or counted as lost.
    ///
    /// # Errors
    /// When the counts disagree.
    pub const fn check(&self) -> Result<(), TraceError> {
        let missed = self.unread + self.untaken + self.seen.lost;
        let (matched, accounted) = (self.seen.matched, self.printed + missed);
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
    out: &mut Outlet,
    until: &mut Until,
) -> Result<Totals, TraceError> {
    let follower = follow.then(|| Follower::new(session.cables(), printer.order()));
    let totals = Totals::default();
    let mut output = Output { describe, follower, printer, out, totals, closed: None };
    output.begin(session)?;
    let mut came = 0;
    loop {
        let ends = until.reached().map_err(TraceError::Child)?;
        let captured = session.poll();
        let idle = captured.is_empty();
        came += captured.len() as u64;
        let enough = until.count.is_some_and(|count| came >= u64::from(count));
        output.take(session, captured)?;
        if ends || enough || output.closed.is_some() || session.is_over() {
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
        Ok(self.is_over() || self.pipe.as_ref().is_some_and(unread))
    }

    /// Whether its time is over, or somebody has said so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline) || self.stop.is_asked()
    }
}

/// Whether a pipe has lost its reader, which without this a writer learns from its next packet only.
fn unread(pipe: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec::default();
    rustix::event::poll(&mut asked, Some(&now)).is_ok()
        && asked[0].revents().contains(PollFlags::ERR)
}

struct Output<'a> {
    describe: &'a mut Describe,
    follower: Option<Follower>,
    printer: &'a mut Printer,
    out: &'a mut Outlet,
    totals: Totals,
    closed: Option<Closed>,
}

/// Why nothing is written any more.
#[derive(Clone, Copy, Debug)]
enum Closed {
    Unread,
    Untaken,
}

impl Output<'_> {
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
        if let Some(closed) = self.closed {
            *self.missed(closed) += 1;
            return Ok(());
        }
        let (printer, out) = (&mut *self.printer, &mut *self.out);
        let print = |sighting: &Sighting<'_>| printer.print(sighting, out);
        let shown = self.describe.with(session, captured, step, print);
        let counted = match self.note(shown)? {
            None => &mut self.totals.printed,
            Some(closed) => self.missed(closed),
        };
        *counted += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TraceError> {
        if self.closed.is_some() {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.note(flushed).map(drop)
    }

    /// Whether it was not written; that nobody reads, any more or yet, is no failure. What waited for it is not
    /// written, either.
    fn note(&mut self, written: io::Result<()>) -> Result<Option<Closed>, TraceError> {
        let closed = match written {
            Ok(()) => return Ok(None),
            Err(_) if self.out.has_given_up() => Closed::Untaken,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Closed::Unread,
            Err(error) => return Err(TraceError::Output(error)),
        };
        self.closed = Some(closed);
        let waited = self.out.pending().min(self.totals.printed);
        self.totals.printed -= waited;
        *self.missed(closed) += waited;
        Ok(self.closed)
    }

    const fn missed(&mut self, closed: Closed) -> &mut u64 {
        match closed {
            Closed::Unread => &mut self.totals.unread,
            Closed::Untaken => &mut self.totals.untaken,
        }
    }
}
