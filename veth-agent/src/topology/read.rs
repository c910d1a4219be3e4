//! Reads a topology file from disk or standard input, and never more of it than is allowed.

use std::{
    fs::File,
    io::{self, Read},
};

use thiserror::Error;

/// The most that a topology file may hold: 1 MiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a file could not be read, in one line that names it.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No such file.
    #[error("{0} is not there; check the path")]
    Absent(String),
    /// Not for us to read.
    #[error("{0} may not be read by this user; run as root or change its mode")]
    Forbidden(String),
    /// A directory.
    #[error("{0} is a directory; name a file")]
    Directory(String),
    /// Larger than [`MAX_FILE_BYTES`].
    #[error("{0} is larger than 1 MiB; split it")]
    TooLarge(String),
    /// Bytes that are no text.
    #[error("{name} is not UTF-8 at byte {byte}, in line {line}; save it as UTF-8")]
    NotUtf8 {
        /// The file.
        name: String,
        /// Offset of the first such byte, counted from 0.
        byte: usize,
        /// Its line, counted from 1.
        line: usize,
    },
    /// Anything else.
    #[error("{name} cannot be read: {source}")]
    Failed {
        /// The file.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Reads the file at `path`, or standard input where that is `-`.
///
/// # Errors
/// A file that is absent, not readable, a directory, larger than [`MAX_FILE_BYTES`] or not UTF-8.
pub fn read(path: &str) -> Result<String, ReadError> {
    if path == "-" {
        return bounded("standard input".to_owned(), io::stdin().lock());
    }
    // Quoted, so that a line break in a path does not break the message.
    let name = format!("{path:?}");
    match File::open(path) {
        Ok(file) => bounded(name, file),
        Err(error) => Err(failed(name, error)),
    }
}

/// Reads one byte more than is allowed at most: `/dev/zero` and a huge file end here alike.
fn bounded(name: String, source: impl Read) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    match source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes) {
        Ok(read) if read as u64 > MAX_FILE_BYTES => Err(ReadError::TooLarge(name)),
        Ok(_) => text(name, bytes),
        Err(error) => Err(failed(name, error)),
    }
}

fn text(name: String, bytes: Vec<u8>) -> Result<String, ReadError> {
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(byte);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ReadError::NotUtf8 { name, byte, line }
    })
}

fn failed(name: String, source: io::Error) -> ReadError {
    match source.kind() {
        io::ErrorKind::NotFound => ReadError::Absent(name),
        io::ErrorKind::PermissionDenied => ReadError::Forbidden(name),
        io::ErrorKind::IsADirectory => ReadError::Directory(name),
        _ => ReadError::Failed { name, source },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail so")]

    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, String> {
        bounded("FILE".to_owned(), bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn the_limit_is_exact() {
        let most = vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()];
        assert_eq!(read_bytes(&most).unwrap().len(), most.len());
        let more = vec![b'#'; most.len() + 1];
        assert_eq!(read_bytes(&more), Err("FILE is larger than 1 MiB; split it".to_owned()));
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = read("/dev/zero").unwrap_err();
        assert_eq!(error.to_string(), r#""/dev/zero" is larger than 1 MiB; split it"#);
    }

    #[test]
    fn what_is_no_text_says_where() {
        assert_eq!(
            read_bytes(b"a\nb\nc\xff"),
            Err("FILE is not UTF-8 at byte 5, in line 3; save it as UTF-8".to_owned())
        );
    }

    #[test]
    fn a_path_that_holds_no_file_says_so() {
        for (path, message) in [
            ("/", r#""/" is a directory; name a file"#),
            ("/no such\nfile", r#""/no such\nfile" is not there; check the path"#),
        ] {
            assert_eq!(read(path).unwrap_err().to_string(), message);
        }
    }
}
