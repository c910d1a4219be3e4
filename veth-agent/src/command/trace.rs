//! `veth-agent trace`.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, IsTerminal as _, Write},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::{Child, Command},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Failure, escape, privileged, say, say_unseen};
use crate::{
    cli::{TraceArgs, TraceDirection, TraceOutput},
    datapath::{DatapathError, Pins, TRACE_OBJECT},
    inventory::{self, Depth},
    trace::{
        self, Clock, Describe, Detail, Direction, Filter, FilterError, PcapNg, Plan, Printer,
        Selection, Session, StartError, Text, Totals, TraceError, Until, Watch,
    },
};

/// Shows packets until somebody has seen enough.
pub fn trace(pins: &Pins, args: &TraceArgs) -> Result<(), Failure> {
    let format = format(args)?;
    let plan = plan(args, format)?;
    privileged("trace")?;
    let snapshot = inventory::snapshot(Depth::Links).map_err(Failure::failed)?;
    let stopped = stopped_by_signal()?;
    let mut out = open(args)?;
    let mut session = Session::start(pins, &snapshot, TRACE_OBJECT, &plan).map_err(refused)?;
    say_unseen(&snapshot);
    say_attached(&session);
    let deadline = args.duration.and_then(|duration| Instant::now().checked_add(duration));
    let child = start(&args.command)?;
    let pipe = pipe(args)?;
    let mut until = Until { count: args.count, deadline, child, stopped, pipe };
    let mut printer = printer(format, args);
    let mut describe = Describe::new(session.names.take());
    let ended =
        trace::run(&mut session, &mut describe, args.follow, &mut printer, &mut out, &mut until);
    conclude(args, &until_child(until)?, ended)
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

fn stopped_by_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(Failure::failed)?;
    }
    Ok(stopped)
}

fn open(args: &TraceArgs) -> Result<Box<dyn Write>, Failure> {
    match args.write.as_deref() {
        None => Ok(stdout()),
        Some(path) if path == Path::new("-") => Ok(stdout()),
        Some(path) => match File::create(path) {
            Ok(file) => Ok(Box::new(BufWriter::new(file))),
            Err(error) => Err(Failure::failed(format!("{}: {error}", path.display()))),
        },
    }
}

/// Lines go out together, as many as there are at a time.
fn stdout() -> Box<dyn Write> {
    Box::new(BufWriter::with_capacity(64 << 10, io::stdout()))
}

/// Standard output, where packets go there.
fn pipe(args: &TraceArgs) -> Result<Option<OwnedFd>, Failure> {
    let to_stdout = args.write.as_deref().is_none_or(|path| path == Path::new("-"));
    let pipe = to_stdout.then(|| io::stdout().as_fd().try_clone_to_owned());
    pipe.transpose().map_err(Failure::failed)
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

fn start(command: &[String]) -> Result<Option<Child>, Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let started = Command::new(program).args(arguments).spawn();
    let failed = |error| Failure::failed(format!("{}: {error}", escape(program)));
    started.map(Some).map_err(failed)
}

/// Waits for the command to end; says how, where not well.
fn until_child(until: Until) -> Result<Option<String>, Failure> {
    let Some(mut child) = until.child else { return Ok(None) };
    let status = child.wait().map_err(Failure::failed)?;
    Ok((!status.success()).then(|| format!("the command ended with {status}")))
}

fn conclude(
    args: &TraceArgs,
    command: &Option<String>,
    ended: Result<Totals, TraceError>,
) -> Result<(), Failure> {
    if let Some(line) = command {
        say(line);
    }
    let totals = ended.map_err(|error| match (&error, &args.write) {
        (TraceError::Output(source), Some(path)) => {
            Failure::failed(format!("{}: {source}", path.display()))
        }
        (TraceError::Output(source), None) => Failure::failed(format!("standard output: {source}")),
        _ => Failure::failed(error),
    })?;
    let Totals { seen, printed, unread } = totals;
    let unread = if unread > 0 { format!(", unread {unread}") } else { String::new() };
    say(&format!(
        "seen {}, matched {}, printed {printed}, lost {}{unread}",
        seen.seen, seen.matched, seen.lost
    ));
    totals.check().map_err(Failure::failed)?;
    if args.strict && seen.lost > 0 { Err(Failure::Lost) } else { Ok(()) }
}
