//! What a trace wants to see: an expression of pcap-filter(7), compiled by libpcap, and run in the kernel.

mod assembler;
mod classic;
mod loads;
mod splice;
mod translate;

use thiserror::Error;
use veth_common::trace::FILTER_REACH;
use veth_pcap::CompileError;

use self::classic::{Classic, Place, Register, Source};

/// Bytes of an Ethernet header with a VLAN tag.
const TAGGED_HEADER: u32 = 18;

/// A filter, ready to be put into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    program: Vec<Classic>,
}

/// Why an expression is of no use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// It is none.
    #[error("{0}")]
    Compile(#[from] CompileError),
    /// The kernel runs no loops of this kind.
    #[error(
        "this filter needs a loop, as `protochain` does, which does not run in the kernel; use `proto`"
    )]
    Loop,
    /// It needs more instructions than there is room for.
    #[error("this filter is too long for the kernel; shorten it, or trace with a part of it")]
    TooLong,
    /// It asks for what does not lie in the frame.
    #[error(
        "this filter asks which way a packet goes, or another thing that is not in it; use --dir and -i"
    )]
    BesideFrame,
    /// Not an instruction that libpcap writes.
    #[error(
        "this filter needs instruction {0:#x}, which is not known; this is a mistake in veth-agent, please report it"
    )]
    Unknown(u16),
    /// The object was built without room for it.
    #[error("the programs have no {0}; this build of veth-agent is broken")]
    NoPlace(&'static str),
}

impl Filter {
    /// Compiles an expression; nothing but spaces is none.
    ///
    /// # Errors
    /// When libpcap refuses it, in its words, or it cannot run in the kernel.
    pub fn compile(expression: &str) -> Result<Option<Self>, FilterError> {
        if expression.trim().is_empty() {
            return Ok(None);
        }
        let program = classic::read(&veth_pcap::compile(expression)?)?;
        Ok(Some(Self { program }))
    }

    /// `object` with this filter in it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn put_into(&self, object: &[u8]) -> Result<Vec<u8>, FilterError> {
        splice::splice(object, &self.program)
    }

    /// How far into a frame it may look, in bytes, where it has to be shown a copy: at least into what
    /// follows a VLAN tag, as copies are made in pieces.
    #[must_use]
    pub fn reach(&self) -> u32 {
        let index = self.largest_index();
        let reaches = self.program.iter().map(|instruction| match instruction {
            Classic::Load(_, Source::Frame(Place { offset, indexed }, width)) => {
                let index = if *indexed { index } else { 0 };
                offset.saturating_add(width.bytes()).saturating_add(index)
            }
            Classic::Load(_, Source::HeaderLength(offset)) => offset.saturating_add(1),
            _ => 0,
        });
        reaches.max().unwrap_or_default().clamp(TAGGED_HEADER, FILTER_REACH)
    }

    /// What the index register holds at the most. Nearly always it is the length of an IPv4 header.
    fn largest_index(&self) -> u32 {
        let values = self.program.iter().map(|instruction| match instruction {
            Classic::Load(Register::Index, Source::HeaderLength(_)) => 60,
            Classic::Load(Register::Index, Source::Constant(number)) => *number,
            Classic::Load(Register::Index, _) | Classic::Move { to: Register::Index } => u32::MAX,
            _ => 0,
        });
        values.max().unwrap_or_default()
    }
}
