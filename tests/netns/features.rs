//! The table of features, against the kernel that runs.

use std::collections::BTreeMap;

use veth_agent::preflight::{Feature, State};
use veth_tests::{expected, on_node};

#[test]
fn each_probe_agrees_with_the_kernels_version_and_build_options() {
    on_node(|_| {
        let table: BTreeMap<_, _> = Feature::ALL
            .into_iter()
            .map(|feature| {
                (feature, if expected(feature) { State::Present } else { State::Absent })
            })
            .collect();
        let probed: BTreeMap<_, _> =
            Feature::ALL.into_iter().map(|feature| (feature, feature.state().clone())).collect();
        assert_eq!(probed, table);
        Ok(())
    });
}
