//! `veth-agent trace`.

use std::{
    fmt::Display,
    io::{self, ErrorKind, IsTerminal as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, kill_process};

use super::{Failure, escape, privileged, say, say_unseen};
use crate::{
    cli::{TraceArgs, TraceDirection, TraceOutput},
    datapath::{DatapathError, Pins, TRACE_OBJECT},
    inventory::{self, Depth},
    trace::{
        self, Clock, Describe, Detail, Direction, Filter, FilterError, Outlet, PcapNg, Plan,
        Printer, Selection, Session, StartError, Stop, Text, Totals, TraceError, Until, Watch,
    },
};

/// How often to look whether the command has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Shows packets until somebody has seen enough.
pub fn trace(pins: &Pins, args: &TraceArgs) -> Result<(), Failure> {
    let format = format(args)?;
    let plan = plan(args, format)?;
    privileged("trace")?;
    let snapshot = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let stop = Stop::by_signal().map_err(named("signals"))?;
    let mut session = Session::start(pins, &snapshot, TRACE_OBJECT, &plan).map_err(refused)?;
    say_unseen(&snapshot);
    say_attached(&session);
    let deadline = args.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut until = Until { count: args.count, deadline, stop, ..Until::default() };
    // Opened last: what is refused leaves the file as it was.
    let mut out = open(args, &until)?;
    until.pipe = out.reader().map_err(named(&called(args)))?;
    // However short the time: a command is not left out because the machine is slow.
    let is_in_vain = out.has_given_up() || until.stop.is_asked();
    until.child = if is_in_vain { None } else { start(args, format)? };
    let mut printer = printer(format, args);
    let mut describe = Describe::new(session.names.take());
    let ended =
        trace::run(&mut session, &mut describe, args.follow, &mut printer, &mut out, &mut until);
    drop(session);
    let concluded = conclude(args, ended).map_err(said);
    until_child(until)?;
    concluded
}

fn format(args: &TraceArgs) -> Result<TraceOutput, Failure> {
    let invalid = |line: &str| Err(Failure::Invalid(vec![line.to_owned()]));
    let format = match (args.output, &args.write) {
        (None | Some(TraceOutput::Pcapng), Some(_)) => TraceOutput::Pcapng,
        (Some(_), Some(_)) => {
            return invalid("-w writes pcapng; leave -o out, or send its output to a file");
        }
        (output, None) => output.unwrap_or(TraceOutput::Compact),
    };
    if args.resolve && !is_text(format) {
        return invalid("--resolve is for text; leave it out, or -w and -o");
    }
    Ok(format)
}

const fn is_text(format: TraceOutput) -> bool {
    matches!(format, TraceOutput::Compact | TraceOutput::Wide)
}

fn plan(args: &TraceArgs, format: TraceOutput) -> Result<Plan, Failure> {
    let directions = args.dir.iter().flat_map(|direction| match direction {
        TraceDirection::In => vec![Direction::In],
        TraceDirection::Out => vec![Direction::Out],
        TraceDirection::Both => vec![Direction::In, Direction::Out],
    });
    let selection = Selection {
        interfaces: args.interface.clone(),
        namespaces: args.netns.clone(),
        directions: directions.collect(),
    };
    let one_way = !args.dir.is_empty() && !both(&selection.directions);
    let watch = match (args.drops, one_way) {
        (true, true) => {
            let line = "dropped packets have no direction; leave --dir out, or --drops";
            return Err(Failure::Invalid(vec![line.to_owned()]));
        }
        (true, false) => Watch::Drops,
        (false, true) => Watch::Passing,
        (false, false) => Watch::All,
    };
    let filter = Filter::compile(&args.filter.join(" ")).map_err(unusable)?;
    let processes = matches!(format, TraceOutput::Wide | TraceOutput::Json);
    Ok(Plan {
        selection,
        filter,
        snaplen: args.snaplen,
        limit: args.count,
        watch,
        processes,
        attach: args.attach,
    })
}

fn both(directions: &[Direction]) -> bool {
    [Direction::In, Direction::Out].iter().all(|way| directions.contains(way))
}

fn unusable(error: FilterError) -> Failure {
    Failure::Invalid(vec![escape(&error.to_string()).into_owned()])
}

fn refused(error: StartError) -> Failure {
    match error {
        StartError::Filter(error) => unusable(error),
        StartError::Select(_) => Failure::Invalid(vec![escape(&error.to_string()).into_owned()]),
        StartError::Datapath(DatapathError::Pin { ref source, .. })
            if source.kind() == ErrorKind::ReadOnlyFilesystem =>
        {
            Failure::failed(format!("{error}; mount it read-write, or name another by --bpffs"))
        }
        _ => Failure::failed(error),
    }
}

/// The file to write to; none where that is standard output.
fn file(args: &TraceArgs) -> Option<&PathBuf> {
    args.write.as_ref().filter(|path| *path != Path::new("-"))
}

/// How people call what is written to.
fn called(args: &TraceArgs) -> String {
    let path = file(args).map(|path| escape(&path.to_string_lossy()).into_owned());
    path.unwrap_or_else(|| "standard output".to_owned())
}

fn named<E: Display>(thing: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::failed(format!("{thing}: {error}"))
}

fn open(args: &TraceArgs, until: &Until) -> Result<Outlet, Failure> {
    let opened = match file(args) {
        None => Outlet::stdout(&until.stop),
        Some(path) => Outlet::open(path, &until.stop, || until.is_over()),
    };
    opened.map_err(named(&called(args)))
}

fn printer(format: TraceOutput, args: &TraceArgs) -> Printer {
    let colour = io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = |detail| {
        let text = Text::new(detail, colour, Clock::local());
        if args.resolve { text.resolved() } else { text }
    };
    match format {
        TraceOutput::Compact => Printer::text(text(Detail::Compact)),
        TraceOutput::Wide => Printer::text(text(Detail::Wide)),
        TraceOutput::Json => Printer::json(),
        TraceOutput::Pcapng => Printer::pcapng(PcapNg::new(args.snaplen)),
    }
}

fn say_attached(session: &Session) {
    for error in &session.errors {
        say(&format!("not traced: {}", escape(&error.to_string())));
    }
    if session.behind() > 0 {
        say(&format!(
            "on {} hooks filters of others come first: what they take is not seen",
            session.behind()
        ));
    }
    if let Some(why) = &session.no_drops {
        say(&format!("dropped packets are not shown: {}", escape(why)));
    }
    let ends = session.attached();
    say(&format!("attached {ends} end{}", if ends == 1 { "" } else { "s" }));
}

fn start(args: &TraceArgs, format: TraceOutput) -> Result<Option<Child>, Failure> {
    let Some((program, arguments)) = args.command.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(arguments);
    // What another program reads is not to be mixed with what the command prints.
    if file(args).is_none() && !is_text(format) {
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        command.stdout(Stdio::from(stderr.map_err(named("standard error"))?));
    }
    command.spawn().map(Some).map_err(named(&escape(program)))
}

/// Waits for the command to end, and passes on to it what this process is told; says how it ended, where not
/// well.
fn until_child(until: Until) -> Result<(), Failure> {
    let Some(mut child) = until.child else { return Ok(()) };
    let mut untold = true;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(named("the command"))? {
            break status;
        }
        if untold && let Some(signal) = until.stop.signal() {
            kill_process(Pid::from_child(&child), signal).map_err(named("the command"))?;
            untold = false;
        }
        thread::sleep(PAUSE);
    };
    if !status.success() {
        say(&format!("the command ended with {status}"));
    }
    Ok(())
}

/// Says now what else would wait for the command.
fn said(failure: Failure) -> Failure {
    failure.lines().iter().for_each(|line| say(line));
    match failure {
        Failure::Failed(_) => Failure::Failed(Vec::new()),
        other => other,
    }
}

fn conclude(args: &TraceArgs, ended: Result<Totals, TraceError>) -> Result<(), Failure> {
    let totals = ended.map_err(|error| match &error {
        TraceError::Output(source) => named(&called(args))(source),
        _ => Failure::failed(error),
    })?;
    say(&described(&totals));
    totals.check().map_err(Failure::failed)?;
    match totals.untaken {
        0 if args.strict && totals.seen.lost > 0 => Err(Failure::Lost),
        0 => Ok(()),
        untaken => Err(Failure::failed(format!(
            "{}: {untaken} packet{} not written, as nobody took them; start its reader first, and end it last",
            called(args),
            if untaken == 1 { " was" } else { "s were" }
        ))),
    }
}

fn described(totals: &Totals) -> String {
    let Totals { seen, printed, unread, untaken } = totals;
    let some = |what: &str, count: u64| {
        if count > 0 { format!(", {what} {count}") } else { String::new() }
    };
    format!(
        "seen {}, matched {}, printed {printed}, lost {}{}{}",
        seen.seen,
        seen.matched,
        seen.lost,
        some("unread", *unread),
        some("unwritten", *untaken)
    )
}
