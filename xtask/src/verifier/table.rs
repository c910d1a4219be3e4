//! The table of programs, its budget, and its page in the documentation.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A program on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kernel's version.
    pub kernel: String,
    /// The object that has it.
    pub object: String,
    /// Its name.
    pub program: String,
    /// Instructions that the verifier walked through.
    pub verified: u64,
    /// Bytes of machine code.
    pub jited: u64,
}

/// How much a figure may grow before somebody has to say so: this part of it, and a little for the
/// small ones, in which another compiler's mood shows.
const BUDGET_PART: u64 = 20;
const BUDGET_LEAST: u64 = 8;

const HEAD: &str = "\
# What the verifier says

<!-- Written by `cargo xtask verifier --update`; `cargo xtask verifier` compares. -->

Every program of every object on every kernel that is tested: instructions that the verifier walks
through (its limit is 1,000,000) and bytes of machine code. A figure that grows by more than a
twentieth, and by more than 8, fails the run until the table is written anew.

";

/// The rows that the asking program printed, an array of objects.
pub fn read_rows(kernel: &str, printed: &str) -> Result<Vec<Row>> {
    let rows: Vec<Value> = serde_json::from_str(printed)?;
    let read = |row: &Value| {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        let number = |name: &str| row[name].as_u64();
        Some(Row {
            kernel: kernel.to_owned(),
            object: text("object")?,
            program: text("program")?,
            verified: number("verified")?,
            jited: number("jited")?,
        })
    };
    rows.iter().map(|row| read(row).with_context(|| format!("not a program: {row}"))).collect()
}

/// The rows as a table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| Linux | object | program | verified instructions | jited bytes |\n\
                    |---|---|---|---:|---:|\n"
        .to_owned();
    for Row { kernel, object, program, verified, jited } in rows {
        // Writing into a string does not fail.
        let _ = writeln!(text, "| {kernel} | {object} | {program} | {verified} | {jited} |");
    }
    text
}

/// The whole page.
pub fn page(rows: &[Row]) -> String {
    HEAD.to_owned() + &markdown(rows)
}

/// The rows of a page.
pub fn parse(page: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, kernel, object, program, verified, jited, _] = cells.as_slice() else {
            return None;
        };
        Some(Row {
            kernel: (*kernel).to_owned(),
            object: (*object).to_owned(),
            program: (*program).to_owned(),
            verified: verified.parse().ok()?,
            jited: jited.parse().ok()?,
        })
    };
    page.lines().filter_map(row).collect()
}

/// The table with what was found in place of what was known of the same kernels, by version.
pub fn merged(old: &[Row], found: &[Row]) -> Vec<Row> {
    let kept = old.iter().filter(|row| found.iter().all(|new| new.kernel != row.kernel));
    let mut rows: Vec<_> = kept.chain(found).cloned().collect();
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    rows.sort_by_key(|row| row.kernel.split('.').map(number).collect::<Vec<_>>());
    rows
}

/// What has grown too much, or is new on a kernel that the table knows. Of other kernels nothing
/// can be said.
pub fn over_budget(old: &[Row], found: &[Row]) -> Vec<String> {
    let known = |new: &&Row| old.iter().any(|row| row.kernel == new.kernel);
    found.iter().filter(known).filter_map(|new| over(old, new)).collect()
}

fn over(old: &[Row], new: &Row) -> Option<String> {
    let name = format!("{} {} on Linux {}", new.object, new.program, new.kernel);
    let same = |row: &&Row| {
        (&row.kernel, &row.object, &row.program) == (&new.kernel, &new.object, &new.program)
    };
    let Some(row) = old.iter().find(same) else { return Some(format!("{name} is new")) };
    let figures = [
        ("verified instructions", row.verified, new.verified),
        ("jited bytes", row.jited, new.jited),
    ];
    let grown = figures.into_iter().find(|(_, old, new)| *new > budget(*old))?;
    let (what, old, new) = grown;
    Some(format!("{name}: {new} {what}, of which {} are allowed (it had {old})", budget(old)))
}

fn budget(figure: u64) -> u64 {
    figure + (figure / BUDGET_PART).max(BUDGET_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, program: &str, verified: u64, jited: u64) -> Row {
        let (kernel, program) = (kernel.to_owned(), program.to_owned());
        Row { kernel, object: "end".to_owned(), program, verified, jited }
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let rows = [row("6.1", "a", 1, 2), row("6.12", "a", 3, 4)];
        assert_eq!(parse(&page(&rows)), rows);
    }

    #[test]
    fn growth_within_the_budget_passes_and_beyond_it_does_not() {
        let old = [row("6.1", "a", 1000, 1000), row("6.1", "small", 20, 20)];
        let over = |new: Row| over_budget(&old, &[new]);
        assert!(over(row("6.1", "a", 1050, 1050)).is_empty());
        assert!(over(row("6.1", "a", 1, 1)).is_empty());
        assert_eq!(over(row("6.1", "a", 1051, 1000)).len(), 1);
        assert_eq!(over(row("6.1", "a", 1000, 1051)).len(), 1);
        assert!(over(row("6.1", "small", 28, 28)).is_empty());
        assert_eq!(over(row("6.1", "small", 29, 20)).len(), 1);
        assert_eq!(over(row("6.1", "new", 1, 1)), ["end new on Linux 6.1 is new"]);
        assert!(over(row("9.9", "a", 5000, 5000)).is_empty());
    }

    #[test]
    fn what_was_found_takes_the_place_of_what_was_known_of_its_kernel() {
        let old = [row("6.1", "a", 1, 1), row("6.1", "gone", 1, 1), row("6.18", "a", 1, 1)];
        let merged = merged(&old, &[row("6.12", "a", 2, 2), row("6.1", "a", 3, 3)]);
        assert_eq!(merged, [row("6.1", "a", 3, 3), row("6.12", "a", 2, 2), row("6.18", "a", 1, 1)]);
    }

    #[test]
    fn a_program_without_its_figures_is_an_error() {
        let printed = r#"[{"object":"end","program":"a","verified":null,"jited":4}]"#;
        assert!(read_rows("6.1", printed).is_err());
        let printed = r#"[{"object":"end","program":"a","verified":3,"jited":4}]"#;
        assert_eq!(read_rows("6.1", printed).ok(), Some(vec![row("6.1", "a", 3, 4)]));
    }
}
