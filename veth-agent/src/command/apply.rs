//! `veth-agent apply` and `veth-agent delete`.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::{Failure, print, privileged, say, seen_hooks};
use crate::{
    cli::{ApplyArgs, AttachArgs, FileArgs},
    datapath::{Daemon, Pins},
    inventory::{self, Depth},
    topology::{
        action::Action,
        execute::{self, Attachment},
        model,
        plan::{self, PlanError},
        read,
        spec::Topology,
        validate,
    },
    types::{Datapath, EndId},
};

/// Builds or repairs what a file declares.
pub fn apply(pins: &Pins, args: &ApplyArgs) -> Result<(), Failure> {
    let wanted = load(&args.file.file)?;
    if !args.file.dry_run {
        privileged("apply")?;
    }
    let seen = inventory::snapshot(Depth::Routes).map_err(Failure::failed)?;
    let hooks = seen_hooks(pins, &seen);
    let attached = |end: EndId| hooks.get(&end).is_some_and(|hooks| hooks.complete());
    let plan = plan::apply(&wanted, &seen, &attached).map_err(|errors| refused(&errors))?;
    say_all(&plan.notes);
    if args.file.dry_run {
        return show(&plan.actions);
    }
    let options = args.attach.resolve(args.file.hurry);
    options.mode.require().map_err(Failure::failed)?;
    let attachment = Attachment { pins: pins.clone(), options };
    let progress = Progress::new("applying");
    run(execute::apply(&plan.actions, &seen, &attachment, &|taken, all| {
        progress.show(taken, all)
    }))?
    .map_err(|failed| {
        Failure::Failed(std::iter::once(failed.cause).chain(failed.left).collect())
    })?;
    progress.end();
    conclude(&plan.actions, "nothing to change");
    let fast = wanted.pairs.iter().any(|pair| pair.datapath != Datapath::Observe);
    if fast && !Daemon::is_running(pins) {
        say("the fast path is idle until `veth-agent run` keeps it up; packets take the stack");
    }
    Ok(())
}

/// Removes what a file declares.
pub fn delete(pins: &Pins, args: &FileArgs) -> Result<(), Failure> {
    let wanted = load(&args.file)?;
    let seen = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let plan = plan::delete(&wanted, &seen);
    say_all(&plan.notes);
    if args.dry_run {
        say_all(&plan.left);
        return show(&plan.actions);
    }
    privileged("delete")?;
    let options = AttachArgs::default().resolve(args.hurry);
    let attachment = Attachment { pins: pins.clone(), options };
    let progress = Progress::new("deleting");
    let mut failures = run(execute::delete(&plan.actions, &seen, &attachment, &|taken, all| {
        progress.show(taken, all);
    }))?;
    progress.end();
    failures.extend(plan.left);
    if failures.is_empty() {
        conclude(&plan.actions, "nothing to remove");
        Ok(())
    } else {
        Err(Failure::Failed(failures))
    }
}

fn load(path: &str) -> Result<Topology, Failure> {
    let invalid = |reason: String| Failure::Invalid(vec![format!("{path}: {reason}")]);
    let text = read::read(path).map_err(|error| Failure::Invalid(vec![error.to_string()]))?;
    let file = model::parse(&text).map_err(|error| invalid(error.to_string()))?;
    validate::validate(&file).map_err(|mistakes| {
        Failure::Invalid(mistakes.iter().map(|mistake| format!("{path}: {mistake}")).collect())
    })
}

/// Wrong references make the file invalid; what is in the way makes it fail. Nothing was touched
/// either way.
fn refused(errors: &[PlanError]) -> Failure {
    let lines = errors.iter().map(ToString::to_string).collect();
    let invalid = errors.iter().any(|error| matches!(error, PlanError::Invalid(_)));
    if invalid { Failure::Invalid(lines) } else { Failure::Failed(lines) }
}

fn run<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(Failure::failed)?;
    Ok(runtime.block_on(work))
}

fn say_all(lines: &[String]) {
    lines.iter().for_each(|line| say(line));
}

fn show(actions: &[Action]) -> Result<(), Failure> {
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    print(lines.as_bytes())
}

fn conclude(actions: &[Action], nothing: &str) {
    match actions.len() {
        0 => say(nothing),
        1 => say("done, 1 step"),
        steps => say(&format!("done, {steps} steps")),
    }
}

/// A line that overwrites itself, on a terminal, once the work takes a while.
struct Progress {
    what: &'static str,
    started: Instant,
    shown: bool,
}

impl Progress {
    /// Shorter work needs no line.
    const AFTER: Duration = Duration::from_millis(500);

    fn new(what: &'static str) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { what, started: Instant::now(), shown }
    }

    fn show(&self, taken: usize, all: usize) {
        if self.shown && self.started.elapsed() > Self::AFTER {
            let _ = write!(std::io::stderr(), "\r{}: {taken} of {all} steps ", self.what);
        }
    }

    fn end(&self) {
        if self.shown && self.started.elapsed() > Self::AFTER {
            // To the beginning of the line, and clear it (ECMA-48 EL).
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
