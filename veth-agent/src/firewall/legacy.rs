//! Legacy iptables and ebtables. The kernel names the tables that a namespace has; what is in them
//! only their own tools read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use super::{Hook, Legacy, Place, Rule, reach::places_of};
use crate::shell::quote;

/// The tools of legacy iptables, the file that names their tables, and what saves one.
pub const LEGACY_TOOLS: [(&str, &str, &str); 2] = [
    ("iptables", "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"),
    ("ip6tables", "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"),
];

/// Chains that a forwarded packet passes.
const ON_PATH: [&str; 3] = ["PREROUTING", "FORWARD", "POSTROUTING"];

/// The chains that every packet comes by, where a table has them.
const BUILT_IN: [(&str, Hook); 5] = [
    ("PREROUTING", Hook::Prerouting),
    ("INPUT", Hook::Input),
    ("FORWARD", Hook::Forward),
    ("OUTPUT", Hook::Output),
    ("POSTROUTING", Hook::Postrouting),
];

/// The tables in which something stands on the forward path.
///
/// # Errors
/// What cannot be read, in one line.
pub fn tables() -> Result<Vec<Legacy>, String> {
    let mut found = Vec::new();
    for (tool, names, save) in LEGACY_TOOLS {
        // Without the file, there is no legacy iptables.
        for table in fs::read_to_string(names).unwrap_or_default().lines() {
            let rule = first_rule(&saved(&[save, "-t", table])?);
            found.extend(rule.map(|rule| Legacy { tool, table: table.to_owned(), rule }));
        }
    }
    found.extend(ebtables());
    Ok(found)
}

/// What a tool of legacy iptables says, asked by these words.
fn saved(words: &[&str]) -> Result<String, String> {
    let unread = |why: String| {
        format!("a legacy iptables table, which cannot be read: {}: {why}", words.join(" "))
    };
    let [tool, arguments @ ..] = words else { return Err(unread(String::new())) };
    let output = Command::new(tool).args(arguments).output();
    let output = output.map_err(|error| unread(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(unread(output.status.to_string()))
}

/// The rules and policies that drop or reject.
///
/// # Errors
/// As [`tables`].
pub fn rules() -> Result<Vec<Rule>, String> {
    let mut found = Vec::new();
    for (tool, names, save) in LEGACY_TOOLS {
        for table in fs::read_to_string(names).unwrap_or_default().lines() {
            let saved = saved(&[save, "-c", "-t", table])?;
            found.extend(dropping(tool, table, &saved));
        }
    }
    Ok(found)
}

/// What drops or rejects, of what `iptables-save -c` prints.
fn dropping(tool: &str, table: &str, saved: &str) -> Vec<Rule> {
    let mut leads_to: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (chain, rule) in saved.lines().filter_map(|line| appended(line)?.1.split_once(' ')) {
        let mut words = rule.split(' ').skip_while(|word| !["-j", "-g"].contains(word));
        leads_to.entry(chain).or_default().extend(words.nth(1));
    }
    let family = if tool == "ip6tables" { "ip6" } else { "ip" };
    let place = |hook| Place { family, hook, devices: Vec::new() };
    let met = places_of(BUILT_IN.into_iter().map(|(name, hook)| (name, place(hook))), &leads_to);
    let rules = saved.lines().filter_map(|line| {
        let (chain, rule) =
            dropping_rule(tool, table, line).or_else(|| dropping_policy(tool, table, line))?;
        Some(Rule { met: met.get(chain)?.clone(), ..rule })
    });
    rules.collect()
}

/// The counters and the words behind `-A` of a line such as `[3:252] -A FORWARD -p tcp -j DROP`.
fn appended(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("] -A ")
}

/// A rule that drops or rejects, and its chain.
fn dropping_rule<'l>(tool: &str, table: &str, line: &'l str) -> Option<(&'l str, Rule)> {
    let (counts, rule) = appended(line)?;
    let verdicts = [" -j DROP", " -j REJECT"];
    let (before, _) = verdicts.iter().find_map(|verdict| rule.split_once(verdict))?;
    let (chain, matches) = before.split_once(' ').unwrap_or((before, ""));
    let found = Rule {
        name: format!("{tool} table {table}: -A {rule}"),
        place: format!("{tool} table {table} {chain}"),
        met: BTreeSet::new(),
        handle: None,
        packets: counts.split(':').next()?.parse().ok(),
        takes_all: matches.is_empty(),
        remove: Some(format!("{tool}-legacy -t {table} -D {}", requoted(rule))),
    };
    Some((chain, found))
}

/// A policy that drops, such as `:FORWARD DROP [5:420]`, and its chain.
fn dropping_policy<'l>(tool: &str, table: &str, line: &'l str) -> Option<(&'l str, Rule)> {
    let (chain, counts) = line.strip_prefix(':')?.split_once(" DROP [")?;
    let place = format!("{tool} table {table} {chain}");
    let found = Rule {
        name: format!("{place}, policy DROP"),
        place,
        met: BTreeSet::new(),
        handle: None,
        packets: counts.split(':').next()?.parse().ok(),
        takes_all: false,
        remove: None,
    };
    Some((chain, found))
}

/// The words of a rule, which `iptables-save` puts in double quotes where it has to
/// (`xtables_save_string`): a shell would still run what stands in them.
fn requoted(rule: &str) -> String {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = rule.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(chars.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

/// The first rule or dropping policy on the forward path, of what `iptables-save` prints.
fn first_rule(saved: &str) -> Option<String> {
    let on_path = |chain: &str| ON_PATH.contains(&chain);
    let matters = |line: &&str| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("-A"), Some(chain)) => on_path(chain),
            (Some(chain), Some(policy)) if policy != "ACCEPT" && policy != "-" => {
                chain.strip_prefix(':').is_some_and(on_path)
            }
            _ => false,
        }
    };
    saved.lines().find(matters).map(str::to_owned)
}

/// Tables of ebtables are not told by namespace: where their modules are, they may have rules.
fn ebtables() -> Option<Legacy> {
    let modules = fs::read_to_string("/proc/modules").ok()?;
    let module = modules.lines().find_map(|line| {
        line.split_whitespace().next().filter(|name| name.starts_with("ebtable_"))
    })?;
    let table = module.trim_start_matches("ebtable_").to_owned();
    Some(Legacy { tool: "ebtables", table, rule: format!("its module {module} is loaded") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_drop_are_told_with_what_they_took() {
        let rule = |line| dropping_rule("iptables", "filter", line).map(|(_, rule)| rule);
        let found = rule("[3:252] -A FORWARD -s 10.0.0.2/32 -j DROP");
        let expected = Rule {
            name: "iptables table filter: -A FORWARD -s 10.0.0.2/32 -j DROP".to_owned(),
            place: "iptables table filter FORWARD".to_owned(),
            met: BTreeSet::new(),
            handle: None,
            packets: Some(3),
            takes_all: false,
            remove: Some("iptables-legacy -t filter -D FORWARD -s 10.0.0.2/32 -j DROP".to_owned()),
        };
        assert_eq!(found, Some(expected));
        let all = rule("[0:0] -A INPUT -j REJECT --reject-with icmp-port-unreachable");
        assert!(all.is_some_and(|rule| rule.takes_all));
        let named = r#"[0:0] -A INPUT -m comment --comment "a \"b\" $(c)" -j DROP"#;
        let removed =
            r#"iptables-legacy -t filter -D INPUT -m comment --comment 'a "b" $(c)' -j DROP"#;
        assert_eq!(rule(named).and_then(|rule| rule.remove).as_deref(), Some(removed));
        assert_eq!(rule("[3:252] -A FORWARD -j ACCEPT"), None);
        assert_eq!(rule(":FORWARD DROP [5:6]"), None);
    }

    #[test]
    fn what_no_packet_comes_to_drops_none() {
        let saved = ":INPUT ACCEPT [0:0]\n:FORWARD DROP [5:6]\n:MY - [0:0]\n:LONE - [0:0]\n\
                     [1:2] -A INPUT -p tcp -g MY\n[1:2] -A MY -j DROP\n[1:2] -A LONE -j DROP\n";
        let found = dropping("ip6tables", "filter", saved);
        let found: Vec<_> = found
            .iter()
            .map(|rule| (rule.name.as_str(), rule.met.iter().map(|it| it.hook).collect::<Vec<_>>()))
            .collect();
        let expected = [
            ("ip6tables table filter FORWARD, policy DROP", vec![Hook::Forward]),
            ("ip6tables table filter: -A MY -j DROP", vec![Hook::Input]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_and_policies_on_the_forward_path_are_found_and_others_are_not() {
        let empty =
            "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [5:6]\n:MY - [0:0]\n-A INPUT -j DROP\n";
        assert_eq!(first_rule(empty), None);
        let policy = empty.replace("FORWARD ACCEPT", "FORWARD DROP");
        assert_eq!(first_rule(&policy).as_deref(), Some(":FORWARD DROP [5:6]"));
        let rule = format!("{empty}-A FORWARD -p tcp -j MY\nCOMMIT\n");
        assert_eq!(first_rule(&rule).as_deref(), Some("-A FORWARD -p tcp -j MY"));
    }
}
