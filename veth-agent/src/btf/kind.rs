//! Kinds of types.

/// What a type is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// A pointer.
    Pointer,
    /// Several of one type.
    Array,
    /// A structure.
    Struct,
    /// A union.
    Union,
    /// Names of numbers of 32 bits.
    Enum,
    /// Names of numbers of 64 bits.
    Enum64,
    /// Another type by another name, or with a qualifier.
    Alias,
    /// Anything else.
    Other,
}

impl Kind {
    /// The kind in a type's `info` (`BTF_INFO_KIND`, `include/uapi/linux/btf.h`).
    pub const fn of(info: u32) -> Self {
        match number(info) {
            1 => Self::Int,
            2 => Self::Pointer,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            8..=11 | 18 => Self::Alias,
            19 => Self::Enum64,
            _ => Self::Other,
        }
    }
}

const fn number(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes that stand behind the beginning of a type; `None` for a kind that is newer than this.
pub fn bytes_behind(info: u32) -> Option<usize> {
    let length = (info & 0xffff) as usize;
    match number(info) {
        // Pointers, forward declarations, aliases, functions, floating point.
        2 | 7..=12 | 16 | 18 => Some(0),
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => Some(4),
        3 => Some(12),
        // Structures, unions, sections, enumerations of 64 bits.
        4 | 5 | 15 | 19 => Some(length * 12),
        // Enumerations, prototypes.
        6 | 13 => Some(length * 8),
        _ => None,
    }
}
