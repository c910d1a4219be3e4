//! `veth-agent run`.

use std::time::Duration;

use super::{Failure, privileged};
use crate::{cli::RunArgs, config::Config, datapath::Pins, supervise};

/// Runs the daemon until it is told to stop.
pub fn run(pins: &Pins, args: &RunArgs) -> Result<(), Failure> {
    let config = Config::resolve(args)
        .map_err(|mistakes| Failure::Invalid(mistakes.iter().map(ToString::to_string).collect()))?;
    privileged("run")?;
    config.attach.mode.require().map_err(Failure::failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let ended = runtime.block_on(supervise::run(pins, &config)).map_err(Failure::failed);
    // What is being attached just now may take longer than anyone waits: it can end at any step.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}
