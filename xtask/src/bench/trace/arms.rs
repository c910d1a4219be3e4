//! Who looks on while packets pass, and what for.

use std::process::Command;

use crate::{agent::Agent, bench::pair};

/// Bytes of a frame that are captured, at the most.
const SNAPLEN: &str = "128";

/// The port that one packet in a hundred comes from.
pub const MARKED: u16 = 7001;

/// Who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Nobody.
    Nobody,
    /// `veth-agent trace`.
    Agent,
    /// tcpdump.
    Tcpdump,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// What does not come.
    Nothing,
    /// The packets from [`MARKED`].
    Marked,
    /// All, by a filter that they pass.
    ByFilter,
    /// All, without a filter.
    Everything,
}

impl Matching {
    /// In the syntax of pcap-filter(7).
    fn filter(self) -> Vec<String> {
        let filter = match self {
            Self::Nothing => "tcp port 81".to_owned(),
            Self::Marked => format!("udp src port {MARKED}"),
            Self::ByFilter => "udp".to_owned(),
            Self::Everything => String::new(),
        };
        filter.split_whitespace().map(str::to_owned).collect()
    }

    /// Whether each packet matches.
    pub const fn is_all(self) -> bool {
        matches!(self, Self::ByFilter | Self::Everything)
    }
}

/// One way to look on.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// What the report calls it.
    pub name: &'static str,
    /// Who looks on.
    pub tool: Tool,
    /// What for.
    pub matching: Matching,
    options: &'static str,
}

const fn arm(name: &'static str, tool: Tool, matching: Matching, options: &'static str) -> Arm {
    Arm { name, tool, matching, options }
}

/// Captures that are counted, not kept: a disk is not what is measured.
const WRITTEN: &str = "-w /dev/null";

/// All of them.
pub const ARMS: [Arm; 12] = [
    arm("not attached", Tool::Nobody, Matching::Everything, ""),
    arm("control", Tool::Nobody, Matching::Everything, ""),
    arm("nothing matches", Tool::Agent, Matching::Nothing, WRITTEN),
    arm("1 % matches", Tool::Agent, Matching::Marked, WRITTEN),
    arm("all by a filter", Tool::Agent, Matching::ByFilter, WRITTEN),
    arm("all", Tool::Agent, Matching::Everything, WRITTEN),
    arm("all as text", Tool::Agent, Matching::Everything, ""),
    arm("tcpdump, nothing matches", Tool::Tcpdump, Matching::Nothing, WRITTEN),
    arm("tcpdump, 1 % matches", Tool::Tcpdump, Matching::Marked, WRITTEN),
    arm("tcpdump", Tool::Tcpdump, Matching::Everything, WRITTEN),
    // As large a buffer as the agent's ring of one CPU.
    arm("tcpdump -B 8192", Tool::Tcpdump, Matching::Everything, "-w /dev/null -B 8192"),
    arm("tcpdump as text", Tool::Tcpdump, Matching::Everything, ""),
];

impl Arm {
    /// What looks on at the packets that arrive at the server; `None` where nobody does.
    pub fn command(&self, agent: &Agent) -> Option<Command> {
        let mut command = match self.tool {
            Tool::Nobody => return None,
            Tool::Agent => agent.command(),
            Tool::Tcpdump => pair::within(pair::BLUE, "tcpdump"),
        };
        match self.tool {
            Tool::Agent => command.args(["trace", "--netns", pair::BLUE, "--dir", "in"]),
            // It would give up its rights, and ask what addresses are called.
            _ => command.args(["-Z", "root", "-nn", "-Q", "in"]),
        };
        command.args(["-i", pair::BLUE_END, "-s", SNAPLEN]);
        command.args(self.options.split_whitespace()).args(self.matching.filter());
        Some(command)
    }
}

/// The arm of this name.
pub fn place(name: &str) -> Option<usize> {
    ARMS.iter().position(|arm| arm.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn both_tools_are_asked_for_the_same() {
        let agent = Agent::new("veth-agent".into());
        let shown = |name| {
            let command = place(name).and_then(|place| ARMS[place].command(&agent));
            command.map(|command| process::display(&command))
        };
        assert_eq!(
            shown("1 % matches").as_deref(),
            Some(
                "veth-agent trace --netns blue --dir in -i b1 -s 128 -w /dev/null udp src port 7001"
            )
        );
        assert_eq!(
            shown("tcpdump, 1 % matches").as_deref(),
            Some(
                "nsenter --net=/run/netns/blue tcpdump -Z root -nn -Q in -i b1 -s 128 -w /dev/null udp src port 7001"
            )
        );
        assert_eq!(shown("control"), None);
        assert_eq!(shown("nobody"), None);
    }

    #[test]
    fn every_arm_has_a_name_of_its_own() {
        for (n, arm) in ARMS.iter().enumerate() {
            assert_eq!(place(arm.name), Some(n));
        }
    }
}
