//! The features as a page of the documentation.

use std::fmt::Write as _;

use super::Feature;

const HEAD: &str = "\
# Kernels

<!-- Written by `cargo xtask docs`; a test compares. -->

The agent asks the running kernel for each of these, once, and never goes by its version: a
distribution may have taken a feature back to an older kernel, or left it out of a newer one.
`veth-agent status` shows the answers. It runs on Linux 5.14 and newer, built with
`CONFIG_BPF_SYSCALL` and `CONFIG_BPF_JIT`; what it does not find there, it does without.

`cargo xtask vm` runs the integration tests on Debian's 6.1 and 6.12, and a test there compares
every answer with that kernel's version and build options.

";

/// `docs/kernels.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| feature | Linux | build options | used for | without it |\n");
    page.push_str("|---|---|---|---|---|\n");
    for feature in Feature::ALL {
        let facts = feature.facts();
        let options: Vec<_> = facts.options.iter().map(|option| format!("`{option}`")).collect();
        // Writing into a string does not fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            facts.name,
            facts.since,
            options.join(", "),
            facts.purpose,
            facts.without
        );
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_the_documentation_is_this_one() {
        let page = include_str!("../../../docs/kernels.md");
        assert!(
            page == super::markdown(),
            "docs/kernels.md is out of date; run `cargo xtask docs`"
        );
    }
}
