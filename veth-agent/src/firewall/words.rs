//! Commands for `nft`, which takes no quotes around a name.

use serde_json::json;

use crate::shell::quote;

/// The tables of `iptables-nft`, which calls chains as it likes.
const OF_IPTABLES: [&str; 6] = ["filter", "nat", "mangle", "raw", "security", "broute"];

/// Lower-case names that are no keywords.
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

/// The command that deletes a rule.
pub fn delete_rule(family: &str, table: &str, chain: &str, handle: u64) -> String {
    if takes(table, chain) {
        return format!("nft delete rule {family} {table} {chain} handle {handle}");
    }
    // As JSON (`libnftables-json`), any name will do.
    let rule = json!({"family": family, "table": table, "chain": chain, "handle": handle});
    let command = json!({"nftables": [{"delete": {"rule": rule}}]});
    format!("nft -j {}", quote(&command.to_string()))
}

/// Whether `nft` reads these names for names: what it has not made itself may be no word of its language, or
/// a keyword.
pub fn takes(table: &str, chain: &str) -> bool {
    let keyword = |name: &str| {
        name.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !HOOKS.contains(&name)
    };
    is_word(table) && is_word(chain) && !(OF_IPTABLES.contains(&table) && keyword(chain))
}

/// `string`, `src/scanner.l` of nftables.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nft_does_not_read_goes_as_json() {
        let plain = delete_rule("ip", "filter", "KUBE-FORWARD", 7);
        assert_eq!(plain, "nft delete rule ip filter KUBE-FORWARD handle 7");
        let own = delete_rule("inet", "f", "mine", 7);
        assert_eq!(own, "nft delete rule inet f mine handle 7");
        for name in ["limit", "$(x)", "7", "-A"] {
            let said = delete_rule("ip", "filter", name, 7);
            assert!(said.starts_with("nft -j '{") && said.contains(name), "{said}");
        }
    }
}
