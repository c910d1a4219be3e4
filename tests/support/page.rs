//! A metrics page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use prometheus_parse::{Scrape, Value};

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of a page.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of the page.
    pub samples: Vec<Sample>,
}

impl Page {
    /// Reads the text format.
    ///
    /// # Errors
    /// When a line is not of the format.
    pub fn parse(text: &str) -> Result<Self> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))?;
        let samples = scrape
            .samples
            .into_iter()
            .map(|sample| {
                let value = match sample.value {
                    Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                    other => bail!("{}: {other:?}", sample.metric),
                };
                let labels = sample.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                Ok(Sample { name: sample.metric, labels, value })
            })
            .collect::<Result<_>>()?;
        Ok(Self { samples })
    }

    /// The samples called `name` that have all of `labels`.
    pub fn all<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).is_some_and(|found| found == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The value of the one sample called `name` with all of `labels`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let mut found = self.all(name, labels);
        let first = found.next().with_context(|| format!("no {name}{labels:?} on the page"))?;
        if found.next().is_some() {
            bail!("more than one {name}{labels:?} on the page");
        }
        Ok(first.value)
    }

    /// A whole number that counts something of an end.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn count(&self, name: &str, netns: &str, interface: &str, direction: &str) -> Result<u64> {
        let labels = [("netns", netns), ("interface", interface), ("direction", direction)];
        let value = self.value(name, &labels)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok(value as u64)
    }
}
