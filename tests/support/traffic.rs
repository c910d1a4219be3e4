//! Traffic between two namespaces of a test, bounded in count and time.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

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

/// Sends `packets` UDP packets of `bytes` payload each way, both at once, as fast as it goes. They
/// are not all received: sockets overflow, which happens behind the interface.
///
/// # Errors
/// When a socket refuses.
pub fn udp_both_ways(node: &Node, sites: [Site<'_>; 2], packets: u64, bytes: usize) -> Result<()> {
    let [one, other] = sites;
    let alone = backlog()?;
    alone.lock().context("the backlog's lock")?;
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

/// Sends `bytes` over one TCP connection.
///
/// # Errors
/// When a socket refuses, or not all arrives in time.
pub fn tcp_bulk(node: &Node, from: Site<'_>, to: Site<'_>, bytes: u64) -> Result<()> {
    let listener = node.within(to.0, || Ok(TcpListener::bind((to.1, 0))?))?;
    let target = listener.local_addr()?;
    let (done, received) = mpsc::channel();
    thread::spawn(move || {
        let count = || -> Result<u64> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(limit()))?;
            let mut buffer = vec![0; 1 << 18];
            let mut total = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(total),
                    bytes => total += bytes as u64,
                }
            }
        };
        let _ = done.send(count());
    });
    node.within(from.0, || {
        let mut stream = TcpStream::connect_timeout(&target, limit())?;
        stream.set_write_timeout(Some(limit()))?;
        let block = vec![0xa5; 1 << 18];
        let mut left = bytes;
        while left > 0 {
            let next = left.min(block.len() as u64);
            stream.write_all(&block[..usize::try_from(next)?])?;
            left -= next;
        }
        Ok(())
    })?;
    let total = received.recv_timeout(limit()).context("the receiver did not finish")??;
    anyhow::ensure!(total == bytes, "{total} of {bytes} bytes arrived");
    Ok(())
}
