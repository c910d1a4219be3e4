//! Reading a frame.

use veth_common::trace::FILTER_REACH;

use super::{
    assembler::{FRAME, Label, R0, R1, R2, R3, R4, R6, R8, R9, Reg, Value, op},
    classic::{Place, Width},
    translate::{Body, Input, READ},
};

/// Where in a `struct __sk_buff` (`include/uapi/linux/bpf.h`).
pub const LENGTH_OF_PACKET: i16 = 0;
const DATA: i16 = 76;
const DATA_END: i16 = 80;

/// `bpf_skb_load_bytes`: also finds what does not lie in one piece, and costs a call.
const LOAD_BYTES: i32 = 26;

/// So far from its beginning a packet is looked at without a call.
const NEAR: u32 = i16::MAX as u32 - 8;

/// Loads are not needed from farther away than any packet reaches.
const FAR: u32 = i32::MAX as u32;

/// A load that goes by the helper.
pub struct Slow {
    begin: Label,
    /// Where to go on.
    end: Label,
    to: Reg,
    place: Place,
    width: Width,
}

/// Loads a value from the frame, as it stands on a wire.
pub fn load(body: &mut Body, to: Reg, place: Place, width: Width) {
    match body.input {
        Input::Packet => from_packet(body, to, place, width),
        Input::Bytes => from_bytes(body, to, place, width),
    }
    match width {
        Width::One => {}
        Width::Two => body.asm.swap(to, 16),
        Width::Four => body.asm.swap(to, 32),
    }
}

/// Four times the lower half of a byte.
pub fn header_length(body: &mut Body, to: Reg, offset: u32) {
    load(body, to, Place { offset, indexed: false }, Width::One);
    body.asm.compute(op::ALU32, op::AND, to, Value::Is(0xf));
    body.asm.compute(op::ALU32, op::LSH, to, Value::Is(2));
}

/// R2 = the place, where it is not known beforehand.
fn find(body: &mut Body, place: Place) {
    body.asm.set(R2, Value::Of(R8));
    body.asm.compute(op::ALU64, op::ADD, R2, Value::Is(place.offset.cast_signed()));
}

/// "No" in any case, by a condition: verifiers refuse code that no way leads to.
fn never(body: &mut Body, to: Reg) {
    body.asm.jump_if(op::JMP32, op::JGE, to, Value::Is(0), body.no);
}

fn from_packet(body: &mut Body, to: Reg, place: Place, width: Width) {
    if place.offset > FAR - width.bytes() {
        return never(body, to);
    }
    let (slow, end) = (body.asm.label(), body.asm.label());
    if place.indexed {
        find(body, place);
        body.asm.jump_if(op::JMP64, op::JGT, R2, Value::Is(NEAR.cast_signed()), slow);
    }
    if place.indexed || place.offset <= NEAR {
        body.asm.load(4, R1, R6, DATA);
        body.asm.load(4, R3, R6, DATA_END);
        if place.indexed {
            body.asm.compute(op::ALU64, op::ADD, R1, Value::Of(R2));
        }
        let begin = if place.indexed { 0 } else { place.offset };
        body.asm.copy(R4, R1);
        let behind = (begin + width.bytes()).cast_signed();
        body.asm.compute(op::ALU64, op::ADD, R4, Value::Is(behind));
        body.asm.jump_if(op::JMP64, op::JGT, R4, Value::Of(R3), slow);
        body.asm.load(width.bytes(), to, R1, begin as i16);
    } else {
        body.asm.jump(slow);
    }
    body.asm.bind(end);
    body.slow.push(Slow { begin: slow, end, to, place, width });
}

fn from_bytes(body: &mut Body, to: Reg, place: Place, width: Width) {
    let last = FILTER_REACH - width.bytes();
    if place.offset > last {
        return never(body, to);
    }
    if !place.indexed {
        let behind = (place.offset + width.bytes()).cast_signed();
        body.asm.jump_if(op::JMP32, op::JLT, R9, Value::Is(behind), body.no);
        body.asm.load(width.bytes(), to, R6, place.offset as i16);
        return;
    }
    find(body, place);
    body.asm.jump_if(op::JMP64, op::JGT, R2, Value::Is(last.cast_signed()), body.no);
    body.asm.copy(R3, R2);
    body.asm.compute(op::ALU64, op::ADD, R3, Value::Is(width.bytes().cast_signed()));
    body.asm.jump_if(op::JMP64, op::JGT, R3, Value::Of(R9), body.no);
    body.asm.copy(R1, R6);
    body.asm.compute(op::ALU64, op::ADD, R1, Value::Of(R2));
    body.asm.load(width.bytes(), to, R1, 0);
}

/// Writes what the fast ways lead to where they end.
pub fn write_slow(body: &mut Body) {
    for Slow { begin, end, to, place, width } in std::mem::take(&mut body.slow) {
        let no = body.no;
        let asm = &mut body.asm;
        asm.bind(begin);
        if place.indexed {
            let last = FAR - width.bytes();
            asm.jump_if(op::JMP64, op::JGT, R2, Value::Is(last.cast_signed()), no);
        } else {
            asm.set(R2, Value::Is(place.offset.cast_signed()));
        }
        asm.copy(R1, R6);
        asm.copy(R3, FRAME);
        asm.compute(op::ALU64, op::ADD, R3, Value::Is(READ.into()));
        asm.set(R4, Value::Is(width.bytes().cast_signed()));
        asm.call(LOAD_BYTES);
        asm.jump_if(op::JMP32, op::JNE, R0, Value::Is(0), no);
        asm.load(width.bytes(), to, FRAME, READ);
        asm.jump(end);
    }
}
