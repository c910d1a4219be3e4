//! Legacy iptables and ebtables. The kernel names the tables that a namespace has; what is in them
//! only their own tools read.

use std::{fs, process::Command};

use crate::fastpath::Legacy;

const TOOLS: [(&str, &str, &str); 2] = [
    ("iptables", "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"),
    ("ip6tables", "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"),
];

/// Chains that a forwarded packet passes.
const ON_PATH: [&str; 3] = ["PREROUTING", "FORWARD", "POSTROUTING"];

/// The tables in which something stands on the forward path.
pub fn tables() -> Result<Vec<Legacy>, String> {
    let mut found = Vec::new();
    for (tool, names, save) in TOOLS {
        // Without the file, there is no legacy iptables.
        for table in fs::read_to_string(names).unwrap_or_default().lines() {
            let rule = first_rule(&saved(save, table)?);
            found.extend(rule.map(|rule| Legacy { tool, table: table.to_owned(), rule }));
        }
    }
    found.extend(ebtables());
    Ok(found)
}

fn saved(save: &str, table: &str) -> Result<String, String> {
    let output = Command::new(save).args(["-t", table]).output();
    let output = output.map_err(|error| {
        format!("a legacy iptables table {table}, which cannot be read: {save}: {error}")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("a legacy iptables table {table}, which cannot be read: {save}: {}", output.status))
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
