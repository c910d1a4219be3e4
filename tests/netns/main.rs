//! Real topologies, real traffic.
#![expect(missing_docs, reason = "tests")]

mod exact;
