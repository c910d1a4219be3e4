//! Names come from other people's namespaces: nothing in them may reach a terminal as a command.

use std::borrow::Cow;

/// `text` with control characters spelled out.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let spell = |c: char| {
            if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
        };
        text.chars().map(spell).collect::<String>().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(escape("a\u{1b}[31m\nä"), "a\\u{1b}[31m\\nä");
        assert_eq!(escape("veth0@host"), "veth0@host");
    }
}
