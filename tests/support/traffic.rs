//! Traffic between two namespaces of a test, bounded in count and time.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{Node, patient};

/// A namespace, and an address that it has.
pub type Site<'a> = (&'a str, &'a str);

fn limit() -> Duration {
    patient(Duration::from_secs(180))
}

/// The backlog of a CPU is shared by all namespaces: a flood of one test makes the kernel drop
/// packets of another, whichever process that is in. Locked exclusively by those that flood.
fn backlog() -> io::Result<File> {
    let path = std::env::temp_dir().join("veth-tests-backlog.lock");
    File::options().create(true).write(true).truncate(false).open(path)
}

/// No test on this machine floods it while this is held: few packets are all delivered.
///
/// # Errors
/// When the lock cannot be had.
pub fn undisturbed() -> Result<File> {
    let file = backlog()?;
    file.lock_shared().context("the backlog's lock")?;
    Ok(file)
}

/// As [`undisturbed`], for a test that floods it itself.
///
/// # Errors
/// When the lock cannot be had.
pub fn alone() -> Result<File> {
    let file = backlog()?;
    file.lock().context("the backlog's lock")?;
    Ok(file)
}

/// Sends `packets` UDP packets of `bytes` payload each way, both at once, as fast as it goes. They
/// are not all received: sockets overflow, which happens behind the interface.
///
/// # Errors
/// When a socket refuses.
pub fn udp_both_ways(node: &Node, sites: [Site<'_>; 2], packets: u64, bytes: usize) -> Result<()> {
    let [one, other] = sites;
    let _alone = alone()?;
    thread::scope(|scope| {
        let there = scope.spawn(|| udp(node, one, other, packets, bytes));
        udp(node, other, one, packets, bytes)?;
        there.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    })
}

fn udp(node: &Node, from: Site<'_>, to: Site<'_>, packets: u64, bytes: usize) -> Result<()> {
    // Bound but never read: without a socket every packet would be answered by an ICMP error.
    let sink = node.within(to.0, || Ok(UdpSocket::bind((to.1, 9))?))?;
    let target: SocketAddr = format!("{}:9", to.1).parse()?;
    let address = from.1;
    node.within(from.0, move || {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(target)?;
        let payload = vec![0x5a; bytes];
        let deadline = Instant::now() + limit();
        for sent in 0..packets {
            socket.send(&payload)?;
            if sent % 4096 == 0 {
                anyhow::ensure!(Instant::now() < deadline, "only {sent} packets in time");
            }
        }
        Ok(())
    })?;
    drop(sink);
    Ok(())
}

/// Sends `bytes` over one TCP connection; the receiver compares every one.
///
/// # Errors
/// When a socket refuses, or not all arrives, and as it was sent, in time.
pub fn tcp_bulk(node: &Node, from: Site<'_>, to: Site<'_>, bytes: u64) -> Result<()> {
    let sent = tcp(node, from, to, |sent| sent < bytes)?.bytes;
    anyhow::ensure!(sent >= bytes, "only {sent} of {bytes} bytes were sent");
    Ok(())
}

/// Keeps one TCP connection busy until `stop` is set.
///
/// # Errors
/// As [`tcp_bulk`].
pub fn tcp_until(node: &Node, from: Site<'_>, to: Site<'_>, stop: &AtomicBool) -> Result<Streamed> {
    tcp(node, from, to, |_| !stop.load(Ordering::Relaxed))
}

/// What a connection has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Bytes, all of them as they were sent.
    pub bytes: u64,
    /// The longest time in which none arrived.
    pub longest_pause: Duration,
}

/// What streams carry, over and over. Its length is a prime: what is lost, doubled or out of place
/// shows, whatever its size.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        // Xorshift, Marsaglia 2003.
        let mut state = 0x9e37_79b9_u32;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        (0..1_048_573).map(next).collect()
    })
}

fn tcp(
    node: &Node,
    from: Site<'_>,
    to: Site<'_>,
    go_on: impl Fn(u64) -> bool + Sync,
) -> Result<Streamed> {
    let listener = node.within(to.0, || Ok(TcpListener::bind((to.1, 0))?))?;
    let target = listener.local_addr()?;
    let (done, received) = mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(compare(&listener));
    });
    let sent = node.within(from.0, || {
        let mut stream = TcpStream::connect_timeout(&target, limit())?;
        stream.set_write_timeout(Some(limit()))?;
        let mut sent = 0;
        while go_on(sent) {
            stream.write_all(pattern())?;
            sent += pattern().len() as u64;
        }
        Ok(sent)
    })?;
    let streamed = received.recv_timeout(limit()).context("the receiver did not finish")??;
    anyhow::ensure!(streamed.bytes == sent, "{} of {sent} bytes arrived", streamed.bytes);
    Ok(streamed)
}

fn compare(listener: &TcpListener) -> Result<Streamed> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(limit()))?;
    let mut buffer = vec![0; 1 << 18];
    let (mut streamed, mut last) = (Streamed::default(), Instant::now());
    loop {
        let read = stream.read(&mut buffer)?;
        streamed.longest_pause = streamed.longest_pause.max(last.elapsed());
        last = Instant::now();
        if read == 0 {
            return Ok(streamed);
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let at = usize::try_from(streamed.bytes % pattern().len() as u64)?;
            let length = rest.len().min(pattern().len() - at);
            anyhow::ensure!(
                rest[..length] == pattern()[at..at + length],
                "other bytes arrived behind {} good ones",
                streamed.bytes
            );
            streamed.bytes += length as u64;
            rest = &rest[length..];
        }
    }
}

/// Keeps this thread, and those that it starts, on the first CPU. Each has a queue of its own: on one alone,
/// frames stay in their order.
///
/// # Errors
/// When there is no such CPU for us.
pub fn on_one_cpu() -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &first)?)
}
