//! The agent's HTTP side: its pages, and the samples of its metrics page.

use std::time::Duration;

use anyhow::{Context, Result};

/// The longest that a page may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one agent. It keeps its connection, as a scraper does.
pub struct Client {
    http: ureq::Agent,
    base: String,
}

impl Client {
    /// A client of the agent that listens at `address` (`HOST:PORT`).
    pub fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        Self { http: config.into(), base: format!("http://{address}") }
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The body of a page; an error unless its status is a good one.
    pub fn get(&self, path: &str) -> Result<String> {
        let url = self.url(path);
        let mut response = self.http.get(&url).call().with_context(|| format!("GET {url}"))?;
        response.body_mut().read_to_string().with_context(|| format!("GET {url}"))
    }
}

/// One sample of a page in Prometheus' text format.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Names and values of the labels, in the page's order.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of a label, empty if it has none: to Prometheus the two are the same.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

/// The samples of a page.
pub fn samples(page: &str) -> Result<Vec<Sample>> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).with_context(|| format!("not a sample: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Splits a label's value, up to its closing quote, from what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let page = "# HELP a_total x\n# TYPE a_total counter\n\
                    a_total{netns=\"or,an}ge\",q=\"a\\\"b\\\\c\\nd\"} 42\nplain 1.5e3 1700000000\n";
        let samples = samples(page).unwrap_or_default();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].label("netns"), "or,an}ge");
        assert_eq!(samples[0].label("q"), "a\"b\\c\nd");
        assert_eq!(samples[0].label("absent"), "");
        assert_eq!((samples[1].name.as_str(), samples[1].value), ("plain", 1500.0));
    }

    #[test]
    fn a_broken_line_is_an_error() {
        for line in ["a{b=\"c} 1", "a{b} 1", "a", "a{b=\"c\"} x"] {
            assert!(samples(line).is_err(), "{line}");
        }
    }
}
