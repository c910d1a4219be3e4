//! Loads every program of every object on this kernel and prints what the verifier says, as JSON.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use veth_agent::datapath::verify;

fn main() -> Result<()> {
    let programs = verify()?;
    ensure!(!programs.is_empty(), "the agent has no programs");
    let rows = programs.iter().map(|program| {
        json!({
            "object": program.object,
            "program": program.name,
            "verified": program.verified,
            "jited": program.jited,
        })
    });
    println!("{}", Value::from_iter(rows));
    Ok(())
}
