//! Loads every program of every object on this kernel and prints what the verifier says.

use anyhow::{Result, ensure};
use veth_agent::datapath::verify;

fn main() -> Result<()> {
    let programs = verify()?;
    ensure!(!programs.is_empty(), "the agent has no programs");
    println!(
        "{:8} {:16} {:>21} {:>12}",
        "OBJECT", "PROGRAM", "VERIFIED INSTRUCTIONS", "JITED BYTES"
    );
    for program in programs {
        let verified = program.verified.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        println!("{:8} {:16} {verified:>21} {:>12}", program.object, program.name, program.jited);
    }
    Ok(())
}
