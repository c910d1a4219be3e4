//! UDP packets between two namespaces.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use super::{
    arms::Sites,
    traffic::{Done, join, within},
};

/// 64 bytes with the headers of Ethernet, IPv4 and UDP.
const PAYLOAD: [u8; 64 - 14 - 20 - 8] = [0x5a; 22];

/// Packets between two looks at the clock, which cost as much as a packet each.
const BATCH: u64 = 100;

/// What became of packets that were sent as fast as they go.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Sent.
    pub sent: u64,
    /// Of those, from the port that one in a hundred comes from.
    pub marked: u64,
    /// From the first that was sent to the last.
    pub sending: Duration,
    /// Time of a CPU that went to sending, with all that a packet passes until it waits at the receiver's
    /// socket: on one CPU that is one call. (A kernel with `IRQ_TIME_ACCOUNTING` takes some of it away.)
    pub sender: Duration,
    /// Received.
    pub received: u64,
    /// From the first that was received to the last.
    pub receiving: Duration,
}

impl Flow {
    /// Packets that were received.
    pub(super) fn done(&self) -> Done {
        Done { count: self.received as f64, time: self.receiving, latency: None }
    }
}

/// Sends UDP packets of 64 bytes to a socket that takes as many as it can; where a port is named, one in a
/// hundred comes from there.
pub fn flow(sites: &Sites, marked: Option<u16>, time: Duration) -> Result<Flow> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (said, heard) = std::sync::mpsc::channel();
        let (address, over) = (sites.address.clone(), &over);
        let server = within(scope, &sites.server, 1, move || receive(&address, &said, over))?;
        let target = heard.recv().context("the server ended")?;
        let client = within(scope, &sites.client, 0, move || send(target, marked, time))?;
        let sent = join(client);
        over.store(true, Ordering::Relaxed);
        let (received, receiving) = join(server)?;
        let Sent { packets, marked, time, taken } = sent?;
        Ok(Flow { sent: packets, marked, sending: time, sender: taken, received, receiving })
    })
}

struct Sent {
    packets: u64,
    marked: u64,
    time: Duration,
    taken: Duration,
}

fn send(target: SocketAddr, marked: Option<u16>, time: Duration) -> Result<Sent> {
    let connected = |port| -> Result<UdpSocket> {
        let socket = UdpSocket::bind(("0.0.0.0", port))?;
        socket.connect(target)?;
        Ok(socket)
    };
    let (plain, marked) = (connected(0)?, marked.map(connected).transpose()?);
    let few = u64::from(marked.is_some());
    let (began, started, mut batches) = (taken()?, Instant::now(), 0);
    while started.elapsed() < time {
        (0..BATCH - few).try_for_each(|_| plain.send(&PAYLOAD).map(drop))?;
        marked.iter().try_for_each(|marked| marked.send(&PAYLOAD).map(drop))?;
        batches += 1;
    }
    let (time, taken) = (started.elapsed(), taken()?.saturating_sub(began));
    Ok(Sent { packets: batches * BATCH, marked: batches * few, time, taken })
}

/// Time that a CPU has given this thread.
fn taken() -> Result<Duration> {
    let taken = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::try_from(taken)?)
}

/// Packets, and from the first to the last.
fn receive(address: &str, said: &Sender<SocketAddr>, over: &AtomicBool) -> Result<(u64, Duration)> {
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    said.send(socket.local_addr()?)?;
    let (mut buffer, mut count, mut times) = ([0; 64], 0_u64, None);
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => {
                count += 1;
                if count % BATCH == 1 {
                    let now = Instant::now();
                    times = Some(times.map_or((now, now), |(first, _)| (first, now)));
                }
            }
            Err(_) if over.load(Ordering::Relaxed) => break,
            Err(_) => {}
        }
    }
    let (first, last) = times.context("no packet arrived")?;
    Ok((count, last - first))
}

/// Sends UDP packets of 64 bytes to a port, whatever becomes of them, as fast as it goes; gives how many
/// and how long it took.
pub fn flood(sites: &Sites, port: u16, time: Duration) -> Result<(u64, Duration)> {
    let target = (sites.address.clone(), port);
    thread::scope(|scope| {
        join(within(scope, &sites.client, 0, move || {
            // Not connected: a packet is not refused for the answer to an earlier one.
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            let target: SocketAddr = format!("{}:{}", target.0, target.1).parse()?;
            let (started, mut sent) = (Instant::now(), 0);
            while started.elapsed() < time {
                for _ in 0..64 {
                    socket.send_to(&PAYLOAD, target)?;
                }
                sent += 64;
            }
            Ok((sent, started.elapsed()))
        })?)
    })
}

/// Hands a connected UDP socket of the client and the server's to `work`.
pub fn exchange<T: Send>(
    sites: &Sites,
    work: impl FnOnce(&UdpSocket, &UdpSocket) -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let address = sites.address.clone();
        let server =
            within(scope, &sites.server, 1, move || Ok(UdpSocket::bind((address.as_str(), 0))?))?;
        let server = join(server)?;
        server.set_read_timeout(Some(Duration::from_secs(5)))?;
        let target = server.local_addr()?;
        join(within(scope, &sites.client, 0, move || {
            let client = UdpSocket::bind(("0.0.0.0", 0))?;
            client.connect(target)?;
            work(&client, &server)
        })?)
    })
}
