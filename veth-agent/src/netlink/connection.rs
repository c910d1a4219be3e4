//! Sockets that belong to a namespace.

use std::{io, path::Path};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;
use tokio::runtime;

use super::NetlinkError;
use crate::{netns, types::NetnsCookie};

/// A route netlink socket of one namespace. It keeps that namespace alive: drop it soon.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) handle: Handle,
}

impl Connection {
    /// Opens a socket in the calling thread's namespace, served by the current runtime.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let (mut connection, handle, _) =
            rtnetlink::new_connection_with_strict_check().map_err(NetlinkError::Socket)?;
        // The end of a dump says whether the dump is whole.
        connection.set_forward_done(true);
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Opens a socket in another namespace, served by the current runtime.
    ///
    /// # Errors
    /// When the namespace cannot be entered, is another one by now, or the kernel gives no socket.
    pub fn open_within(path: &Path, cookie: NetnsCookie) -> Result<Self, NetlinkError> {
        let runtime = runtime::Handle::current();
        netns::within_known(path, cookie, || {
            let _guard = runtime.enter();
            Self::open()
        })?
    }

    /// Sends a request and waits until the kernel has carried it out.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn acknowledged(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        use futures_util::StreamExt as _;

        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(NetlinkError::Refused(error.to_io()));
            }
        }
        Ok(())
    }
}

/// Runs `work` with a socket of the calling thread's namespace, on a runtime of this thread.
///
/// # Errors
/// When there is no socket, or `work` fails.
pub fn block_on<T, E: From<NetlinkError>>(
    work: impl AsyncFnOnce(Connection) -> Result<T, E>,
) -> Result<T, E> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error: io::Error| E::from(NetlinkError::Socket(error)))?;
    runtime.block_on(async { work(Connection::open()?).await })
}
