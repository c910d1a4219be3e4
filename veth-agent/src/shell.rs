//! Words of commands that people paste into a shell. Names come from other people's namespaces: no part of
//! one may be taken for a command of its own.

/// A word of a shell command: itself where it is plain, else in quotes; control characters, which a
/// terminal would swallow or obey, are spelled out for `printf(1)`.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.chars().any(char::is_control) {
        return format!("\"$(printf {})\"", quoted(&spelled(word)));
    }
    quoted(word)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A format of `printf(1)` that prints `word`.
fn spelled(word: &str) -> String {
    let spell = |c: char| match c {
        '%' => "%%".to_owned(),
        '\\' => r"\\".to_owned(),
        c if c.is_control() => {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            bytes.map(|byte| format!("\\{byte:03o}")).collect()
        }
        c => c.to_string(),
    };
    word.chars().map(spell).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail so")]

    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_are_left_alone() {
        for word in ["tap1", "net/ipv4/conf/eth0.7/rp_filter", "10.0.0.1/24", "fe80::1%eth0"] {
            assert_eq!(quote(word), word);
        }
    }

    /// Whatever a name holds, a shell hands it on as one word and does nothing else with it.
    #[test]
    fn a_shell_gets_back_what_was_quoted() {
        let words = [
            "",
            "a b",
            "it's",
            "$(exit 7)`exit 7`;exit 7",
            "*",
            "~",
            "ünï",
            "\"\\",
            "\u{1b}[31m%d'\\x\u{7f}\u{85}",
        ];
        for word in words {
            let script = format!("printf %s {}", quote(word));
            let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
            assert!(output.status.success(), "{script}");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word, "{script}");
            assert!(!quote(word).chars().any(char::is_control), "{script:?}");
        }
    }
}
