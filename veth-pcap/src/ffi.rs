//! The calls: `pcap.h`.

use std::{
    ffi::{CStr, c_char, c_int, c_uint},
    ptr::{self, NonNull},
    slice,
};

use crate::{CompileError, Instruction};

/// `DLT_EN10MB`.
const ETHERNET: c_int = 1;

/// Bytes of a frame that are there, at the most: `MAXIMUM_SNAPLEN` of `tcpdump`.
const SNAPLEN: c_int = 262_144;

/// `PCAP_NETMASK_UNKNOWN`: there are many ends, each with its own.
const NETMASK: c_uint = c_uint::MAX;

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    length: c_uint,
    instructions: *mut Instruction,
}

/// `pcap_t`.
#[repr(C)]
struct Pcap {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn pcap_open_dead(linktype: c_int, snaplen: c_int) -> *mut Pcap;
    fn pcap_close(pcap: *mut Pcap);
    fn pcap_geterr(pcap: *mut Pcap) -> *const c_char;
    fn pcap_compile(
        pcap: *mut Pcap,
        program: *mut Program,
        expression: *const c_char,
        optimize: c_int,
        netmask: c_uint,
    ) -> c_int;
    fn pcap_freecode(program: *mut Program);
}

/// A handle that only compiles.
struct Dead(NonNull<Pcap>);

impl Dead {
    fn open() -> Result<Self, CompileError> {
        // SAFETY: takes two numbers; gives a handle of ours alone, or null.
        let pcap = unsafe { pcap_open_dead(ETHERNET, SNAPLEN) };
        NonNull::new(pcap).map(Self).ok_or(CompileError::Memory)
    }

    fn error(&self) -> CompileError {
        // SAFETY: the handle is open; what comes back is a string inside it, which is copied before
        // anything else is done with the handle.
        let text = unsafe { CStr::from_ptr(pcap_geterr(self.0.as_ptr())) };
        CompileError::Expression(text.to_string_lossy().into_owned())
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing uses it any more.
        unsafe { pcap_close(self.0.as_ptr()) }
    }
}

pub fn compile(expression: &CStr) -> Result<Vec<Instruction>, CompileError> {
    let pcap = Dead::open()?;
    let mut program = Program { length: 0, instructions: ptr::null_mut() };
    // SAFETY: the handle is open, `program` may be written, the expression ends with a zero.
    let failed =
        unsafe { pcap_compile(pcap.0.as_ptr(), &raw mut program, expression.as_ptr(), 1, NETMASK) };
    if failed != 0 {
        return Err(pcap.error());
    }
    // SAFETY: a program that was compiled has `length` instructions, which are copied before they
    // are freed, once.
    unsafe {
        let compiled =
            slice::from_raw_parts(program.instructions, program.length as usize).to_vec();
        pcap_freecode(&raw mut program);
        Ok(compiled)
    }
}
