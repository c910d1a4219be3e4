//! veth-agent.
fn main() {}
