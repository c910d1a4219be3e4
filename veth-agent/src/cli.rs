//! The command line: what can be said, and nothing about what it does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use clap_complete::Shell;
use veth_common::trace::MAX_CAPTURED;

use crate::{
    datapath::{AttachMode, DEFAULT_BPFFS},
    escape::escape,
};

/// Builds, watches and explains veth pairs, the cables of the container world.
#[derive(Debug, Parser)]
#[command(name = "veth-agent", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// What is wrong with a command line, in one line that says where to read on. `None` where help or
/// the version was asked for.
#[must_use]
pub fn usage_mistake(error: &clap::Error) -> Option<String> {
    let asked_for = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if asked_for || !error.use_stderr() {
        return None;
    }
    let text = error.to_string();
    // Where a command stands behind `--`, nothing else can be passed there.
    let misleads = |line: &str| text.contains("[-- <") && line.contains("as a value, use '");
    let told = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more");
    let parts = text.trim_start_matches("error: ").split("\n\n").map(str::trim).filter(told);
    let parts = parts.map(|part| {
        let lines = part.lines().map(str::trim).filter(|line| !misleads(line));
        escape(&lines.collect::<Vec<_>>().join(" ")).into_owned()
    });
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    Some(format!("{}; see `veth-agent --help`", parts.join("; ")))
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How much to say on stderr: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,
    /// How to say it.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Where bpffs is, or is to be mounted.
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_BPFFS)]
    pub bpffs: PathBuf,
}

/// Formats of log lines.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build or repair what FILE declares; a second run changes nothing.
    Apply(ApplyArgs),
    /// Remove what FILE declares and nothing else; a second run succeeds.
    Delete(FileArgs),
    /// Show every veth pair on the node, whoever made it.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show what is attached where, in which place, and what this kernel offers.
    Status(StatusArgs),
    /// Show packets live.
    Trace(TraceArgs),
    /// Say what is wrong and how to mend it; exit 3 when something is.
    Doctor(DoctorArgs),
    /// Node daemon: attach to every end, keep up with changes, serve metrics.
    Run(RunArgs),
    /// Take our programs, pins and journaled changes off, and nothing else.
    Detach(DetachArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

/// A topology file.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The topology file, or - for stdin.
    #[arg(short, long, value_name = "FILE")]
    pub file: String,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How long the kernel waits.
    #[command(flatten)]
    pub hurry: HurryArgs,
}

/// How long the kernel waits for each program that comes or goes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct HurryArgs {
    /// Expedite the kernel's RCU grace periods on the whole node meanwhile: many TCX programs come
    /// and go 20 times as fast, at the price of interrupts on every CPU.
    #[arg(long)]
    pub expedite_rcu: bool,
}

/// Options of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// How programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
}

/// How programs are attached.
#[derive(Clone, Debug, Default, Args)]
pub struct AttachArgs {
    /// The mechanism to attach programs by.
    #[arg(long, value_enum, value_name = "HOW")]
    pub attach: Option<AttachMode>,
    /// How many ends there is room for, when the maps are made.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_ends: Option<u32>,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ListOutput,
}

/// Formats of `list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    /// One line an end, for 80 columns.
    #[default]
    Table,
    /// All that is known, in long lines.
    Wide,
    /// One document.
    Json,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: StatusOutput,
    /// Let the kernel time every run of every BPF program on the node for so long, and show what
    /// ours took meanwhile.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub measure: Option<Duration>,
}

/// Formats of `status` and `doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// For people.
    #[default]
    Table,
    /// One document.
    Json,
}

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Only packets that match, in the syntax of pcap-filter(7).
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Only ends of this name.
    #[arg(short, long, value_name = "IF", allow_hyphen_values = true)]
    pub interface: Vec<String>,
    /// Only ends in this network namespace.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub netns: Vec<String>,
    /// Only packets of this direction, as the end sees it [default: both].
    #[arg(long, value_enum, value_name = "in|out|both", hide_possible_values = true)]
    pub dir: Vec<TraceDirection>,
    /// Only packets that the kernel drops, with its reason and the place.
    #[arg(long)]
    pub drops: bool,
    /// Show each packet's way: a line a hop, with the time since the hop before.
    #[arg(long, conflicts_with = "drops")]
    pub follow: bool,
    /// What to print [default: compact; pcapng with -w].
    #[arg(short, long, value_enum)]
    pub output: Option<TraceOutput>,
    /// Write the packets to this file in pcapng, - for stdout.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Bytes of each frame to capture, at the most.
    #[arg(short, long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(14..=i64::from(MAX_CAPTURED)))]
    pub snaplen: u32,
    /// Stop after so many packets.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=MOST_COUNTED))]
    pub count: Option<u32>,
    /// Stop after so long.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Show names for addresses and ports; while one is looked up, nothing is printed.
    #[arg(long)]
    pub resolve: bool,
    /// What it takes to see no names; it is the default here, and a habit elsewhere.
    #[arg(short = 'n', hide = true, action = ArgAction::Count)]
    pub numeric: u8,
    /// Fail with 4 when packets were lost on the way to the output.
    #[arg(long)]
    pub strict: bool,
    /// The mechanism to attach programs by.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, hide = true)]
    pub attach: AttachMode,
    /// Run this, and trace while it runs. A trace that ends before lets it go on to its end; SIGINT, SIGTERM and
    /// SIGHUP are passed on to it. Where packets go to stdout as JSON or pcapng, what it prints goes to stderr.
    #[arg(last = true, value_name = "CMD ARGS")]
    pub command: Vec<String>,
}

/// Each packet of a count takes a few bytes of the kernel's memory.
const MOST_COUNTED: i64 = 10_000_000;

/// Directions of `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceDirection {
    /// What arrives at the end.
    In,
    /// What leaves it.
    Out,
    /// Either.
    Both,
}

/// Formats of `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceOutput {
    /// A line a packet.
    Compact,
    /// A line with all that is known.
    Wide,
    /// An object a line.
    Json,
    /// A capture file.
    Pcapng,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: StatusOutput,
    /// Only what concerns this pair, or the ends in this namespace.
    #[arg(value_name = "PAIR|NETNS")]
    pub name: Option<String>,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A file with the same settings: listen, linger, lease, attach, max_ends,
    /// expedite_rcu. Flags win.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to serve the metrics [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// How long the series of an end outlive it [default: 5m].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub linger: Option<Duration>,
    /// How long packets may take the fast path after the agent was last alive [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lease: Option<Duration>,
    /// How programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
    /// How long the kernel waits.
    #[command(flatten)]
    pub hurry: HurryArgs,
}

/// What to detach from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct DetachArgs {
    /// From everything, and leave no pin behind.
    #[arg(long)]
    pub all: bool,
    /// From the ends of this pair, or the ends in this namespace.
    #[arg(value_name = "PAIR|NETNS")]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: &str) -> Option<String> {
        let words = ["veth-agent"].into_iter().chain(line.split_whitespace());
        usage_mistake(&Cli::try_parse_from(words).err()?)
    }

    #[test]
    fn no_tip_sends_an_option_where_the_command_stands() {
        for line in ["trace -e", "trace -v icmp", "trace -c -1", "trace -i -dash -l", "trace -w -x"]
        {
            let said = mistake(line).unwrap_or_default();
            assert!(said.contains('-') && !said.contains("-- -"), "{line}: {said}");
        }
        let said = mistake("trace --interfce x").unwrap_or_default();
        assert!(said.contains("'--interface'") && !said.contains("-- -"), "{said}");
        let said = mistake("doctor -x").unwrap_or_default();
        assert!(said.contains("'-- -x'"), "{said}");
    }

    #[test]
    fn what_no_count_can_be_is_told_as_such() {
        for line in ["trace -c -1", "trace --snaplen -5"] {
            let said = mistake(line).unwrap_or_default();
            assert!(said.contains("is not in"), "{line}: {said}");
        }
    }

    #[test]
    fn names_may_begin_with_a_dash_and_habits_may_stay() {
        for line in
            ["trace -i -dash --netns -x", "trace -n icmp", "trace -nn -i r1", "trace -nni r1"]
        {
            assert_eq!(mistake(line), None, "{line}");
            assert!(Cli::try_parse_from(format!("veth-agent {line}").split(' ')).is_ok(), "{line}");
        }
    }
}
