//! Classic BPF, as libpcap writes it: bpf(4) of BSD, `include/uapi/linux/bpf_common.h`.

use veth_pcap::Instruction;

use super::FilterError;

/// Words of the memory of a program: `BPF_MEMWORDS`.
pub const WORDS: u32 = 16;

/// A value that an instruction works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    Constant(u32),
    /// The index register.
    Index,
    /// The accumulator.
    Accumulator,
}

/// One of the two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// `A`.
    Accumulator,
    /// `X`.
    Index,
}

/// How much of a frame is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte.
    One,
    /// Two, in the order of a wire.
    Two,
    /// Four.
    Four,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Where in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the beginning.
    pub offset: u32,
    /// And so many more as the index register says.
    pub indexed: bool,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A constant.
    Constant(u32),
    /// The frame.
    Frame(Place, Width),
    /// The length of an IPv4 header, from its first byte.
    HeaderLength(u32),
    /// The memory of the program.
    Memory(u32),
    /// The length of the frame.
    Length,
}

/// What is done to the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `|`
    Or,
    /// `&`
    And,
    /// `^`
    Xor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

/// What is asked of the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&`
    AnyBit,
}

/// An instruction; jumps count from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classic {
    /// Into a register.
    Load(Register, Source),
    /// Of a register into the memory.
    Store(Register, u32),
    /// On the accumulator.
    Compute(Operation, Operand),
    /// Of the accumulator.
    Negate,
    /// From one register to the other.
    Move {
        /// Into which.
        to: Register,
    },
    /// Always.
    Jump(u32),
    /// By a condition.
    Branch {
        /// Asked of the accumulator.
        test: Test,
        /// Compared with this.
        with: Operand,
        /// Where it holds.
        yes: u32,
        /// Where it does not.
        no: u32,
    },
    /// Other than zero for a frame that matches.
    Return(Operand),
}

/// Reads a whole program.
///
/// # Errors
/// When it is not one that libpcap's compiler is known to write.
pub fn read(program: &[Instruction]) -> Result<Vec<Classic>, FilterError> {
    let read = |instruction: &Instruction| match read_one(*instruction) {
        Some(Classic::Load(_, Source::Frame(Place { offset: BESIDE.., .. }, _))) => {
            Err(FilterError::BesideFrame)
        }
        Some(known) => Ok(known),
        None => Err(FilterError::Unknown(instruction.code)),
    };
    program.iter().map(read).collect()
}

/// Offsets from here on stand for what Linux knows of a packet beside its bytes: `SKF_AD_OFF`.
const BESIDE: u32 = 0xffff_f000;

fn read_one(instruction: Instruction) -> Option<Classic> {
    let Instruction { code, k, .. } = instruction;
    match code & 7 {
        0 => Some(Classic::Load(Register::Accumulator, source(code, k)?)),
        1 => Some(Classic::Load(Register::Index, source(code, k)?)),
        2 => (k < WORDS).then_some(Classic::Store(Register::Accumulator, k)),
        3 => (k < WORDS).then_some(Classic::Store(Register::Index, k)),
        4 => compute(code, k),
        5 => branch(instruction),
        6 => Some(Classic::Return(match code & 0x18 {
            0x00 => Operand::Constant(k),
            0x08 => Operand::Index,
            0x10 => Operand::Accumulator,
            _ => return None,
        })),
        _ => Some(Classic::Move {
            to: if code & 0x80 == 0 { Register::Index } else { Register::Accumulator },
        }),
    }
}

fn source(code: u16, k: u32) -> Option<Source> {
    let width = match code & 0x18 {
        0x00 => Width::Four,
        0x08 => Width::Two,
        0x10 => Width::One,
        _ => return None,
    };
    let frame = |indexed| Source::Frame(Place { offset: k, indexed }, width);
    match code & 0xe0 {
        0x00 => Some(Source::Constant(k)),
        0x20 => Some(frame(false)),
        0x40 => Some(frame(true)),
        0x60 => (k < WORDS).then_some(Source::Memory(k)),
        0x80 => Some(Source::Length),
        0xa0 => Some(Source::HeaderLength(k)),
        _ => None,
    }
}

const fn operand(code: u16, k: u32) -> Operand {
    if code & 8 == 0 { Operand::Constant(k) } else { Operand::Index }
}

fn compute(code: u16, k: u32) -> Option<Classic> {
    let operation = match code & 0xf0 {
        0x00 => Operation::Add,
        0x10 => Operation::Subtract,
        0x20 => Operation::Multiply,
        0x30 => Operation::Divide,
        0x40 => Operation::Or,
        0x50 => Operation::And,
        0x60 => Operation::ShiftLeft,
        0x70 => Operation::ShiftRight,
        0x80 => return Some(Classic::Negate),
        0x90 => Operation::Modulo,
        0xa0 => Operation::Xor,
        _ => return None,
    };
    Some(Classic::Compute(operation, operand(code, k)))
}

fn branch(instruction: Instruction) -> Option<Classic> {
    let Instruction { code, jt, jf, k } = instruction;
    let test = match code & 0xf0 {
        0x00 => return Some(Classic::Jump(k)),
        0x10 => Test::Equal,
        0x20 => Test::Greater,
        0x30 => Test::GreaterOrEqual,
        0x40 => Test::AnyBit,
        _ => return None,
    };
    Some(Classic::Branch { test, with: operand(code, k), yes: jt.into(), no: jf.into() })
}
