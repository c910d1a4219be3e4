//! eBPF instructions, and jumps to places that are not known yet.

use super::FilterError;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(u8);

/// What a function returns, and what helpers do.
pub const R0: Reg = Reg(0);
/// First argument.
pub const R1: Reg = Reg(1);
/// Second argument.
pub const R2: Reg = Reg(2);
/// Third argument.
pub const R3: Reg = Reg(3);
/// Fourth argument.
pub const R4: Reg = Reg(4);
/// Kept over calls, as the next three.
pub const R6: Reg = Reg(6);
/// See [`R6`].
pub const R7: Reg = Reg(7);
/// See [`R6`].
pub const R8: Reg = Reg(8);
/// See [`R6`].
pub const R9: Reg = Reg(9);
/// The frame of the stack: what lies below it is the function's.
pub const FRAME: Reg = Reg(10);

/// `struct bpf_insn`, `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ebpf {
    /// What to do.
    pub code: u8,
    /// Register that is written.
    pub to: u8,
    /// Register that is read.
    pub from: u8,
    /// Bytes to an address, or instructions to jump over.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

impl Ebpf {
    /// Bytes of one.
    pub const BYTES: usize = 8;

    /// As it lies in memory on this machine.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let registers = if cfg!(target_endian = "little") {
            self.from << 4 | self.to
        } else {
            self.to << 4 | self.from
        };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A register or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// What a register holds.
    Of(Reg),
    /// This.
    Is(i32),
}

/// Class, and operation where an instruction computes or jumps.
pub mod op {
    /// 32 bits at a time, the upper half zero.
    pub const ALU32: u8 = 0x04;
    /// 64 bits at a time.
    pub const ALU64: u8 = 0x07;
    /// Compares 64 bits.
    pub const JMP64: u8 = 0x05;
    /// Compares 32 bits.
    pub const JMP32: u8 = 0x06;
    /// `+`
    pub const ADD: u8 = 0x00;
    /// `-`
    pub const SUB: u8 = 0x10;
    /// `*`
    pub const MUL: u8 = 0x20;
    /// `/`
    pub const DIV: u8 = 0x30;
    /// `|`
    pub const OR: u8 = 0x40;
    /// `&`
    pub const AND: u8 = 0x50;
    /// `<<`
    pub const LSH: u8 = 0x60;
    /// `>>`
    pub const RSH: u8 = 0x70;
    /// Minus what it is.
    pub const NEG: u8 = 0x80;
    /// `%`
    pub const MOD: u8 = 0x90;
    /// `^`
    pub const XOR: u8 = 0xa0;
    /// `=`
    pub const MOV: u8 = 0xb0;
    /// To the order of a wire.
    pub const TO_BE: u8 = 0xd8;
    /// `==`
    pub const JEQ: u8 = 0x10;
    /// `>`
    pub const JGT: u8 = 0x20;
    /// `>=`
    pub const JGE: u8 = 0x30;
    /// `&`
    pub const JSET: u8 = 0x40;
    /// `!=`
    pub const JNE: u8 = 0x50;
    /// `<`
    pub const JLT: u8 = 0xa0;
}

/// A function as it is written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Ebpf>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
    /// Instructions that jump, and to which label.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A place that will be somewhere.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// It is here.
    pub fn bind(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.code.len());
        }
    }

    fn push(&mut self, code: u8, to: Reg, from: Reg, offset: i16, immediate: i32) {
        self.code.push(Ebpf { code, to: to.0, from: from.0, offset, immediate });
    }

    /// Computes into a register.
    pub fn compute(&mut self, class: u8, operation: u8, to: Reg, value: Value) {
        match value {
            Value::Of(from) => self.push(class | operation | 0x08, to, from, 0, 0),
            Value::Is(number) => self.push(class | operation, to, R0, 0, number),
        }
    }

    /// `to = value`, 32 bits of it.
    pub fn set(&mut self, to: Reg, value: Value) {
        self.compute(op::ALU32, op::MOV, to, value);
    }

    /// `to = from`, all of it.
    pub fn copy(&mut self, to: Reg, from: Reg) {
        self.compute(op::ALU64, op::MOV, to, Value::Of(from));
    }

    /// From the order of a wire, the lower so many bits.
    pub fn swap(&mut self, to: Reg, bits: i32) {
        self.push(op::ALU32 | op::TO_BE, to, R0, 0, bits);
    }

    /// Loads so many bytes, 1, 2 or 4, from an address.
    pub fn load(&mut self, bytes: u32, to: Reg, from: Reg, offset: i16) {
        self.push(0x61 | size(bytes), to, from, offset, 0);
    }

    /// Stores four bytes of a register.
    pub fn store(&mut self, to: Reg, offset: i16, from: Reg) {
        self.push(0x63, to, from, offset, 0);
    }

    /// Jumps, if it is so.
    pub fn jump_if(&mut self, class: u8, test: u8, register: Reg, value: Value, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.compute(class, test, register, value);
    }

    /// Jumps.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(op::JMP64, R0, R0, 0, 0);
    }

    /// Calls a helper of the kernel.
    pub fn call(&mut self, helper: i32) {
        self.push(0x85, R0, R0, 0, helper);
    }

    /// Returns from the function.
    pub fn exit(&mut self) {
        self.push(0x95, R0, R0, 0, 0);
    }

    /// How many instructions there are.
    pub const fn len(&self) -> usize {
        self.code.len()
    }

    /// The function.
    ///
    /// # Errors
    /// When it is too long to jump in.
    pub fn finish(mut self) -> Result<Vec<Ebpf>, FilterError> {
        for (at, label) in self.jumps {
            let place = self.labels.get(label.0).copied().flatten().ok_or(FilterError::Loop)?;
            let distance = place as i64 - at as i64 - 1;
            let distance = i16::try_from(distance).map_err(|_| FilterError::TooLong)?;
            if let Some(jump) = self.code.get_mut(at) {
                jump.offset = distance;
            }
        }
        Ok(self.code)
    }
}

/// The size of a load or store as it is written.
const fn size(bytes: u32) -> u8 {
    match bytes {
        1 => 0x10,
        2 => 0x08,
        _ => 0x00,
    }
}
