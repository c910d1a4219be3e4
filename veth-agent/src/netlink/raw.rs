//! Requests to other netlink families, as bytes.

use std::collections::BTreeMap;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NlaBuffer, NlasIterator,
};
use netlink_sys::Socket;

use super::NetlinkError;

/// How often a dump is begun anew when the kernel says that it was interrupted.
const ATTEMPTS: usize = 10;

/// Type and payload.
type Message = (u16, Vec<u8>);

/// Type and payload of every answer to a request for a dump, in the calling thread's namespace.
///
/// # Errors
/// The kernel's refusal, or a list that never held still.
pub fn dump(
    protocol: isize,
    what: &'static str,
    message_type: u16,
    body: &[u8],
) -> Result<Vec<Message>, NetlinkError> {
    for _ in 0..ATTEMPTS {
        if let Some(answers) = exchange(protocol, &request(message_type, NLM_F_DUMP, body))? {
            return Ok(answers);
        }
    }
    Err(NetlinkError::Unstable(what))
}

/// Type and payload of every answer to a request, in the calling thread's namespace, when the kernel
/// has carried it out.
///
/// # Errors
/// The kernel's refusal.
pub fn ask(protocol: isize, message_type: u16, body: &[u8]) -> Result<Vec<Message>, NetlinkError> {
    let answers = exchange(protocol, &request(message_type, NLM_F_ACK, body))?;
    Ok(answers.unwrap_or_default())
}

/// `None` where a list was interrupted.
fn exchange(protocol: isize, request: &[u8]) -> Result<Option<Vec<Message>>, NetlinkError> {
    let mut socket = Socket::new(protocol).map_err(NetlinkError::Socket)?;
    socket.bind_auto().map_err(NetlinkError::Socket)?;
    socket.send(request, 0).map_err(NetlinkError::Socket)?;
    let mut answers = Vec::new();
    let mut whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(NetlinkError::Socket)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let broken = |error| NetlinkError::Broken(format!("{error}"));
            let message = NetlinkBuffer::new_checked(rest).map_err(broken)?;
            whole &= message.flags() & NLM_F_DUMP_INTR == 0;
            match message.message_type() {
                NLMSG_DONE => return Ok(whole.then_some(answers)),
                NLMSG_ERROR => return acknowledged(message.payload()).map(|()| Some(answers)),
                kind => answers.push((kind, message.payload().to_vec())),
            }
            // Messages begin at multiples of four bytes.
            let length = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn request(message_type: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    use netlink_packet_core::Emitable as _;

    let mut header = NetlinkHeader::default();
    header.message_type = message_type;
    header.flags = NLM_F_REQUEST | flags;
    let length = header.buffer_len() + body.len();
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut bytes);
    bytes.extend(body);
    bytes
}

/// `struct nlmsgerr` begins with the negative errno, or 0.
fn acknowledged(payload: &[u8]) -> Result<(), NetlinkError> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(NetlinkError::Refused(std::io::Error::from_raw_os_error(-code))),
        None => Err(NetlinkError::Broken("an error without a code".to_owned())),
    }
}

/// Attributes in their order: number and value.
pub fn nested(bytes: &[u8]) -> impl Iterator<Item = (u16, Vec<u8>)> + '_ {
    NlasIterator::new(bytes)
        .filter_map(Result::ok)
        .map(|attribute: NlaBuffer<&[u8]>| (attribute.kind(), attribute.value().to_vec()))
}

/// Attributes by number.
#[must_use]
pub fn attributes(bytes: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    nested(bytes).collect()
}

/// The text in an attribute.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// How many policies XFRM has in the calling thread's namespace; none where the kernel has no XFRM.
///
/// # Errors
/// The kernel's refusal.
pub fn xfrm_policies() -> Result<usize, NetlinkError> {
    use nix::libc::{EPROTONOSUPPORT, EPROTOTYPE};

    /// `XFRM_MSG_GETPOLICY`, `include/uapi/linux/xfrm.h`.
    const GET_POLICY: u16 = 0x15;
    /// `struct xfrm_userpolicy_id`: all zero, it names none.
    const ID: [u8; 64] = [0; 64];
    match dump(netlink_sys::protocols::NETLINK_XFRM, "XFRM policies", GET_POLICY, &ID) {
        Ok(policies) => Ok(policies.len()),
        Err(NetlinkError::Socket(error))
            if matches!(error.raw_os_error(), Some(EPROTONOSUPPORT | EPROTOTYPE)) =>
        {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}
