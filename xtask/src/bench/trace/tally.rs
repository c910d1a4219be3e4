//! What those who looked on say of it in the end.

/// Packets, by the one that counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Came by. tcpdump does not count those that do not match.
    pub seen: u64,
    /// Of those, the filter let through.
    pub matched: u64,
    /// Of those, were printed or written.
    pub captured: u64,
    /// Of those that matched, found no room.
    pub lost: u64,
}

impl Tally {
    /// Of the last line of `veth-agent trace`.
    pub fn of_agent(said: &str) -> Option<Self> {
        let line = said.lines().rev().find(|line| line.contains("seen "))?;
        let number = |name| digits(line.split_once(name)?.1);
        Some(Self {
            seen: number("seen ")?,
            matched: number("matched ")?,
            captured: number("printed ")?,
            lost: number("lost ")?,
        })
    }

    /// Of the last lines of tcpdump.
    pub fn of_tcpdump(said: &str) -> Option<Self> {
        let number = |what: &str| said.lines().find(|line| line.ends_with(what)).and_then(digits);
        Some(Self {
            seen: number("received by filter")?,
            matched: number("received by filter")?,
            captured: number("captured")?,
            lost: number("dropped by kernel")?,
        })
    }

    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            seen: self.seen + other.seen,
            matched: self.matched + other.matched,
            captured: self.captured + other.captured,
            lost: self.lost + other.lost,
        }
    }

    /// Matched, and neither captured nor lost: nobody read them.
    pub const fn unread(&self) -> u64 {
        self.matched.saturating_sub(self.captured + self.lost)
    }
}

/// The number that a text begins with.
fn digits(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_accounts_for_every_packet() {
        let said =
            "veth-agent: attached 1 end\nveth-agent: seen 90, matched 30, printed 20, lost 10\n";
        let tally = Tally { seen: 90, matched: 30, captured: 20, lost: 10 };
        assert_eq!(Tally::of_agent(said), Some(tally));
        assert_eq!(tally.unread(), 0);
        assert_eq!(Tally::of_agent("veth-agent: attached 1 end\n"), None);
    }

    #[test]
    fn tcpdump_leaves_some_unread() {
        let said = "tcpdump: listening on b1, link-type EN10MB (Ethernet), snapshot length 128 bytes\n\
                    1 packet captured\n30 packets received by filter\n9 packets dropped by kernel\n";
        let tally = Tally { seen: 30, matched: 30, captured: 1, lost: 9 };
        assert_eq!(Tally::of_tcpdump(said), Some(tally));
        assert_eq!(tally.unread(), 20);
        assert_eq!(Tally::of_tcpdump("1 packet captured\n"), None);
    }
}
