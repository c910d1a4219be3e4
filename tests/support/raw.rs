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

    /// A socket whose frames may be GSO.
    ///
    /// # Errors
    /// As [`Self::on`].
    pub fn with_gso(interface: &str) -> Result<Self> {
        let frames = Self::on(interface, Qdisc::Pass)?;
        setsockopt(&frames.socket, VnetHeader, &1)?;
        Ok(frames)
    }

    /// Sends one frame by a socket [`Self::with_gso`].
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn send_gso(&self, frame: &[u8], gso: Option<Gso>) -> Result<()> {
        let packet = [Gso::header(gso).as_slice(), frame].concat();
        let sent = write(&self.socket, &packet)?;
        ensure!(sent == packet.len(), "{sent} of {} bytes were sent", packet.len());
        Ok(())
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

/// What the device is to cut a frame into, and where its checksum belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// `VIRTIO_NET_HDR_GSO_*`, `include/uapi/linux/virtio_net.h`.
    pub kind: u8,
    /// Payload of one segment.
    pub size: u16,
    /// Bytes of all headers.
    pub headers: u16,
    /// Where the transport header begins.
    pub checksum_start: u16,
    /// Where in it the checksum stands.
    pub checksum_offset: u16,
}

impl Gso {
    /// `struct virtio_net_hdr`.
    fn header(gso: Option<Self>) -> [u8; 10] {
        let mut header = [0; 10];
        if let Some(gso) = gso {
            // `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
            header[0] = 1;
            header[1] = gso.kind;
            let words = [gso.headers, gso.size, gso.checksum_start, gso.checksum_offset];
            for (place, word) in header[2..].as_chunks_mut().0.iter_mut().zip(words) {
                *place = word.to_ne_bytes();
            }
        }
        header
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

/// A UDP packet to port 9 as a frame of 64 bytes, with a right header checksum.
#[must_use]
pub fn udp_frame(to: [u8; 6], from: [u8; 6], source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    udp_frame_of(64, to, from, source, destination)
}

/// The same as a frame of `bytes`, with DF.
#[must_use]
pub fn udp_frame_of(
    bytes: u16,
    to: [u8; 6],
    from: [u8; 6],
    source: [u8; 4],
    destination: [u8; 4],
) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(bytes - 14).to_be_bytes());
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let [high, low] = (bytes - 34).to_be_bytes();
    // No checksum.
    let udp = [0, 9, 0, 9, high, low, 0, 0];
    let mut frame = [to.as_slice(), &from, &[8, 0], &header, &udp].concat();
    frame.resize(bytes.into(), 0x5a);
    frame
}

/// A UDP packet to port 9 over IPv6 as a frame of `bytes`, without a right checksum.
#[must_use]
pub fn udp6_frame_of(
    bytes: u16,
    to: [u8; 6],
    from: [u8; 6],
    source: [u8; 16],
    destination: [u8; 16],
) -> Vec<u8> {
    let [high, low] = (bytes - 54).to_be_bytes();
    let header = [0x60, 0, 0, 0, high, low, 17, 64];
    let addresses = [source, destination].concat();
    let udp = [0, 9, 0, 9, high, low, 0, 1];
    let mut frame = [to.as_slice(), &from, &[0x86, 0xdd], &header, &addresses, &udp].concat();
    frame.resize(bytes.into(), 0x5a);
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

/// Options of packet sockets that nix does not know, each with an `int`.
macro_rules! packet_option {
    ($name:ident, $option:ident) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl SetSockOpt for $name {
            type Val = libc::c_int;

            fn set<F: std::os::fd::AsFd>(&self, fd: &F, value: &libc::c_int) -> nix::Result<()> {
                // SAFETY: the descriptor is open while `fd` is borrowed, and pointer and length
                // are those of one `int`, which this option takes.
                let result = unsafe {
                    libc::setsockopt(
                        fd.as_fd().as_raw_fd(),
                        libc::SOL_PACKET,
                        libc::$option,
                        std::ptr::from_ref(value).cast(),
                        size_of::<libc::c_int>() as libc::socklen_t,
                    )
                };
                nix::errno::Errno::result(result).map(drop)
            }
        }
    };
}

packet_option!(QdiscBypass, PACKET_QDISC_BYPASS);
packet_option!(VnetHeader, PACKET_VNET_HDR);
