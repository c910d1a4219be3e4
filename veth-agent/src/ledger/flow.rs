//! One direction of a pair: pure.

use crate::{
    collect::{Drops, EndReading, Stage},
    types::EndId,
};

/// What is known of one direction, in segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// At the egress hook of the end that sends.
    pub sent: u64,
    /// Put in there by the fast path, past that hook.
    pub redirected_in: u64,
    /// Dropped between the hooks, by the events of the kernel.
    pub lost: u64,
    /// At the ingress hook of the other end.
    pub arrived: u64,
}

impl Flow {
    /// What was put in and is neither out nor dropped; negative where more came out.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let put_in = self.sent.wrapping_add(self.redirected_in);
        put_in.wrapping_sub(self.lost).wrapping_sub(self.arrived).cast_signed()
    }
}

/// What an end has counted and lost.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Which one.
    pub end: EndId,
    /// What it has counted.
    pub reading: EndReading,
    /// What was dropped on its account.
    pub drops: &'a [Drops],
}

/// The flow from one side to the other; `None` where one of them counts nothing.
#[must_use]
pub fn flow(from: &Side<'_>, to: &Side<'_>) -> Option<Flow> {
    let (sender, receiver) = (from.reading.counters?, to.reading.counters?);
    Some(Flow {
        sent: sender.tx.segments,
        redirected_in: sender.redirected_in,
        lost: at(from.drops, Stage::Leaving).wrapping_add(at(to.drops, Stage::Arriving)),
        arrived: receiver.rx.segments,
    })
}

fn at(drops: &[Drops], stage: Stage) -> u64 {
    drops.iter().filter(|drops| drops.stage == stage).map(|drops| drops.segments).sum()
}

#[cfg(test)]
mod tests {
    use veth_common::counters::{Counters, EndCounters};

    use super::*;
    use crate::types::{IfIndex, NetnsCookie};

    fn side(sent: u64, arrived: u64, redirected_in: u64, drops: &[Drops]) -> Side<'_> {
        let segments = |segments| Counters { packets: 1, bytes: 1, segments };
        let counters = EndCounters {
            rx: segments(arrived),
            tx: segments(sent),
            redirected_in,
            ..EndCounters::default()
        };
        let end = EndId { netns: NetnsCookie(1), ifindex: IfIndex(2) };
        Side {
            end,
            reading: EndReading { counters: Some(counters), ..EndReading::default() },
            drops,
        }
    }

    fn drops(stage: Stage, segments: u64) -> Drops {
        let reason = "any".to_owned();
        Drops { reason, symbol: None, packets: 1, segments, stage }
    }

    #[test]
    fn what_is_put_in_comes_out_or_is_dropped_in_between() {
        let leaving = [drops(Stage::Leaving, 3), drops(Stage::Elsewhere, 100)];
        let arriving = [drops(Stage::Arriving, 4), drops(Stage::Leaving, 100)];
        let (from, to) = (side(50, 7, 10, &leaving), side(7, 53, 0, &arriving));
        let there = flow(&from, &to);
        let expected = Flow { sent: 50, redirected_in: 10, lost: 7, arrived: 53 };
        assert_eq!(there, Some(expected));
        assert_eq!(there.map(|flow| flow.unaccounted()), Some(0));
        assert_eq!(flow(&to, &from).map(|flow| flow.unaccounted()), Some(-100));
    }

    #[test]
    fn an_end_without_counters_has_no_ledger() {
        let blind = Side { reading: EndReading::default(), ..side(0, 0, 0, &[]) };
        assert_eq!(flow(&blind, &side(1, 1, 0, &[])), None);
        assert_eq!(flow(&side(1, 1, 0, &[]), &blind), None);
    }
}
