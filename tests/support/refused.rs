//! A kernel that refuses tracing, as hardened ones do.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use nix::libc::{self, sock_filter, sock_fprog};

/// `BPF_RAW_TRACEPOINT_OPEN`, of `bpf(2)`.
const RAW_TRACEPOINT_OPEN: u32 = 17;

/// Offsets in `struct seccomp_data`: the number of the system call, the lower half of its first argument.
const NUMBER: u32 = 0;
const FIRST_ARGUMENT: u32 = 16;

/// Lets the kernel refuse every raw tracepoint to a command (`EPERM`), and to whatever that starts.
pub fn refuse_tracing(command: &mut Command) {
    // SAFETY: between fork and exec only `prctl` is called, which is safe there; what it is given lives on
    // the stack meanwhile.
    unsafe {
        command.pre_exec(install);
    }
}

fn install() -> io::Result<()> {
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let unless =
        |value, skipped| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skipped);
    let end = |verdict| statement(libc::BPF_RET | libc::BPF_K, verdict, 0, 0);
    let mut filter = [
        load(NUMBER),
        unless(u32::try_from(libc::SYS_bpf).unwrap_or(u32::MAX), 3),
        load(FIRST_ARGUMENT),
        unless(RAW_TRACEPOINT_OPEN, 1),
        end(libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let length = u16::try_from(filter.len()).unwrap_or(0);
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions outlive the call, and the kernel copies them.
    let done = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program))
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}
