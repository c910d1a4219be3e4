//! From classic BPF to the body of an eBPF function.
//!
//! The accumulator is R7, the index register R8, and R6 leads to the frame. What a classic program must not do
//! ends it with "no": to read behind the end, to divide by zero.

use super::{
    FilterError,
    assembler::{Assembler, Ebpf, FRAME, Label, R0, R1, R2, R3, R6, R7, R8, R9, Reg, Value, op},
    classic::{Classic, Operand, Operation, Register, Source, Test},
    loads::{self, Slow},
};

/// What the function is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A packet at a hook of TC: its `struct __sk_buff`.
    Packet,
    /// The beginning of a frame in a map of [`veth_common::trace::FILTER_REACH`] bytes and more: its address,
    /// the length of the frame, and how much of it is there.
    Bytes,
}

/// Where on the stack, from its frame down: a value that a helper reads, the length of the frame, and the
/// memory of the program. Only what is used counts as used.
pub const READ: i16 = -4;
const LENGTH: i16 = -8;
const MEMORY: i16 = -12;

/// A function that is being written.
pub struct Body {
    pub asm: Assembler,
    pub input: Input,
    /// Where "no" is returned.
    pub no: Label,
    /// What is too far off to lie in the way of everything else.
    pub slow: Vec<Slow>,
}

/// The body of a function of exactly `room` instructions.
///
/// # Errors
/// When it does not fit, or the program has a loop.
pub fn translate(program: &[Classic], input: Input, room: usize) -> Result<Vec<Ebpf>, FilterError> {
    let reached = reached(program)?;
    let mut asm = Assembler::default();
    let (no, rest) = (asm.label(), asm.label());
    let places: Vec<Label> = program.iter().map(|_| asm.label()).collect();
    let mut body = Body { asm, input, no, slow: Vec::new() };
    body.begin(program, rest);
    for (at, instruction) in program.iter().enumerate().filter(|(at, _)| reached[*at]) {
        body.asm.bind(places[at]);
        let place = |skipped| places.get(target(at, skipped)).copied().ok_or(FilterError::Loop);
        match *instruction {
            Classic::Jump(skipped) => body.asm.jump(place(skipped)?),
            Classic::Branch { test, with, yes, no } => {
                body.branch(test, with, place(yes)?);
                if no > 0 {
                    body.asm.jump(place(no)?);
                }
            }
            other => body.straight(other),
        }
    }
    loads::write_slow(&mut body);
    body.end(rest, room)
}

/// Where a jump leads. One that leads back, as libpcap writes it, leads far behind the end here.
const fn target(at: usize, skipped: u32) -> usize {
    at + 1 + skipped as usize
}

/// Which instructions are ever reached: verifiers refuse what is not.
fn reached(program: &[Classic]) -> Result<Vec<bool>, FilterError> {
    let mut reached = vec![false; program.len()];
    let mut next = vec![0];
    while let Some(at) = next.pop() {
        let place = reached.get_mut(at).ok_or(FilterError::Loop)?;
        if std::mem::replace(place, true) {
            continue;
        }
        match program[at] {
            Classic::Return(_) => {}
            Classic::Jump(skipped) => next.push(target(at, skipped)),
            Classic::Branch { yes, no, .. } => next.extend([target(at, yes), target(at, no)]),
            _ => next.push(at + 1),
        }
    }
    Ok(reached)
}

impl Body {
    /// Takes the arguments. `rest` is what is left of the room: a verifier sees that it is never reached, and
    /// takes it out.
    fn begin(&mut self, program: &[Classic], rest: Label) {
        let asm = &mut self.asm;
        asm.set(R0, Value::Is(0));
        asm.jump_if(op::JMP64, op::JNE, R0, Value::Is(0), rest);
        asm.copy(R6, R1);
        if self.input == Input::Bytes {
            asm.store(FRAME, LENGTH, R2);
            asm.set(R9, Value::Of(R3));
        }
        asm.set(R7, Value::Is(0));
        asm.set(R8, Value::Is(0));
        let read = |word| {
            let load = |instruction: &Classic| matches!(instruction, Classic::Load(_, Source::Memory(k)) if *k == word);
            program.iter().any(load)
        };
        for word in (0..super::classic::WORDS).filter(|word| read(*word)) {
            asm.store(FRAME, memory(word), R7);
        }
    }

    /// Returns "no", and fills the room.
    fn end(mut self, rest: Label, room: usize) -> Result<Vec<Ebpf>, FilterError> {
        self.asm.bind(self.no);
        self.asm.set(R0, Value::Is(0));
        self.asm.exit();
        self.asm.bind(rest);
        // One for the exit.
        let left = room.checked_sub(self.asm.len() + 1).ok_or(FilterError::TooLong)?;
        for _ in 0..left {
            self.asm.set(R0, Value::Is(0));
        }
        self.asm.exit();
        self.asm.finish()
    }

    fn straight(&mut self, instruction: Classic) {
        match instruction {
            Classic::Load(to, source) => self.load(register(to), source),
            Classic::Store(from, word) => self.asm.store(FRAME, memory(word), register(from)),
            Classic::Compute(operation, with) => self.compute(operation, with),
            Classic::Negate => self.asm.compute(op::ALU32, op::NEG, R7, Value::Is(0)),
            Classic::Move { to: Register::Accumulator } => self.asm.set(R7, Value::Of(R8)),
            Classic::Move { to: Register::Index } => self.asm.set(R8, Value::Of(R7)),
            Classic::Return(Operand::Constant(0)) => self.asm.jump(self.no),
            Classic::Return(what) => {
                let yes = match what {
                    Operand::Constant(_) => Value::Is(1),
                    Operand::Index => Value::Of(R8),
                    Operand::Accumulator => Value::Of(R7),
                };
                self.asm.set(R0, yes);
                self.asm.exit();
            }
            Classic::Jump(_) | Classic::Branch { .. } => {}
        }
    }

    fn load(&mut self, to: Reg, source: Source) {
        match source {
            Source::Constant(number) => self.asm.set(to, Value::Is(number.cast_signed())),
            Source::Frame(place, width) => loads::load(self, to, place, width),
            Source::HeaderLength(offset) => loads::header_length(self, to, offset),
            Source::Memory(word) => self.asm.load(4, to, FRAME, memory(word)),
            Source::Length => match self.input {
                Input::Packet => self.asm.load(4, to, R6, loads::LENGTH_OF_PACKET),
                Input::Bytes => self.asm.load(4, to, FRAME, LENGTH),
            },
        }
    }

    fn compute(&mut self, operation: Operation, with: Operand) {
        let value = value(with);
        match operation {
            Operation::Divide | Operation::Modulo => self.divide(operation, value),
            Operation::ShiftLeft | Operation::ShiftRight => self.shift(operation, value),
            _ => self.asm.compute(op::ALU32, code(operation), R7, value),
        }
    }

    fn divide(&mut self, operation: Operation, by: Value) {
        match by {
            // By a condition: verifiers refuse code that no way leads to.
            Value::Is(0) => self.asm.jump_if(op::JMP32, op::JGE, R7, Value::Is(0), self.no),
            Value::Is(_) => {}
            Value::Of(by) => self.asm.jump_if(op::JMP32, op::JEQ, by, Value::Is(0), self.no),
        }
        if by != Value::Is(0) {
            self.asm.compute(op::ALU32, code(operation), R7, by);
        }
    }

    /// By 32 and more, nothing is left.
    fn shift(&mut self, operation: Operation, by: Value) {
        match by {
            Value::Is(0..32) => self.asm.compute(op::ALU32, code(operation), R7, by),
            Value::Is(_) => self.asm.set(R7, Value::Is(0)),
            Value::Of(register) => {
                let (few, done) = (self.asm.label(), self.asm.label());
                self.asm.jump_if(op::JMP32, op::JLT, register, Value::Is(32), few);
                self.asm.set(R7, Value::Is(0));
                self.asm.jump(done);
                self.asm.bind(few);
                self.asm.compute(op::ALU32, code(operation), R7, by);
                self.asm.bind(done);
            }
        }
    }

    fn branch(&mut self, test: Test, with: Operand, yes: Label) {
        let test = match test {
            Test::Equal => op::JEQ,
            Test::Greater => op::JGT,
            Test::GreaterOrEqual => op::JGE,
            Test::AnyBit => op::JSET,
        };
        self.asm.jump_if(op::JMP32, test, R7, value(with), yes);
    }
}

const fn memory(word: u32) -> i16 {
    MEMORY - 4 * word as i16
}

const fn register(register: Register) -> Reg {
    match register {
        Register::Accumulator => R7,
        Register::Index => R8,
    }
}

/// What the accumulator meets.
const fn value(operand: Operand) -> Value {
    match operand {
        Operand::Constant(number) => Value::Is(number.cast_signed()),
        Operand::Index => Value::Of(R8),
        Operand::Accumulator => Value::Of(R7),
    }
}

const fn code(operation: Operation) -> u8 {
    match operation {
        Operation::Add => op::ADD,
        Operation::Subtract => op::SUB,
        Operation::Multiply => op::MUL,
        Operation::Divide => op::DIV,
        Operation::Modulo => op::MOD,
        Operation::Or => op::OR,
        Operation::And => op::AND,
        Operation::Xor => op::XOR,
        Operation::ShiftLeft => op::LSH,
        Operation::ShiftRight => op::RSH,
    }
}
