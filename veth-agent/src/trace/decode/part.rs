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
        self.bytes.first_chunk().ok_or(self.short(layer))
    }

    /// Why the layer called `layer` does not find room in it: more would have to be captured, or there is no more.
    pub fn short(self, layer: &'static str) -> Fault {
        let whole = usize::try_from(self.length).is_ok_and(|length| length <= self.bytes.len());
        if whole { Fault::Bad(layer) } else { Fault::Cut(layer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_captured_is_cut_and_what_is_not_there_is_bad() {
        let part = Part { bytes: &[1, 2, 3], length: 4 };
        assert_eq!(part.head::<3>("x"), Ok(&[1, 2, 3]));
        assert_eq!(part.head::<4>("x"), Err(Fault::Cut("x")));
        assert_eq!(part.limited_to(3).head::<4>("x"), Err(Fault::Bad("x")));
    }

    #[test]
    fn a_header_beyond_the_end_leaves_nothing() {
        let rest = Part { bytes: &[1, 2, 3], length: 4 }.after(5);
        assert_eq!((rest.bytes, rest.length), (&[][..], 0));
    }

    #[test]
    fn padding_is_left_out_and_a_promise_kept_in_mind() {
        let part = Part { bytes: &[1, 2, 3], length: 3 };
        assert_eq!((part.limited_to(2).bytes, part.limited_to(2).length), (&[1, 2][..], 2));
        assert_eq!((part.limited_to(9).bytes, part.limited_to(9).length), (&[1, 2, 3][..], 9));
    }
}
