//! Traffic between the demo's ends.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::scene::End;
use crate::process;

/// Five echo requests from one end to the other, each answered, or an error.
pub fn five(from: &End, to: &End) -> Result<String> {
    let mut ping = Command::new("nsenter");
    ping.arg(format!("--net=/run/netns/{}", from.netns)).env("LC_ALL", "C");
    ping.args(["ping", "-q", "-c", "5", "-i", "0.2", "-W", "2", to.address]);
    let output = process::read(&mut ping)?;
    let (sent, received) = counts(&output).context("ping printed no summary")?;
    if (sent, received) != (5, 5) {
        bail!("{received} of {sent} pings from {} were answered", from.netns);
    }
    Ok(format!("{received} of {sent} answered"))
}

/// How many requests and answers `ping` has seen.
fn counts(output: &str) -> Option<(u32, u32)> {
    let summary = output.lines().find(|line| line.contains(" packets transmitted"))?;
    let mut numbers = summary.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_understood() {
        let output = "PING x\n\n--- x ping statistics ---\n\
                      5 packets transmitted, 4 received, 20% packet loss, time 801ms\n";
        assert_eq!(counts(output), Some((5, 4)));
        assert_eq!(counts("ping: connect: Network is unreachable"), None);
    }
}
