//! A stretch of a frame, of which perhaps only the beginning was captured.

use super::Fault;

/// A stretch of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// How long it is by the word of the layer below, in bytes.
    pub length: u32,
}

impl<'a> Part<'a> {
    /// What follows a header of `header` bytes.
    pub fn after(self, header: usize) -> Self {
        Self {
            bytes: self.bytes.get(header..).unwrap_or_default(),
            length: self.length.saturating_sub(u32::try_from(header).unwrap_or(u32::MAX)),
        }
    }

    /// Its first `length` bytes; what comes behind is padding.
    pub fn limited_to(self, length: u32) -> Self {
        let end = usize::try_from(length).unwrap_or(usize::MAX);
        Self { bytes: self.bytes.get(..end).unwrap_or(self.bytes), length }
    }

    /// Its first `N` bytes, which are of the layer called `layer`.
    pub fn head<const N: usize>(self, layer: &'static str) -> Result<&'a [u8; N], Fault> {
        self.bytes.first_chunk().ok_or(Fault::Cut(layer))
    }
}
