//! `cargo xtask vm`: the integration tests on other kernels, each in a virtual machine.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use veth_vm::{Job, Program, Suite};

use crate::{
    setup::{self, Group},
    toolchain::find_command,
    verifier::{self, Row},
    workspace,
};

mod boot;
mod image;
mod kernel;
mod report;
mod rootfs;

use kernel::Kernel;
use report::KernelReport;

/// What to run where.
#[derive(clap::Args)]
pub struct Args {
    /// Only on these kernels, by their names (6.1, 6.12); on all when none is named.
    #[arg(value_parser = kernel::by_name)]
    kernels: Vec<&'static Kernel>,
    /// Only the quick set, which `cargo xtask test` runs too.
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Passed to every test binary, as in `cargo test -- ARGS`.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// The quick set, by parts of names: what most depends on the kernel, in a few minutes.
const QUICK: &[&str] = &[
    "coexist::",
    "daemon_bpffs::",
    "daemon_restart::",
    "exact::",
    "features::",
    "identity::",
    "list::",
    "netkit::",
    "packet",
    "residue::",
    "status::",
    "trace::filters::the_kernel",
    "trace::follow::people",
    "trace::same::",
    "undo::",
    "upgrade::",
];

/// Seconds that one test may take. The processor is emulated, about twenty times as slow as a real
/// one.
const TEST_LIMIT: u64 = 600;

/// Tests wait this many times as long as on a real machine before they call something late.
const PATIENCE: u32 = 10;

/// Runs the tests on each kernel and reports what failed on any.
pub fn main(args: &Args) -> Result<()> {
    let quick = || QUICK.iter().map(|name| (*name).to_owned()).collect();
    let filter = if args.quick { quick() } else { args.filter.clone() };
    test(&args.kernels, &filter)
}

/// Whether this machine can have the kernels.
pub fn available() -> bool {
    cfg!(target_arch = "x86_64") && find_command("apt-get").is_some()
}

/// Runs the quick set on every kernel.
pub fn quick() -> Result<()> {
    main(&Args { kernels: Vec::new(), quick: true, filter: Vec::new() })
}

fn test(kernels: &[&'static Kernel], filter: &[String]) -> Result<()> {
    setup::install(&[Group::Build, Group::Test, Group::Vm])?;
    let all: Vec<_> = kernel::KERNELS.iter().collect();
    let kernels = if kernels.is_empty() { &all } else { kernels };
    let reports = run(kernels, workspace::build_tests()?, filter)?;
    let tested = report::tell(&folder()?, &reports);
    let verified = rows(&reports).and_then(|rows| verifier::check(&rows));
    tested.and(verified)
}

/// What every kernel's verifier says of every program.
pub fn verify() -> Result<Vec<Row>> {
    let kernels: Vec<_> = kernel::KERNELS.iter().collect();
    let reports = run(&kernels, Vec::new(), &[])?;
    report::fail_on_problems(&reports)?;
    rows(&reports)
}

/// The verifier's rows of all kernels that booted.
fn rows(reports: &[KernelReport]) -> Result<Vec<Row>> {
    let rows = reports.iter().map(|report| report.rows(verifier::PROGRAM));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

/// Runs the tests of `suites` (name and binary) and the verifier on each kernel.
fn run(
    kernels: &[&'static Kernel],
    suites: Vec<(String, PathBuf)>,
    filter: &[String],
) -> Result<Vec<KernelReport>> {
    let folder = folder()?;
    let agent = workspace::build_agent()?;
    let asking = workspace::build_bin("veth-tests", verifier::PROGRAM)?;
    let words = vec![guest_path(verifier::PROGRAM).display().to_string()];
    let mut job = Job {
        suites: suites
            .iter()
            .map(|(name, _)| Suite { name: name.clone(), binary: guest_path(name) })
            .collect(),
        arguments: filter.to_vec(),
        programs: vec![Program { name: verifier::PROGRAM.to_owned(), words }],
        limit: TEST_LIMIT,
        parallel: boot::CPUS,
        ..Job::default()
    };
    let environment = [
        ("PATH", "/usr/sbin:/usr/bin".to_owned()),
        ("VETH_AGENT", guest_path("veth-agent").display().to_string()),
        ("VETH_TESTS_PATIENCE", PATIENCE.to_string()),
    ];
    job.environment.extend(environment.map(|(name, value)| (name.to_owned(), value)));
    let tools = [("veth-agent", agent), (verifier::PROGRAM, asking)];
    let own = suites.into_iter().chain(tools.map(|(name, file)| (name.to_owned(), file)));
    let own: Vec<_> = own.map(|(name, file)| (file, guest_path(&name))).collect();
    let userland = image::userland(&folder, &job, &own)?;
    let machines: Vec<_> = kernels
        .iter()
        .map(|kernel| (*kernel, boot::Machine::prepare(kernel, &folder, &userland)))
        .collect();
    Ok(in_parallel(machines, |(kernel, machine)| run_on(kernel, machine)))
}

/// A kernel that cannot be had or booted is its own failure; the others still run.
fn run_on(kernel: &'static Kernel, machine: Result<boot::Machine>) -> KernelReport {
    let started = Instant::now();
    let mut report = KernelReport::new(kernel);
    if let Err(error) = machine.and_then(|machine| boot::boot(&machine, &mut report)) {
        report.broke(format!("{error:#}"));
    }
    report.took = started.elapsed();
    eprintln!("vm: {}: {}", kernel.name, report.summary());
    report
}

/// Does the work of each item, as many at once as this machine has processors, and gives the
/// results in the items' order.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut results: Vec<_> = thread::scope(|scope| {
        let worker =
            || std::iter::from_fn(next).map(|(n, item)| (n, work(item))).collect::<Vec<_>>();
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect()
    });
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Where our own binaries are inside a machine.
fn guest_path(name: &str) -> PathBuf {
    Path::new("/usr/local/bin").join(name)
}

/// Where packages, images, consoles and results are kept.
fn folder() -> Result<PathBuf> {
    let folder = workspace::root().join("target/vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
