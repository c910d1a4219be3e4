//! The marks that say what is ours. They live in the kernel, in `IFLA_IFALIAS` of links and of a
//! namespace's `lo`, so there is no state file to lose or to disagree.

use crate::types::{Datapath, PairName};

const PREFIX: &str = "veth-agent:";
/// Alias of `lo` in a namespace that `apply` made.
pub const NETNS: &str = "veth-agent:netns";
/// Alias of a bridge that `apply` made.
pub const BRIDGE: &str = "veth-agent:bridge";

/// `IFLA_GROUP` of a bridge that `apply` has made and not marked yet ("veth" in ASCII). The kernel
/// ignores an alias in the request that makes a link, and somebody may be killed before the next.
pub const NEWBORN_GROUP: u32 = 0x7665_7468;

/// What the alias of a pair's end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairMark {
    /// Name of the pair in the file that declared it.
    pub pair: PairName,
    /// The datapath that the file asked for.
    pub datapath: Datapath,
    /// The file wants it whatever it may skip.
    pub force: bool,
}

impl PairMark {
    /// The alias to set: at most 255 bytes (`IFALIASZ`).
    #[must_use]
    pub fn alias(&self) -> String {
        let force = if self.force { ";force" } else { "" };
        format!("{PREFIX}{};datapath={}{force}", self.pair, self.datapath)
    }

    /// Reads an alias. Somebody else's gives nothing.
    #[must_use]
    pub fn parse(alias: &str) -> Option<Self> {
        let (pair, rest) = alias.strip_prefix(PREFIX)?.split_once(';')?;
        let datapath = match rest.split(';').find_map(|field| field.strip_prefix("datapath="))? {
            "observe" => Datapath::Observe,
            "tc" => Datapath::Tc,
            "xdp" => Datapath::Xdp,
            _ => return None,
        };
        let force = rest.split(';').any(|field| field == "force");
        Some(Self { pair: pair.parse().ok()?, datapath, force })
    }
}

/// Whether an alias is one of ours, of whatever kind.
#[must_use]
pub fn is_ours(alias: &str) -> bool {
    alias.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_the_alias() -> Result<(), crate::types::ValueError> {
        for datapath in [Datapath::Observe, Datapath::Tc, Datapath::Xdp] {
            for force in [false, true] {
                let mark = PairMark { pair: "pod a: b".parse()?, datapath, force };
                assert_eq!(PairMark::parse(&mark.alias()), Some(mark));
            }
        }
        Ok(())
    }

    #[test]
    fn other_aliases_are_not_marks() {
        for alias in ["", "uplink", "veth-agent:", BRIDGE, NETNS, "veth-agent:x;datapath=fast"] {
            assert_eq!(PairMark::parse(alias), None, "{alias:?}");
        }
    }
}
