//! libpcap's compiler of filter expressions (pcap-filter(7)), and nothing else of it.

mod ffi;
mod unused;

use std::ffi::CString;

use thiserror::Error;

/// An instruction of classic BPF: `struct bpf_insn` of libpcap, `struct sock_filter` of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions a jump skips where its condition holds.
    pub jt: u8,
    /// How many where it does not.
    pub jf: u8,
    /// A number, by `code`.
    pub k: u32,
}

/// Why an expression is none.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// In libpcap's words.
    #[error("{0}")]
    Expression(String),
    /// It cannot be handed over.
    #[error("a filter expression cannot hold a zero byte")]
    ZeroByte,
    /// For want of memory.
    #[error("libpcap cannot be used: out of memory")]
    Memory,
}

/// Compiles an expression for Ethernet frames. Names of hosts in it are looked up, as `tcpdump` does.
///
/// # Errors
/// What libpcap says.
pub fn compile(expression: &str) -> Result<Vec<Instruction>, CompileError> {
    let expression = CString::new(expression).map_err(|_| CompileError::ZeroByte)?;
    unused::keep();
    ffi::compile(&expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_becomes_a_program() {
        let program = compile("arp");
        // ldh [12]; jeq #0x806; ret #262144; ret #0
        let codes: Option<Vec<_>> = program.ok().map(|all| all.iter().map(|i| i.code).collect());
        assert_eq!(codes, Some(vec![0x28, 0x15, 0x06, 0x06]));
    }

    #[test]
    fn what_is_no_expression_is_told_in_libpcaps_words() {
        let told = |expression: &str| compile(expression).map_err(|error| error.to_string());
        assert_eq!(
            told("tcp prot 80"),
            Err("can't parse filter expression: syntax error".to_owned())
        );
        assert_eq!(told("port http-nonsense"), Err("unknown port 'http-nonsense'".to_owned()));
        assert_eq!(told("a\0b"), Err(CompileError::ZeroByte.to_string()));
    }
}
