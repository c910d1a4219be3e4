//! Frames as they are given, by a packet socket: `packet(7)`.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};
use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{
        AddressFamily, LinkAddr, SetSockOpt, SockFlag, SockType, SockaddrLike as _, bind,
        setsockopt, socket,
    },
    unistd::write,
};

/// Sends whole frames out of one interface.
pub struct RawFrames {
    socket: OwnedFd,
}

/// Whether frames pass the queueing discipline, and with it the TC egress hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qdisc {
    /// As everything else does.
    Pass,
    /// Straight to the device: `PACKET_QDISC_BYPASS`.
    Bypass,
}

impl RawFrames {
    /// A socket that sends by `interface` of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn on(interface: &str, qdisc: Qdisc) -> Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &address(interface)?)?;
        if qdisc == Qdisc::Bypass {
            setsockopt(&socket, QdiscBypass, &1)?;
        }
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = write(&self.socket, frame)?;
        ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }
}

/// A broadcast frame of `length` bytes, Ethernet header included, that says it carries `protocol`;
/// behind the header, `inner` and zeros.
///
/// # Panics
/// When it does not fit.
#[must_use]
pub fn frame(protocol: u16, inner: &[u8], length: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9]);
    frame.extend(protocol.to_be_bytes());
    frame.extend(inner);
    assert!(frame.len() <= length, "{length} bytes are too few");
    frame.resize(length, 0);
    frame
}

fn address(interface: &str) -> Result<LinkAddr> {
    let ifindex = i32::try_from(if_nametoindex(interface)?)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: 0,
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address))?;
    // SAFETY: the pointer is to a whole `sockaddr_ll` that lives through the call, `length` is its
    // size, and its family says what it is.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.ok_or_else(|| anyhow::anyhow!("{interface}: no link address"))
}

/// `PACKET_QDISC_BYPASS`, which nix does not know.
#[derive(Clone, Copy)]
struct QdiscBypass;

impl SetSockOpt for QdiscBypass {
    type Val = libc::c_int;

    fn set<F: std::os::fd::AsFd>(&self, fd: &F, value: &libc::c_int) -> nix::Result<()> {
        // SAFETY: the descriptor is open while `fd` is borrowed, and pointer and length are those
        // of one `int`, which this option takes.
        let result = unsafe {
            libc::setsockopt(
                fd.as_fd().as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                std::ptr::from_ref(value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        nix::errno::Errno::result(result).map(drop)
    }
}
