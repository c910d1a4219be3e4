//! What stands behind an error.

use std::io;

use crate::netlink::NetlinkError;

/// The errno at the root of an error, wherever in its chain the kernel's answer stands.
#[must_use]
pub fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        if let Some(code) = error.downcast_ref::<NetlinkError>().and_then(NetlinkError::errno) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// An error and its sources on one line; the verifier's log stays out of it.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = first_line(error);
    let mut next = error.source();
    while let Some(source) = next {
        let line = first_line(source);
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        next = source.source();
    }
    text
}

fn first_line(error: &(dyn std::error::Error + 'static)) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
