//! The topology file as it is written: shape and types only. What the values mean is for
//! [`super::validate`] to judge, which reports all mistakes at once and so needs to know where each
//! value stood.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter};
use thiserror::Error;

/// A place in the file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl Position {
    fn of(location: Location) -> Option<Self> {
        (location != Location::UNKNOWN)
            .then(|| Self { line: location.line(), column: location.column() })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stood; behind an alias (`*x`), where the alias stood.
    pub position: Option<Position>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::deserialize(deserializer)?;
        let position = Position::of(spanned.referenced).or_else(|| Position::of(spanned.defined));
        Ok(Self { value: spanned.value, position })
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Namespaces to create where absent.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// Bridges to create where absent.
    #[serde(default)]
    pub bridges: Vec<Bridge>,
    /// Pairs to create where absent.
    #[serde(default)]
    pub pairs: Vec<Pair>,
}

/// An entry under `namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its name under `/run/netns`.
    pub name: At<String>,
}

/// An entry under `bridges`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Its name.
    pub name: At<String>,
    /// Its namespace; left out, the host's.
    #[serde(default, deserialize_with = "present")]
    pub namespace: Option<At<String>>,
    /// Addresses with prefix lengths.
    #[serde(default)]
    pub addresses: Vec<At<String>>,
    /// Bytes.
    #[serde(default, deserialize_with = "present")]
    pub mtu: Option<At<i64>>,
    /// Hardware address.
    #[serde(default, deserialize_with = "present")]
    pub mac: Option<At<String>>,
    /// Administratively up; left out, it is.
    #[serde(default, deserialize_with = "present")]
    pub up: Option<At<bool>>,
}

/// An entry under `pairs`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Its name.
    pub name: At<String>,
    /// `observe`, `tc` or `xdp`.
    #[serde(default, deserialize_with = "present")]
    pub datapath: Option<At<String>>,
    /// Accelerate in spite of what redirecting would skip.
    #[serde(default)]
    pub force: bool,
    /// Two, if the file is right.
    #[serde(default)]
    pub ends: Vec<At<End>>,
}

/// An entry under `ends`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its namespace; left out, the host's.
    #[serde(default, deserialize_with = "present")]
    pub namespace: Option<At<String>>,
    /// Its name there.
    pub interface: At<String>,
    /// Addresses with prefix lengths.
    #[serde(default)]
    pub addresses: Vec<At<String>>,
    /// Bytes.
    #[serde(default, deserialize_with = "present")]
    pub mtu: Option<At<i64>>,
    /// Hardware address.
    #[serde(default, deserialize_with = "present")]
    pub mac: Option<At<String>>,
    /// The bridge that it is a port of.
    #[serde(default, deserialize_with = "present")]
    pub bridge: Option<At<String>>,
    /// Routes through it.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Administratively up; left out, it is.
    #[serde(default, deserialize_with = "present")]
    pub up: Option<At<bool>>,
}

/// An entry under `routes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination, or `default`.
    pub to: At<String>,
    /// Next hop.
    #[serde(default, deserialize_with = "present")]
    pub via: Option<At<String>>,
    /// Preferred source address.
    #[serde(default, deserialize_with = "present")]
    pub source: Option<At<String>>,
    /// Priority; the lower one wins.
    #[serde(default, deserialize_with = "present")]
    pub metric: Option<At<i64>>,
}

/// A key that is there must have a value: an empty `namespace:`, say from a template, would
/// otherwise silently mean the host's.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Why a text is not a topology file, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Not YAML, or YAML of another shape.
    #[error("{}{what}", prefix(*.position))]
    Malformed {
        /// Where, if known.
        position: Option<Position>,
        /// What is wrong there.
        what: String,
    },
    /// Nothing but comments, or lists without entries.
    #[error("the file declares nothing; write namespaces, bridges or pairs into it")]
    Empty,
}

/// `line 7, column 5: `, or nothing where the position is not known.
pub(super) fn prefix(position: Option<Position>) -> String {
    position.map(|position| format!("{position}: ")).unwrap_or_default()
}

/// Reads a topology file.
///
/// # Errors
/// Text that is not exactly one YAML document of the shape of [`File`], and a file that declares
/// nothing.
pub fn parse(text: &str) -> Result<File, ParseError> {
    let options = serde_saphyr::options! { with_snippet: false, reject_unsupported_tags: true };
    let file: Option<File> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| malformed(&error))?;
    file.filter(|file| *file != File::default()).ok_or(ParseError::Empty)
}

fn malformed(error: &Error) -> ParseError {
    let position = error.location().and_then(Position::of);
    ParseError::Malformed { position, what: one_line(&message(error)) }
}

/// The library's wording, save where it speaks of its own types and options.
fn message(error: &Error) -> Cow<'_, str> {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => message(error),
        Error::MultipleDocuments { .. } => {
            Cow::Borrowed("a second document (`---`) begins; write one file for each")
        }
        Error::NullIntoString { .. } => {
            Cow::Borrowed("the value is missing; write one, or leave the key out")
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with(['i', 'u']) => {
            Cow::Borrowed("expected a whole number")
        }
        Error::InvalidScalar { ty: "boolean", .. } => Cow::Borrowed("expected true or false"),
        Error::Budget { .. } => Cow::Borrowed("too many values or aliases for one file; split it"),
        Error::Unexpected { expected, .. } => Cow::Owned(format!("expected {}", plain(expected))),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            Cow::Owned(format!("the key `{key}` is there twice"))
        }
        other => UserMessageFormatter.format_message(other),
    }
}

fn plain(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list; write [] for an empty one",
        "mapping start" => "keys with values",
        "string scalar" => "one value",
        other => other,
    }
}

fn one_line(message: &str) -> String {
    message
        .chars()
        .flat_map(|c| {
            let (plain, escaped) =
                if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail so")]

    use super::*;

    const WHOLE: &str = r#"
namespaces:
  - name: orange
bridges:
  - name: br0
    addresses: [10.0.0.1/24]
    mtu: 1500
pairs:
  - name: demo
    datapath: observe
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24], mtu: 1500 }
      - interface: tap2
        mac: 02:00:00:00:00:01
        bridge: br0
        up: true
        routes: [{ to: default, via: 10.0.0.10, source: 10.0.0.1, metric: 5 }]
"#;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read_with_its_place() {
        let file = parse(WHOLE).unwrap();
        let end = &file.pairs[0].ends[1];
        assert_eq!(end.position, Some(Position { line: 13, column: 9 }));
        assert_eq!(end.value.mac.as_ref().unwrap().value, "02:00:00:00:00:01");
        let metric = end.value.routes[0].metric.as_ref().unwrap();
        assert_eq!((metric.value, metric.position.unwrap().line), (5, 17));
    }

    #[test]
    fn a_file_that_declares_nothing_is_an_error() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "pairs: []\n", "{}"] {
            assert_eq!(parse(text), Err(ParseError::Empty), "{text:?}");
        }
    }

    #[test]
    fn mistakes_of_shape_say_where_they_are() {
        for (text, message) in [
            (
                "pairs:\n  - name: x\n    colour: red\n",
                "line 3, column 5: unknown field `colour`, expected one of name, datapath, force, ends",
            ),
            (
                "pairs:\n  - name: x\n    name: y\n",
                "line 3, column 5: the key `name` is there twice",
            ),
            ("pairs:\n", "line 1, column 6: expected a list; write [] for an empty one"),
            ("- a\n", "line 1, column 1: expected keys with values"),
            ("pairs:\n  - datapath: tc\n", "line 2, column 5: missing field `name`"),
            (
                "namespaces: [{name: ~}]",
                "line 1, column 21: the value is missing; write one, or leave the key out",
            ),
            (
                "pairs: [{name: a, ends: [{interface: a, namespace: }]}]",
                "line 1, column 50: the value is missing; write one, or leave the key out",
            ),
            (
                "pairs: [{name: a, ends: [{interface: a, mtu: big}]}]",
                "line 1, column 46: expected a whole number",
            ),
            ("pairs: [{name: a, force: maybe}]", "line 1, column 26: expected true or false"),
            (
                "namespaces: [{name: a}]\n---\npairs: []\n",
                "line 3, column 1: a second document (`---`) begins; write one file for each",
            ),
        ] {
            assert_eq!(refused(text), message, "{text:?}");
        }
    }

    #[test]
    fn an_error_is_one_line_whatever_the_file_holds() {
        for text in ["\"a\\nb\": 1", "a\tb: 1", "pairs: [", "\u{1}", "pairs: *x", "&a [*a]"] {
            let message = refused(text);
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }

    #[test]
    fn hostile_files_are_refused_and_not_expanded() {
        let deep = format!("pairs: {}", "[".repeat(100_000));
        assert_eq!(refused(&deep), "line 1, column 263: recursion limit exceeded");
        let aliases = format!("namespaces:\n - &a {{name: a}}\n{}", " - *a\n".repeat(60_000));
        assert!(refused(&aliases).ends_with("too many values or aliases for one file; split it"));
    }
}
