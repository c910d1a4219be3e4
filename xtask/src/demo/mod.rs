//! `cargo xtask demo`: the main job for real, with every figure checked against the kernel's.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

mod figures;
mod ping;
mod scene;

use scene::Scene;

use crate::{
    agent::Agent,
    process,
    setup::{self, Group},
    workspace,
};

/// How to run the demo.
#[derive(clap::Args)]
pub struct Args {
    /// Add one packet to a figure of the agent, to see that the comparison notices.
    #[arg(long)]
    falsify: bool,
    /// Run this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

/// Builds the agent, then shows it at work.
pub fn main(args: &Args) -> Result<()> {
    if !process::is_root() {
        bail!(r#"the demo needs root: run sudo -E env "PATH=$PATH" cargo xtask demo"#);
    }
    setup::install(&[Group::Build, Group::Demo])?;
    let binary = args.agent.clone().map_or_else(workspace::build_agent, Ok)?;
    let agent = Agent::new(binary);
    let interrupted = Interrupted::register()?;
    println!("{}", scene::PICTURE);
    let mut scene = Scene::prepare(agent)?;
    let shown = show(&mut scene, args.falsify, &interrupted);
    let removed = scene.remove();
    if let Err(error) = &removed {
        eprintln!("demo: cleaning up: {error:#}");
    }
    let table = shown?;
    removed?;
    println!("cleanup  nothing is left\n");
    table.verdict()
}

fn show(scene: &mut Scene, falsify: bool, interrupted: &Interrupted) -> Result<figures::Table> {
    let start = Instant::now();
    scene.build()?;
    println!(
        "apply    pair built, a program on every end         ({} ms)",
        start.elapsed().as_millis()
    );
    interrupted.check()?;

    let daemon = scene.start_daemon(|| interrupted.check())?;
    let (url, ready) = (daemon.client().url("/metrics"), daemon.ready_after().as_millis());
    println!("run      {url:<42} (ready after {ready} ms)");
    interrupted.check()?;

    for (from, to) in [(0, 1), (1, 0)] {
        let answered = ping::five(&scene::ENDS[from], &scene::ENDS[to]);
        interrupted.check()?;
        println!(
            "ping     {} -> {}: {}",
            scene::ENDS[from].netns,
            scene::ENDS[to].netns,
            answered?
        );
    }

    let mut table = figures::read(scene.client()?)?;
    interrupted.check()?;
    if falsify {
        table.falsify();
        println!("falsify  one packet added to the first figure of the agent");
    }
    println!("scrape   the agent's figures beside the kernel's own:\n\n{table}");
    Ok(table)
}

/// Ctrl-C and its like: noticed between two steps, so that the scene is taken down.
struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    fn register() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("signal handler")?;
        }
        Ok(Self(flag))
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }
}
