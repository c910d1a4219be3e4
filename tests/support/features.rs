//! Tests that need what a kernel may lack.

use std::{fs::File, io::Write as _};

use veth_agent::preflight::{Feature, KernelVersion, release};
use veth_vm::SKIPPED_VARIABLE;

/// Whether the running kernel lacks `feature`, and the test that needs it is to be skipped.
///
/// # Panics
/// When the kernel should have it, by its version and its build options: then the probe is wrong,
/// or the machine is, and a test that does not run would hide it.
#[must_use]
pub fn lacks(feature: Feature) -> bool {
    if feature.available() {
        return false;
    }
    assert!(
        !expected(feature),
        "{feature:?} is {:?}, and this kernel, {}, should have it",
        feature.state(),
        release()
    );
    skipped(feature.facts().name);
    true
}

/// Notes that a test did not run, since the kernel lacks `what`.
///
/// # Panics
/// When it cannot be noted.
pub fn skipped(what: &str) {
    eprintln!("skipped: this kernel has no {what}");
    if let Some(path) = std::env::var_os(SKIPPED_VARIABLE) {
        let noted = File::options().create(true).append(true).open(path);
        let noted = noted.and_then(|mut file| writeln!(file, "{what}"));
        assert!(noted.is_ok(), "{noted:?}");
    }
}

/// Whether a kernel of this version and with these build options has a feature: what the table
/// says, against which the probes are tested.
///
/// # Panics
/// When the release has no version, or the build options cannot be read: nothing could be said then.
#[must_use]
pub fn expected(feature: Feature) -> bool {
    let facts = feature.facts();
    let version = KernelVersion::of(&release());
    assert!(version.is_some(), "{} is no version", release());
    version >= Some(facts.since) && facts.options.iter().all(|option| built_with(option))
}

/// Whether the running kernel was built with an option.
///
/// # Panics
/// When its build options cannot be read.
#[must_use]
pub fn built_with(option: &str) -> bool {
    let is_set = |line: &str| line == format!("{option}=y") || line == format!("{option}=m");
    build_options().lines().any(is_set)
}

/// The running kernel's build options, from where distributions keep them.
fn build_options() -> String {
    use std::process::Command;

    let boot = std::fs::read_to_string(format!("/boot/config-{}", release()));
    let options = boot.ok().or_else(|| {
        let output = Command::new("zcat").arg("/proc/config.gz").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(options.is_some(), "there is neither /boot/config-{} nor /proc/config.gz", release());
    options.unwrap_or_default()
}
