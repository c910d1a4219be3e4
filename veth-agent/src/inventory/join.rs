//! Which two ends are one pair.
//!
//! An end knows its peer's ifindex and, by a number that only its own namespace understands, its
//! peer's namespace. Equal indexes alone prove nothing: in most pods the end is number 2. Asking
//! every namespace about every other would take a million requests on a node of a thousand pods,
//! so the host's numbers are used where one end is the host's, and others are asked for only where
//! two ends could be a pair.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Link, Namespace, PeerRef, discover};
use crate::types::{EndId, IfIndex, NetnsCookie};

type Namespaces = BTreeMap<NetnsCookie, Namespace>;

/// How each namespace numbers others, as far as it was asked. A number stays while both live, and
/// cookies are never reused, so answers can be kept.
pub type Numbers = BTreeMap<(NetnsCookie, NetnsCookie), i32>;

/// Joins ends to pairs, in both directions, and adds to `numbers` what it had to ask for.
pub fn join(
    namespaces: &Namespaces,
    host: NetnsCookie,
    numbers: &mut Numbers,
) -> BTreeMap<EndId, EndId> {
    numbers
        .retain(|(one, other), _| namespaces.contains_key(one) && namespaces.contains_key(other));
    let candidates = candidates(namespaces);
    ask(namespaces, host, &candidates, numbers);
    proven(&candidates, numbers)
}

/// By which numbers the namespace behind `path` knows `others`.
pub fn numbers(path: &Path, others: &[&Namespace]) -> Vec<(NetnsCookie, i32)> {
    if others.is_empty() { Vec::new() } else { discover::numbers_within(path, others) }
}

/// Two ends whose indexes name each other, `one` being the one whose word decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    one: EndId,
    other: EndId,
    /// The number that `one` gives for the namespace of its peer; `None` is its own.
    nsid: Option<i32>,
}

fn candidates(namespaces: &Namespaces) -> Vec<Candidate> {
    let by_indexes = by_indexes(namespaces);
    let mut candidates = Vec::new();
    for (&(own, peer), ends) in &by_indexes {
        let Some(others) = by_indexes.get(&(peer, own)) else { continue };
        for &(one, nsid) in ends {
            candidates.extend(
                others
                    .iter()
                    .filter(|(other, _)| *other != one)
                    .filter(|(other, _)| (other.netns == one.netns) == nsid.is_none())
                    .map(|&(other, _)| Candidate { one, other, nsid }),
            );
        }
    }
    candidates
}

type Indexes = (IfIndex, IfIndex);

/// All ends by their own index and their peer's.
fn by_indexes(namespaces: &Namespaces) -> BTreeMap<Indexes, Vec<(EndId, Option<i32>)>> {
    let mut ends: BTreeMap<Indexes, Vec<_>> = BTreeMap::new();
    for netns in namespaces.values() {
        for (link, PeerRef { ifindex, nsid }) in netns.links.values().filter_map(paired) {
            ends.entry((link.index, ifindex)).or_default().push((netns.end(link.index), nsid));
        }
    }
    ends
}

fn paired(link: &Link) -> Option<(&Link, PeerRef)> {
    Some((link, link.peer?))
}

fn ask(namespaces: &Namespaces, host: NetnsCookie, candidates: &[Candidate], known: &mut Numbers) {
    known.extend(namespaces.values().filter_map(|netns| Some(((host, netns.cookie), netns.nsid?))));
    for (netns, others) in questions(candidates, known) {
        let Some(asked) = namespaces.get(&netns) else { continue };
        let others: Vec<_> = others.iter().filter_map(|cookie| namespaces.get(cookie)).collect();
        let answers = numbers(&asked.path, &others);
        known.extend(answers.into_iter().map(|(cookie, nsid)| ((netns, cookie), nsid)));
    }
}

/// Whom to ask about whom: nobody where a common namespace or the word of the other end's, asked
/// before, decides.
fn questions(
    candidates: &[Candidate],
    known: &Numbers,
) -> BTreeMap<NetnsCookie, BTreeSet<NetnsCookie>> {
    let mut questions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Candidate { one, other, nsid } in candidates {
        let answered = known.contains_key(&(one.netns, other.netns))
            || known.contains_key(&(other.netns, one.netns));
        if nsid.is_some() && !answered {
            questions.entry(one.netns).or_default().insert(other.netns);
        }
    }
    questions
}

fn proven(candidates: &[Candidate], numbers: &Numbers) -> BTreeMap<EndId, EndId> {
    let mut peers = BTreeMap::new();
    for Candidate { one, other, nsid } in candidates {
        let known = numbers.get(&(one.netns, other.netns)).copied();
        if nsid.is_none() || (known.is_some() && known == *nsid) {
            peers.insert(*one, *other);
            peers.insert(*other, *one);
        }
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn end(netns: u64, ifindex: u32) -> EndId {
        EndId { netns: NetnsCookie(netns), ifindex: IfIndex(ifindex) }
    }

    #[test]
    fn equal_indexes_are_no_proof() {
        // Pods 2 and 3 both have an end 2 whose peer is 2: not each other's, says namespace 2.
        let candidate = Candidate { one: end(2, 2), other: end(3, 2), nsid: Some(7) };
        let elsewhere = Numbers::from([((NetnsCookie(2), NetnsCookie(3)), 8)]);
        assert_eq!(proven(&[candidate], &elsewhere), BTreeMap::new());
        assert_eq!(proven(&[candidate], &Numbers::new()), BTreeMap::new());
        let there = Numbers::from([((NetnsCookie(2), NetnsCookie(3)), 7)]);
        let joined = BTreeMap::from([(end(2, 2), end(3, 2)), (end(3, 2), end(2, 2))]);
        assert_eq!(proven(&[candidate], &there), joined);
    }

    #[test]
    fn nobody_is_asked_where_the_host_knows() {
        let numbers = Numbers::from([((NetnsCookie(1), NetnsCookie(2)), 0)]);
        let candidates = [
            Candidate { one: end(1, 9), other: end(2, 2), nsid: Some(0) },
            Candidate { one: end(2, 2), other: end(1, 9), nsid: Some(0) },
            Candidate { one: end(3, 4), other: end(3, 5), nsid: None },
        ];
        assert!(questions(&candidates, &numbers).is_empty());
    }
}
