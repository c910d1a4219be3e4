//! Hears of changes: links of every namespace that the host's has numbered, and namespaces that
//! come and go.
//!
//! One socket hears all of them (`NETLINK_LISTEN_ALL_NSID`). A socket in each namespace would keep
//! every one of them alive after its owner deleted it.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify,
};
use thiserror::Error;
use tokio::sync::Notify;

use super::{Change, discover};
use crate::netns;

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_IFADDR`,
/// `RTNLGRP_IPV6_ROUTE` and `RTNLGRP_NSID`, `linux/rtnetlink.h`.
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 28];

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNSID: u16 = 88;
const RTM_DELNSID: u16 = 89;

/// One action of an operator makes many events; they are handled together.
const SETTLE: Duration = Duration::from_millis(20);

/// Namespaces that no event tells of are searched for at this share of one CPU at the most, and in
/// this range of intervals.
const SEARCH_SHARE: u32 = 1000;
const SEARCH_EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(5);

/// The kernel's buffer for events, in bytes; it may give less.
const BUFFER: usize = 4 << 20;

/// Why changes cannot be heard.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The event socket.
    #[error("no netlink event socket: {0}")]
    Socket(io::Error),
    /// The events of other namespaces.
    #[error("events of other namespaces cannot be heard: {0}; CAP_NET_BROADCAST is needed")]
    AllNamespaces(io::Error),
    /// The thread that listens.
    #[error("no thread to hear events: {0}")]
    Thread(io::Error),
    /// inotify.
    #[error("changes of {path} cannot be heard: {0}", path = netns::RUN_NETNS)]
    Names(io::Error),
}

/// Changes that nobody has looked at yet. They are merged, not queued: however slow the reader, no
/// memory grows.
#[derive(Debug, Default)]
pub struct Pending {
    change: Mutex<Change>,
    notify: Notify,
    overruns: AtomicU64,
}

impl Pending {
    /// Waits for the next change and takes all that has come together by then.
    pub async fn take(&self) -> Change {
        loop {
            let change = std::mem::take(&mut *self.lock());
            if !change.is_empty() {
                return change;
            }
            self.notify.notified().await;
        }
    }

    /// How often the kernel had to drop events.
    #[must_use]
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    fn add(&self, change: Change) {
        self.lock().merge(change);
        self.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to listen, on a thread of its own. Take the first picture afterwards.
///
/// # Errors
/// When the kernel gives no socket, or not the events of other namespaces.
pub fn watch() -> Result<Arc<Pending>, WatchError> {
    let watcher = Watcher {
        events: open_events()?,
        names: open_names()?,
        watching_names: false,
        found: Vec::new(),
        next_search: Instant::now(),
    };
    let pending = Arc::new(Pending::default());
    let weak = Arc::downgrade(&pending);
    let run = move || watcher.run(&weak);
    thread::Builder::new().name("watch".to_owned()).spawn(run).map_err(WatchError::Thread)?;
    Ok(pending)
}

fn open_events() -> Result<Socket, WatchError> {
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(WatchError::Socket)?;
    // Best effort: an overrun is noticed and mended.
    let _ = socket.set_rx_buf_sz(BUFFER);
    socket.bind(&SocketAddr::new(0, 0)).map_err(WatchError::Socket)?;
    for group in GROUPS {
        socket.add_membership(group).map_err(WatchError::Socket)?;
    }
    socket.set_listen_all_namespaces(true).map_err(WatchError::AllNamespaces)?;
    Ok(socket)
}

fn open_names() -> Result<OwnedFd, WatchError> {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    inotify::init(flags).map_err(|error| WatchError::Names(error.into()))
}

struct Watcher {
    events: Socket,
    names: OwnedFd,
    watching_names: bool,
    found: Vec<u64>,
    next_search: Instant,
}

impl Watcher {
    /// Listens until nobody wants to know any more.
    fn run(mut self, pending: &Weak<Pending>) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let mut change = Change::default();
            let searched = if self.wait() {
                thread::sleep(SETTLE);
                false
            } else {
                self.search()
            };
            let overruns = self.drain_events(&mut change, &mut buffer);
            change.namespaces |= self.drain_names(&mut buffer);
            if change.namespaces {
                self.search_soon();
            }
            change.namespaces |= searched;
            let Some(pending) = pending.upgrade() else { return };
            pending.overruns.fetch_add(overruns, Ordering::Relaxed);
            if !change.is_empty() {
                pending.add(change);
            }
        }
    }

    /// Waits for an event, or until the next search is due; says which.
    fn wait(&self) -> bool {
        let pause = self.next_search.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(pause).ok();
        let mut fds =
            [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.names, PollFlags::IN)];
        // An interrupted wait is one that ended early.
        rustix::event::poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Whether the set of namespaces has changed since the last search.
    fn search(&mut self) -> bool {
        let started = Instant::now();
        self.watch_names();
        let found: Vec<u64> = discover::find(&mut Vec::new()).into_keys().collect();
        let changed = found != self.found;
        self.found = found;
        let pause = started.elapsed() * SEARCH_SHARE;
        self.next_search = Instant::now() + pause.clamp(*SEARCH_EVERY.start(), *SEARCH_EVERY.end());
        changed
    }

    /// An event may be early: `ip netns add` makes the name first, and mounts the namespace on it
    /// unheard. What was found before the event is nothing to compare with, since a new namespace
    /// may have the inode of one that went.
    fn search_soon(&mut self) {
        self.found.clear();
        self.next_search = self.next_search.min(Instant::now() + *SEARCH_EVERY.start());
    }

    /// The directory may appear only with the first named namespace.
    fn watch_names(&mut self) {
        use inotify::WatchFlags;

        if !self.watching_names {
            let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
            let added = inotify::add_watch(&self.names, netns::RUN_NETNS, flags);
            self.watching_names = added.is_ok();
        }
    }

    fn drain_names(&self, buffer: &mut [u8]) -> bool {
        let mut any = false;
        while rustix::io::read(&self.names, &mut *buffer).is_ok_and(|bytes| bytes > 0) {
            any = true;
        }
        any
    }

    /// Notes all events; gives how often some were lost.
    fn drain_events(&self, change: &mut Change, buffer: &mut [u8]) -> u64 {
        let mut overruns = 0;
        loop {
            match receive(&self.events, buffer) {
                Ok((bytes, nsid)) => note(change, &buffer[..bytes], nsid),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    overruns += 1;
                    change.everything = true;
                }
                Err(_) => return overruns,
            }
        }
    }
}

/// One datagram, and the number of the namespace that it came from; `None` is the host's.
fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<(usize, Option<i32>), Errno> {
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let nsid = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Unknown(control)
            if control.cmsg_header.cmsg_level == libc::SOL_NETLINK
                && control.cmsg_header.cmsg_type == libc::NETLINK_LISTEN_ALL_NSID =>
        {
            let bytes = control.data_bytes.get(..4)?.try_into().ok()?;
            Some(i32::from_ne_bytes(bytes))
        }
        _ => None,
    });
    Ok((message.bytes, nsid))
}

fn note(change: &mut Change, mut datagram: &[u8], nsid: Option<i32>) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        match message.message_type() {
            RTM_NEWROUTE | RTM_DELROUTE => _ = change.routes.insert(nsid),
            RTM_NEWLINK | RTM_DELLINK | RTM_NEWADDR | RTM_DELADDR => {
                match nsid {
                    Some(nsid) => _ = change.nsids.insert(nsid),
                    None => change.host = true,
                }
                // Where it has gone may be a namespace that is not known yet.
                change.namespaces |= message.message_type() == RTM_DELLINK;
            }
            RTM_NEWNSID => change.namespaces = true,
            RTM_DELNSID if nsid.is_none() => {
                change.namespaces = true;
                change.gone.extend(nsid_in(message.payload()));
            }
            _ => {}
        }
        let length = (message.length() as usize).next_multiple_of(4);
        match datagram.get(length..) {
            Some(rest) => datagram = rest,
            None => break,
        }
    }
}

fn nsid_in(payload: &[u8]) -> Option<i32> {
    use netlink_packet_core::Parseable as _;
    use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

    let message = NsidMessage::parse(payload).ok()?;
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => Some(*id),
        _ => None,
    })
}
