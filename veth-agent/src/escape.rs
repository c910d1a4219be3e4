//! Names come from other people's namespaces, texts from anybody: nothing in them may reach a terminal as a
//! command, or make a line look like another.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// Text with the characters spelled out that a terminal obeys.
pub struct Escaped<'a>(pub &'a str);

/// The same as text of its own, where there are any.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) { Escaped(text).to_string().into() } else { text.into() }
}

/// Control characters, what breaks lines elsewhere, and what reorders, annotates or hides text: of Unicode 16, also
/// `Bidi_Control` and `Default_Ignorable_Code_Point`.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || reorders(c) || hides(c)
}

const fn reorders(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{fff9}'..='\u{fffb}')
}

const fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if is_unsafe(c) { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(Escaped("a\u{1b}[31m\nä\u{9b}2J").to_string(), "a\\u{1b}[31m\\nä\\u{9b}2J");
        assert_eq!(Escaped("x\u{202e}0hte").to_string(), "x\\u{202e}0hte");
        assert_eq!(Escaped("veth0@host").to_string(), "veth0@host");
        assert_eq!(escape("a\u{1b}[31m\nä"), "a\\u{1b}[31m\\nä");
        assert!(matches!(escape("veth0@host"), Cow::Borrowed("veth0@host")));
    }

    #[test]
    fn what_reorders_or_hides_text_is_spelled_out() {
        let bidi =
            ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'];
        let breaks = ['\u{85}', '\u{2028}', '\u{2029}'];
        let hidden = [
            '\u{ad}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{2060}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e007f}',
        ];
        for c in [&bidi[..], &breaks, &hidden].concat() {
            let expected = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(Escaped(&format!("a{c}b")).to_string(), expected);
        }
        assert_eq!(Escaped("Ελλάδα 日本 שלום").to_string(), "Ελλάδα 日本 שלום");
    }
}
