//! Traffic between two namespaces: one client, one server, each on a CPU of its own.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    net::sockopt::{Timeout, set_socket_linger, set_socket_timeout},
    thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity},
};

use super::{arms::Sites, cpu, udp};

/// How long a server waits for its client.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One byte to and fro over one connection.
    RoundTrip,
    /// One connection, as fast as it goes.
    Stream,
    /// Connections, one after the other.
    Connect,
    /// UDP packets of 64 bytes with all headers, as fast as they go.
    Udp,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RoundTrip, Self::Stream, Self::Connect, Self::Udp];

    /// What the report calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "TCP round trips",
            Self::Stream => "TCP stream",
            Self::Connect => "TCP connections",
            Self::Udp => "UDP 64 B packets",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Round trips, bytes, connections or packets a second.
    pub rate: f64,
    /// CPU seconds of the whole machine for one of these.
    pub cpu: f64,
    /// Microseconds of a round trip: the median, and the 99th of a hundred.
    pub latency: Option<[f64; 2]>,
}

/// Does it for `time`.
pub fn run(workload: Workload, sites: &Sites, time: Duration) -> Result<Trial> {
    let before = cpu::busy()?;
    let done = match workload {
        Workload::RoundTrip => round_trips(sites, time)?,
        Workload::Stream => stream(sites, time)?,
        Workload::Connect => connections(sites, time)?,
        Workload::Udp => udp::flow(sites, None, time)?.done(),
    };
    let busy = (cpu::busy()? - before).as_secs_f64();
    Ok(Trial {
        rate: done.count / done.time.as_secs_f64(),
        cpu: busy / done.count,
        latency: done.latency,
    })
}

pub(super) struct Done {
    pub count: f64,
    pub time: Duration,
    pub latency: Option<[f64; 2]>,
}

/// Runs `work` on a thread of its own in a namespace, on one CPU.
pub(super) fn within<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    netns: &str,
    cpu: usize,
    work: impl FnOnce() -> Result<T> + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, Result<T>>> {
    use std::os::fd::AsFd as _;

    let file = File::open(format!("/run/netns/{netns}")).with_context(|| netns.to_owned())?;
    Ok(scope.spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let mut set = CpuSet::new();
        set.set(cpu % cpus);
        sched_setaffinity(None, &set)?;
        work()
    }))
}

pub(super) fn join<T>(worker: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?
}

/// A server that listens, and a client that is told where.
fn tcp<S: Send, C: Send>(
    sites: &Sites,
    serve: impl FnOnce(TcpListener) -> Result<S> + Send,
    call: impl FnOnce(SocketAddr) -> Result<C> + Send,
) -> Result<(S, C)> {
    thread::scope(|scope| {
        let (said, heard) = std::sync::mpsc::channel();
        let address = sites.address.clone();
        let server = within(scope, &sites.server, 1, move || {
            let listener = TcpListener::bind((address.as_str(), 0))?;
            // A client that fails does not come.
            set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE))?;
            said.send(listener.local_addr()?)?;
            serve(listener)
        })?;
        let target = match heard.recv() {
            Ok(target) => target,
            Err(_) => return Err(join(server).err().context("the server ended")?),
        };
        let called = join(within(scope, &sites.client, 0, move || call(target))?)?;
        Ok((join(server)?, called))
    })
}

fn round_trips(sites: &Sites, time: Duration) -> Result<Done> {
    let serve = |listener: TcpListener| {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok(())
    };
    let call = |target| {
        let mut stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        let (mut byte, mut latencies) = ([0], Vec::new());
        let started = Instant::now();
        let mut last = started;
        while last - started < time {
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte)?;
            let now = Instant::now();
            latencies.push((now - last).as_nanos() as f64 / 1e3);
            last = now;
        }
        Ok((latencies, last - started))
    };
    let ((), (mut latencies, time)) = tcp(sites, serve, call)?;
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Done { count: latencies.len() as f64, time, latency: Some([at(0.5), at(0.99)]) })
}

fn stream(sites: &Sites, time: Duration) -> Result<Done> {
    let serve = |listener: TcpListener| {
        let (mut stream, _) = listener.accept()?;
        let started = Instant::now();
        let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((bytes, started.elapsed())),
                read => bytes += read,
            }
        }
    };
    let call = |target| {
        let mut stream = TcpStream::connect(target)?;
        let buffer = vec![0x5a; 1 << 17];
        let started = Instant::now();
        while started.elapsed() < time {
            stream.write_all(&buffer)?;
        }
        Ok(())
    };
    let ((bytes, time), ()) = tcp(sites, serve, call)?;
    Ok(Done { count: bytes as f64, time, latency: None })
}

fn connections(sites: &Sites, time: Duration) -> Result<Done> {
    let over = AtomicBool::new(false);
    let serve = |listener: TcpListener| {
        while !over.load(Ordering::Relaxed) {
            let (stream, _) = listener.accept()?;
            // Reset, not closed: ports would run out while they wait.
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(())
    };
    let call = |target| {
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < time {
            match TcpStream::connect(target) {
                // Until the server has let go: its queue would overflow, and a lost SYN costs a
                // second.
                Ok(mut stream) => _ = stream.read(&mut [0]),
                // It has let go already.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error.into()),
            }
            count += 1;
        }
        let took = started.elapsed();
        over.store(true, Ordering::Relaxed);
        // The server may have seen it before it waited for this one.
        let _ = TcpStream::connect_timeout(&target, Duration::from_secs(1));
        Ok((count, took))
    };
    let ((), (count, time)) = tcp(sites, serve, call)?;
    Ok(Done { count: f64::from(count), time, latency: None })
}
