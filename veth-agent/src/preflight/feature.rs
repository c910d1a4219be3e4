//! The features, and what is done without each.

use std::sync::OnceLock;

use serde::Serialize;
use thiserror::Error;

use super::{KernelVersion, probe, release};

/// A feature of the kernel that the agent uses where it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Answers to the exact question that was asked.
    StrictDumps,
    /// A number for each namespace that is never used again.
    NetnsCookie,
    /// Filters on both hooks of an interface.
    Clsact,
    /// Programs on both hooks of an interface, as links.
    Tcx,
    /// Links that outlive the process that made them.
    LinkPinning,
    /// A new program in a link, with no gap.
    LinkUpdate,
    /// The kernel's own description of its types.
    Btf,
    /// Run counts and run times of programs.
    BpfStats,
    /// Events from programs.
    RingBuffer,
    /// Maps that the agent's memory shows.
    MmapableMaps,
    /// From one pod to the other in one hop.
    RedirectPeer,
    /// XDP on large frames.
    XdpFrags,
    /// Large frames from one device to another by XDP.
    XdpFragRedirect,
    /// Why a packet was dropped.
    DropReasons,
    /// The other kind of pair.
    Netkit,
}

/// What is to be known of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What people call it.
    pub name: &'static str,
    /// The kernel that brought it.
    pub since: KernelVersion,
    /// The kernel's build options without which it is not there.
    pub options: &'static [&'static str],
    /// What the agent uses it for.
    pub purpose: &'static str,
    /// What is done without it.
    pub without: &'static str,
}

/// Whether the running kernel has a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has.
    Present,
    /// It has not.
    Absent,
    /// It did not say, and why.
    Unknown(String),
}

/// A feature that was asked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "this kernel ({release}) has no {name}, which came with Linux {since}; without it, {without}",
    name = .feature.facts().name, since = .feature.facts().since, without = .feature.facts().without
)]
pub struct MissingFeature {
    /// Which.
    pub feature: Feature,
    /// The running kernel.
    pub release: String,
}

impl Feature {
    /// All of them, as they are listed.
    pub const ALL: [Self; 15] = [
        Self::StrictDumps,
        Self::NetnsCookie,
        Self::Clsact,
        Self::Tcx,
        Self::LinkPinning,
        Self::LinkUpdate,
        Self::Btf,
        Self::BpfStats,
        Self::RingBuffer,
        Self::MmapableMaps,
        Self::RedirectPeer,
        Self::XdpFrags,
        Self::XdpFragRedirect,
        Self::DropReasons,
        Self::Netkit,
    ];

    /// What is to be known of it.
    #[must_use]
    pub const fn facts(self) -> Facts {
        match self {
            Self::StrictDumps => facts(
                "strict netlink dumps",
                (4, 20),
                &[],
                "lists of links, addresses and routes",
                "the agent does not run",
            ),
            Self::NetnsCookie => facts(
                "network namespace cookies",
                (5, 14),
                &[],
                "the identity of an end",
                "the agent does not run",
            ),
            Self::Clsact => facts(
                "clsact filters",
                (4, 5),
                &["CONFIG_NET_SCH_INGRESS", "CONFIG_NET_CLS_BPF"],
                "programs on ends where there is no TCX, or by `--attach clsact`",
                "programs need TCX",
            ),
            Self::Tcx => facts(
                "TCX",
                (6, 6),
                &["CONFIG_NET_XGRESS"],
                "programs on ends",
                "programs are filters below a clsact qdisc (`--attach clsact`), at priority 1 \
                 where that is free",
            ),
            Self::LinkPinning => facts(
                "pinned BPF links",
                (5, 7),
                &[],
                "TCX programs outlive the agent",
                "nothing is lost: clsact filters outlive it anyway",
            ),
            Self::LinkUpdate => facts(
                "atomic link updates",
                (5, 7),
                &[],
                "an upgrade replaces TCX programs without a gap",
                "clsact filters are replaced in place, by priority and handle",
            ),
            Self::Btf => facts(
                "kernel BTF",
                (5, 4),
                &["CONFIG_DEBUG_INFO_BTF"],
                "drops: what the kernel calls its reasons, and where its structures keep what",
                "drops are not counted; packets are, as ever",
            ),
            Self::BpfStats => facts(
                "BPF run statistics",
                (5, 1),
                &[],
                "`status --measure`: nanoseconds per packet",
                "`status` shows what the kernel has counted for others, or nothing",
            ),
            Self::RingBuffer => facts(
                "BPF ring buffer",
                (5, 8),
                &[],
                "the packets that `trace` shows",
                "`trace` does not run",
            ),
            Self::MmapableMaps => facts(
                "memory-mapped BPF arrays",
                (5, 5),
                &[],
                "nothing yet: the lease of the fast path is written by a system call",
                "nothing is missing",
            ),
            Self::RedirectPeer => facts(
                "bpf_redirect_peer",
                (5, 10),
                &[],
                "`datapath: tc`: from pod to pod in one hop",
                "frames take the kernel's own way",
            ),
            Self::XdpFrags => facts(
                "XDP on large frames",
                (5, 18),
                &[],
                "`datapath: xdp`: MTUs above 3,506 need it",
                "such pairs stay on the stack",
            ),
            Self::XdpFragRedirect => facts(
                "XDP redirects of large frames",
                (6, 3),
                &[],
                "`datapath: xdp`: frames above 3,520 bytes",
                "such frames take the kernel's own way",
            ),
            Self::DropReasons => facts(
                "drop reasons",
                (5, 17),
                &["CONFIG_DEBUG_INFO_BTF"],
                "`drops_total` by reason, from the raw tracepoint `kfree_skb`",
                "drops are not counted; packets are, as ever",
            ),
            Self::Netkit => facts(
                "netkit pairs",
                (6, 7),
                &["CONFIG_NETKIT"],
                "pairs of that kind are listed, attached to and counted",
                "there are none",
            ),
        }
    }

    /// Whether the running kernel has it. Probed at the first question; the answer is kept.
    pub fn state(self) -> &'static State {
        static STATES: [OnceLock<State>; Feature::ALL.len()] =
            [const { OnceLock::new() }; Feature::ALL.len()];
        STATES[self as usize].get_or_init(|| match probe::probe(self) {
            Ok(true) => State::Present,
            Ok(false) => State::Absent,
            Err(why) => State::Unknown(why),
        })
    }

    /// Whether the running kernel certainly has it.
    #[must_use]
    pub fn available(self) -> bool {
        *self.state() == State::Present
    }

    /// Refuses where the running kernel has not got it. Where the kernel does not say, what comes
    /// next will.
    ///
    /// # Errors
    /// What is missing, since when there is such a thing, and what is done without it.
    pub fn require(self) -> Result<(), MissingFeature> {
        match self.state() {
            State::Absent => Err(MissingFeature { feature: self, release: release() }),
            State::Present | State::Unknown(_) => Ok(()),
        }
    }
}

const fn facts(
    name: &'static str,
    since: (u16, u16),
    options: &'static [&'static str],
    purpose: &'static str,
    without: &'static str,
) -> Facts {
    Facts { name, since: KernelVersion(since.0, since.1), options, purpose, without }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_feature_is_listed_once_in_its_own_place() {
        for (place, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, place, "{feature:?}");
        }
        let names: BTreeSet<_> = Feature::ALL.iter().map(|feature| feature.facts().name).collect();
        assert_eq!(names.len(), Feature::ALL.len());
    }

    #[test]
    fn an_error_says_what_is_missing_since_when_it_is_and_what_is_done_without() {
        let release = "6.1.0-56-cloud-amd64".to_owned();
        let error = MissingFeature { feature: Feature::Tcx, release }.to_string();
        for part in ["6.1.0-56-cloud-amd64", "no TCX", "Linux 6.6", "--attach clsact"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}
