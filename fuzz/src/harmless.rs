//! What may reach a terminal.

/// Whether `c` does something else than to be seen: controls terminals, breaks or reorders lines, or hides.
/// Written down anew from the Unicode standard, so that it does not repeat the mistakes of what it checks.
pub fn is_harmless(c: char) -> bool {
    !matches!(u32::from(c),
        // Control characters.
        0..=0x1f | 0x7f..=0x9f
        // Bidi_Control.
        | 0x061c | 0x200e..=0x200f | 0x202a..=0x202e | 0x2066..=0x2069
        // Line and paragraph separators.
        | 0x2028 | 0x2029
        // Default_Ignorable_Code_Point.
        | 0x00ad | 0x034f | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200d
        | 0x2060..=0x2065 | 0x206a..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0
        | 0xfff0..=0xfff8 | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff
        // Interlinear annotations.
        | 0xfff9..=0xfffb)
}

/// The text of `line`, which is one line, ends with a line feed, and does nothing else to a terminal.
///
/// # Panics
/// When it is something else.
pub fn one_line(line: &[u8]) -> &str {
    let text = std::str::from_utf8(line).unwrap_or_default();
    assert!(!text.is_empty(), "no UTF-8: {line:?}");
    let body = text.strip_suffix('\n').unwrap_or("\n");
    assert!(body.chars().all(is_harmless), "{text:?} is not one harmless line");
    body
}
