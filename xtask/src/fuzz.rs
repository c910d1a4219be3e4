//! `cargo xtask fuzz`: frames that nobody would think of, through the decoder and the printers of `trace`.
//!
//! libFuzzer comes with clang, and the instrumentation with LLVM: any compiler of Rust has it, behind flags that are
//! stable. What is new and reaches further is kept below `target/fuzz`; `--keep` takes it into the corpus, which
//! `cargo test` replays.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    process,
    setup::{self, Group},
    workspace,
};

/// How to fuzz.
#[derive(clap::Args)]
pub struct Args {
    /// How long, in seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// Afterwards, replace the corpus by few files that reach what was reached.
    #[arg(long)]
    keep: bool,
}

/// What has the compiler count which branches an input takes, and what it compares.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clinker=clang",
    "-Clink-arg=-fsanitize=fuzzer",
    "--cfg=fuzzing",
];

/// Of an input, in bytes: a jumbo frame, and what says how it is seen.
const LONGEST: u32 = 9100;

/// Of a file in the corpus; jumbo frames are made by the tests.
const LONGEST_KEPT: u32 = 2048;

/// Files in the corpus, at the most.
const MOST_KEPT: usize = 300;

/// Seconds that an input may take.
const TIMEOUT: u32 = 5;

/// Fuzzes.
pub fn main(args: &Args) -> Result<()> {
    setup::install(&[Group::Build, Group::Fuzz])?;
    let place = workspace::root().join("target/fuzz");
    let [found, seeds, crashes] = ["found", "seeds", "crashes"].map(|name| place.join(name));
    for folder in [&found, &crashes, &corpus()] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    write_seeds(&seeds)?;
    let fuzzer = build(&place)?;
    let mut run = Command::new(&fuzzer);
    run.args([&found, &corpus(), &seeds]);
    run.arg(format!("-max_total_time={}", args.seconds));
    run.args([format!("-max_len={LONGEST}"), format!("-timeout={TIMEOUT}")]);
    run.arg("-print_final_stats=1");
    let ended = process::run(run.arg(format!("-artifact_prefix={}/", crashes.display())));
    ended.with_context(|| {
        let again = "cargo run --package veth-fuzz --bin decode FILE";
        format!("what fails is in {}; once more without the fuzzer: {again}", crashes.display())
    })?;
    if args.keep { keep(&fuzzer, &place, &seeds, &[&corpus(), &found]) } else { Ok(()) }
}

fn corpus() -> PathBuf {
    workspace::root().join("fuzz/corpus/decode")
}

fn write_seeds(folder: &Path) -> Result<()> {
    let seeds = workspace::build_bin("veth-fuzz", "seeds")?;
    process::run(Command::new(seeds).arg(folder))
}

/// Builds with the flags, which `--target` keeps from build scripts and macros.
fn build(place: &Path) -> Result<PathBuf> {
    let host = workspace::host()?;
    let mut build = workspace::cargo();
    build.args(["build", "--package", "veth-fuzz", "--bin", "decode", "--profile", "fuzz"]);
    build.args(["--target", &host, "--target-dir"]).arg(place);
    build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    process::run(&mut build)?;
    Ok(place.join(host).join("fuzz/decode"))
}

/// Replaces the corpus by what reaches, together, the branches that the seeds do not reach: tests need no files for
/// those.
fn keep(fuzzer: &Path, place: &Path, seeds: &Path, from: &[&PathBuf]) -> Result<()> {
    let kept = place.join("kept");
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    for seed in files(seeds)? {
        fs::copy(&seed, kept.join(seed.file_name().unwrap_or_default()))?;
    }
    let mut merge = Command::new(fuzzer);
    // How often a branch is taken would keep a thousand files for what a hundred reach.
    merge.args(["-set_cover_merge=1", "-use_counters=0", "-use_cmp=0"]);
    process::run(merge.arg(format!("-max_len={LONGEST_KEPT}")).arg(&kept).args(from))?;
    let mut new = files(&kept)?;
    new.retain(|file| !seeds.join(file.file_name().unwrap_or_default()).exists());
    replace_corpus(new)
}

/// The largest reach furthest, and together nearly as far as all.
fn replace_corpus(mut files: Vec<PathBuf>) -> Result<()> {
    files.sort_by_key(|file| Reverse(fs::metadata(file).map_or(0, |about| about.len())));
    fs::remove_dir_all(corpus())?;
    fs::create_dir_all(corpus())?;
    for file in files.iter().take(MOST_KEPT) {
        fs::copy(file, corpus().join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
