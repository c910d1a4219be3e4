//! Which base chains lead to a chain.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;

/// By which places packets come to each chain, where base chains stand at these and chains jump or go to
/// others. A chain that nothing leads to is not in it.
pub fn places_of<K: Ord + Clone>(
    bases: impl Iterator<Item = (K, Place)>,
    leads_to: &BTreeMap<K, BTreeSet<K>>,
) -> BTreeMap<K, BTreeSet<Place>> {
    let mut places: BTreeMap<K, BTreeSet<Place>> = BTreeMap::new();
    for (base, place) in bases {
        let mut ahead = vec![base];
        while let Some(chain) = ahead.pop() {
            let next = leads_to.get(&chain).into_iter().flatten();
            if places.entry(chain.clone()).or_default().insert(place.clone()) {
                ahead.extend(next.cloned());
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Hook;

    #[test]
    fn a_chain_is_met_by_all_ways_and_a_circle_ends() {
        let place = |hook| Place { family: "ip", hook, devices: Vec::new() };
        let bases = [("in", place(Hook::Input)), ("fwd", place(Hook::Forward))];
        let leads_to = [("in", "a"), ("fwd", "b"), ("a", "b"), ("b", "a"), ("lone", "c")];
        let leads_to = leads_to.map(|(from, to)| (from, BTreeSet::from([to]))).into();
        let found = places_of(bases.into_iter(), &leads_to);
        let both = BTreeSet::from([place(Hook::Input), place(Hook::Forward)]);
        assert_eq!((&found["a"], &found["b"]), (&both, &both));
        assert_eq!(found["in"], BTreeSet::from([place(Hook::Input)]));
        assert!(!found.contains_key("c") && !found.contains_key("lone"));
    }
}
