//! Where packets go: a file, which takes them at once, or whatever else, which may take its time.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, OFlags, major, minor},
    io::Errno,
};

use super::Stop;

/// `PIPE_BUF`: a pipe takes so many bytes whole or not at all.
const PIPE_BUF: usize = 4096;

/// How much goes into a file at a time.
const BUFFER: usize = 64 << 10;

/// How often to look whether there is room, or a reader.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the reader may keep what is left waiting, once the trace is to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// Takes the output of a trace.
#[derive(Debug)]
pub enum Outlet {
    /// A file, or `/dev/null`.
    File(BufWriter<File>),
    /// A pipe, terminal, socket or device.
    Patient(Patient),
    /// A named pipe that nobody has opened to read.
    Nobody,
}

/// Writes as soon as there is room, and never blocks: a reader that does not read cannot keep a trace alive.
#[derive(Debug)]
pub struct Patient {
    file: File,
    pending: Vec<u8>,
    records: VecDeque<usize>,
    stop: Stop,
    given_up: bool,
}

impl Outlet {
    /// Standard output.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub fn stdout(stop: &Stop) -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?.into(), stop)
    }

    /// A file, which is emptied, or made; a named pipe once it has a reader, or when `over` says that there is no
    /// use in waiting.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, stop: &Stop, over: impl Fn() -> bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        options.write(true).create(true).truncate(true).custom_flags(flags);
        loop {
            match options.open(path) {
                Err(error) if is_unread(path, &error) => {}
                opened => return Self::new(opened?, stop),
            }
            if over() {
                return Ok(Self::Nobody);
            }
            thread::sleep(PAUSE);
        }
    }

    fn new(file: File, stop: &Stop) -> io::Result<Self> {
        if takes_all(&file)? {
            return Ok(Self::File(BufWriter::with_capacity(BUFFER, file)));
        }
        let (pending, records) = (Vec::with_capacity(PIPE_BUF), VecDeque::new());
        let file = unblocking(file);
        Ok(Self::Patient(Patient { file, pending, records, stop: stop.clone(), given_up: false }))
    }

    /// How to learn that its reader has left, where it has one.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub fn reader(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Patient(patient) => patient.file.as_fd().try_clone_to_owned().map(Some),
            Self::File(_) | Self::Nobody => Ok(None),
        }
    }

    /// How many of the records that were written have not gone on.
    #[must_use]
    pub fn pending(&self) -> u64 {
        match self {
            Self::Patient(patient) => patient.records.len() as u64,
            Self::File(_) | Self::Nobody => 0,
        }
    }

    /// Whether it takes no more, because the reader did not read when the trace was to end.
    #[must_use]
    pub const fn has_given_up(&self) -> bool {
        match self {
            Self::Patient(patient) => patient.given_up,
            Self::File(_) => false,
            Self::Nobody => true,
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(record),
            Self::Patient(patient) => patient.write(record),
            Self::Nobody => Err(ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Patient(patient) => patient.flush(),
            Self::Nobody => Ok(()),
        }
    }
}

impl Write for Patient {
    /// Takes a whole record. As many as a pipe takes whole go on together, so that none is left half-written.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if self.pending.len() + record.len() > PIPE_BUF {
            self.flush()?;
        }
        self.pending.extend_from_slice(record);
        self.records.push_back(record.len());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let taken = self.push()?;
            self.has_taken(taken);
        }
        Ok(())
    }
}

impl Patient {
    /// Writes something, once there is room.
    fn push(&mut self) -> io::Result<usize> {
        let mut asked = None;
        loop {
            if self.has_room()? {
                let most = self.pending.len().min(PIPE_BUF);
                match self.file.write(&self.pending[..most]) {
                    // Another writer was faster.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    done => return done,
                }
            }
            if self.stop.is_asked() && asked.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
            {
                self.given_up = true;
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    fn has_room(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(PAUSE.subsec_nanos()) };
        match rustix::event::poll(&mut asked, Some(&pause)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn has_taken(&mut self, bytes: usize) {
        self.pending.drain(..bytes);
        let mut left = bytes;
        while let Some(first) = self.records.front_mut() {
            if *first > left {
                *first -= left;
                return;
            }
            left -= *first;
            self.records.pop_front();
        }
    }
}

/// Whether this is a named pipe that nobody reads.
fn is_unread(path: &Path, error: &io::Error) -> bool {
    let is_pipe = || path.metadata().is_ok_and(|it| it.file_type().is_fifo());
    error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_pipe()
}

/// Whether a write never waits for a reader.
fn takes_all(file: &File) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    let is_null = (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => true,
        FileType::CharacterDevice => is_null,
        _ => false,
    })
}

/// The same by a description of our own: whether writes block is for those to decide who share the other.
/// A socket, which has none but that, says that there is room while it takes a whole `PIPE_BUF`.
fn unblocking(file: File) -> File {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(own).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail so")]

    use std::io::Read as _;

    use super::*;

    fn pipe(stop: &Stop) -> (io::PipeReader, Outlet) {
        let (read, write) = io::pipe().unwrap();
        (read, Outlet::new(OwnedFd::from(write).into(), stop).unwrap())
    }

    #[test]
    fn what_a_reader_takes_arrives_whole_and_in_order() {
        let (mut read, mut outlet) = pipe(&Stop::default());
        let records: Vec<Vec<u8>> = (1..=60_u8).map(|it| vec![it; 257 * usize::from(it)]).collect();
        let wanted = records.concat();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            read.read_to_end(&mut all).unwrap();
            all
        });
        records.iter().for_each(|record| outlet.write_all(record).unwrap());
        outlet.flush().unwrap();
        assert_eq!(outlet.pending(), 0);
        drop(outlet);
        assert_eq!(reader.join().unwrap(), wanted);
    }

    #[test]
    fn what_is_not_taken_at_the_end_is_counted_to_the_record() {
        let stop = Stop::default();
        let (mut read, mut outlet) = pipe(&stop);
        stop.ask();
        let record = [7; 100];
        let written = (0_usize..).find(|_| outlet.write_all(&record).is_err()).unwrap();
        assert!(outlet.has_given_up());
        let arrived = written - usize::try_from(outlet.pending()).unwrap();
        drop(outlet);
        let mut all = Vec::new();
        read.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), arrived * record.len());
    }

    #[test]
    fn a_reader_that_has_left_is_told_as_such() {
        let (read, mut outlet) = pipe(&Stop::default());
        drop(read);
        outlet.write_all(b"one").unwrap();
        assert_eq!(outlet.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!((outlet.pending(), outlet.has_given_up()), (1, false));
    }

    #[test]
    fn null_is_written_directly() {
        let outlet = Outlet::open(Path::new("/dev/null"), &Stop::default(), || true);
        assert!(matches!(outlet.unwrap(), Outlet::File(_)));
    }
}
