//! Counters of every end, written straight as text. They are most of the page: with 1,000 pairs some 36,000
//! samples, which a tree of small strings for each would make twice as dear.

use std::io::Write as _;

use super::metrics::Reading;
use crate::collect::EndReading;

/// A family with samples of every end.
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// What it says, without line ends.
    pub help: &'static str,
    /// The samples of one end.
    pub series: Vec<Series>,
}

/// One sample of each end.
pub struct Series {
    /// Labels that tell it from the others of its family, in order, ahead of the end's own.
    pub labels: Vec<(&'static str, &'static str)>,
    /// Its value, of an end that has it.
    pub value: Value,
}

/// What an end has of something; `None` where it has none.
pub type Value = Box<dyn Fn(&EndReading) -> Option<u64>>;

impl Counter {
    /// Writes the family in Prometheus' text format; nothing where it has no sample.
    pub fn write(&self, readings: &[Reading<'_>], page: &mut Vec<u8>) {
        let begin = page.len();
        let _ = writeln!(page, "# HELP {} {}\n# TYPE {} counter", self.name, self.help, self.name);
        let header = page.len();
        let beginnings: Vec<_> = self.series.iter().map(|series| self.beginning(series)).collect();
        for reading in readings {
            for (series, beginning) in self.series.iter().zip(&beginnings) {
                let Some(value) = (series.value)(&reading.of_end) else { continue };
                page.extend_from_slice(beginning.as_bytes());
                page.extend_from_slice(reading.text.as_bytes());
                // A vector takes all that is written.
                let _ = writeln!(page, "{value}");
            }
        }
        if page.len() == header {
            page.truncate(begin);
        }
    }

    fn beginning(&self, series: &Series) -> String {
        let labels = series.labels.iter().map(|(name, value)| format!("{name}=\"{value}\","));
        format!("{}{{{}", self.name, labels.collect::<String>())
    }
}

/// The labels of an end as they end each of its samples.
pub fn of_end(interface: &str, netns: &str) -> String {
    format!("interface=\"{}\",netns=\"{}\"}} ", escaped(interface), escaped(netns))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
