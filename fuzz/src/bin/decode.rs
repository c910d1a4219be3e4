//! The fuzzer, where `--cfg fuzzing` links it with libFuzzer's `main`: `cargo xtask fuzz`. Else a program that
//! checks files: `cargo run --package veth-fuzz --bin decode FILE..`.
#![cfg_attr(fuzzing, no_main)]

use std::{ffi::c_int, slice};

/// What libFuzzer calls with each input.
///
/// # Safety
/// `data` points at `size` bytes that nothing changes until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> c_int {
    // SAFETY: by the contract above; libFuzzer's pointer is never null, and bytes have no alignment.
    veth_fuzz::check(unsafe { slice::from_raw_parts(data, size) });
    0
}

#[cfg(not(fuzzing))]
fn main() -> anyhow::Result<()> {
    use anyhow::Context as _;

    for file in std::env::args_os().skip(1) {
        let bytes = std::fs::read(&file).with_context(|| file.to_string_lossy().into_owned())?;
        veth_fuzz::check(&bytes);
    }
    Ok(())
}
