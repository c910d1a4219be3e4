//! Nothing in a name may reach a terminal as a command, or make a line look like another.

use std::fmt::{self, Write as _};

/// Text with the characters spelled out that a terminal obeys.
pub struct Escaped<'a>(pub &'a str);

/// Control characters, what breaks lines elsewhere, and what reorders or hides text.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
    }
}
