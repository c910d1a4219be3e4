//! veth-agent.
