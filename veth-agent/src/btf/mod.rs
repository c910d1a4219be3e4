//! The kernel's description of its own types, BTF (`Documentation/bpf/btf.rst`), as far as it is asked:
//! where a structure keeps a member, and what an enumeration calls its values.
//!
//! Read where it lies, in one buffer: the kernel's has 150,000 types, which as objects would take more
//! memory than all else in the agent.

mod kind;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Read as _},
    ops::Range,
    path::Path,
};

use thiserror::Error;

use self::kind::Kind;

/// Where the kernel describes itself; those of modules lie beside it.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// `struct btf_header`, and what stands ahead of every type.
const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;

/// How deep members and names of types are followed; the kernel's go some five steps.
const DEEPEST: u32 = 32;

/// Why there is no description.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is not BTF, or cut short.
    #[error("{path} is no BTF; a kernel built with CONFIG_DEBUG_INFO_BTF is needed")]
    Malformed {
        /// Which.
        path: String,
    },
}

/// A description of types.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Where each type stands; the first has number 1.
    types: Vec<u32>,
    strings: Range<usize>,
    /// Types and bytes of strings that the kernel's own has, of a module's: the module's come after.
    base: (u32, usize),
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the beginning of the structure.
    pub offset: u32,
    /// How large it is, in bytes.
    pub bytes: u32,
}

/// A named value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The lower 32 bits of its value.
    pub value: u32,
}

/// A type, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Type {
    at: usize,
    kind: Kind,
    name: u32,
    length: usize,
    size_or_type: u32,
}

impl Btf {
    /// The running kernel's.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(KERNEL), None)
    }

    /// Of a module, which goes on where the kernel's ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_module(path: &Path, kernel: &Self) -> Result<Self, BtfError> {
        Self::read(path, Some(kernel))
    }

    fn read(path: &Path, base: Option<&Self>) -> Result<Self, BtfError> {
        let name = path.display().to_string();
        let data =
            fs::read(path).map_err(|source| BtfError::Read { path: name.clone(), source })?;
        Self::parse(data, base).ok_or(BtfError::Malformed { path: name })
    }

    fn parse(data: Vec<u8>, base: Option<&Self>) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = usize::try_from(word(&data, 4)?).ok()?;
        let section = |at| -> Option<Range<usize>> {
            let start = header.checked_add(usize::try_from(word(&data, at)?).ok()?)?;
            let end = start.checked_add(usize::try_from(word(&data, at + 4)?).ok()?)?;
            (header >= HEADER && end <= data.len()).then_some(start..end)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let base = base.map_or((0, 0), |kernel| {
            (u32::try_from(kernel.types.len()).unwrap_or(u32::MAX), kernel.strings.len())
        });
        let types = walk(&data, types)?;
        Some(Self { data, types, strings, base })
    }

    /// Where a structure keeps a member, of its nameless parts too.
    #[must_use]
    pub fn member(&self, structure: &str, member: &str) -> Option<Member> {
        let is_it = |found: &Type| {
            found.kind == Kind::Struct && found.length > 0 && self.name(found.name) == structure
        };
        let structure = self.all().find(is_it)?;
        self.member_of(structure, member, 0, DEEPEST)
    }

    fn member_of(&self, parent: Type, wanted: &str, base: u32, depth: u32) -> Option<Member> {
        let depth = depth.checked_sub(1)?;
        (0..parent.length).find_map(|n| {
            let at = parent.at + TYPE + n * 12;
            let (name, of, bits) =
                (self.word(at)?, self.word(at + 4)?, self.word(at + 8)? & 0xff_ffff);
            let offset = base.checked_add(bits / 8)?;
            match self.name(name) {
                found if found == wanted && bits % 8 == 0 => {
                    Some(Member { offset, bytes: self.size(of, depth)? })
                }
                "" => self.member_of(self.get(of)?, wanted, offset, depth),
                _ => None,
            }
        })
    }

    /// The values of all enumerations whose names `choose` takes.
    pub fn enumerators(&self, choose: impl Fn(&str) -> bool) -> Vec<Enumerator<'_>> {
        let enums = self.all().filter(|found| matches!(found.kind, Kind::Enum | Kind::Enum64));
        let chosen = enums.filter(|found| choose(self.name(found.name)));
        chosen
            .flat_map(|found| {
                let step = if found.kind == Kind::Enum { 8 } else { 12 };
                (0..found.length).filter_map(move |n| {
                    let at = found.at + TYPE + n * step;
                    Some(Enumerator { name: self.name(self.word(at)?), value: self.word(at + 4)? })
                })
            })
            .collect()
    }

    /// All types of its own.
    fn all(&self) -> impl Iterator<Item = Type> {
        self.types.iter().filter_map(|at| read_type(&self.data, *at as usize))
    }

    /// The type with this number, one of its own.
    fn get(&self, number: u32) -> Option<Type> {
        let own = number.checked_sub(self.base.0)?.checked_sub(1)?;
        read_type(&self.data, *self.types.get(own as usize)? as usize)
    }

    fn size(&self, number: u32, depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        let found = self.get(number)?;
        match found.kind {
            Kind::Pointer => u32::try_from(size_of::<usize>()).ok(),
            Kind::Array => {
                let (of, count) = (self.word(found.at + TYPE)?, self.word(found.at + TYPE + 8)?);
                self.size(of, depth)?.checked_mul(count)
            }
            Kind::Alias => self.size(found.size_or_type, depth),
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
                Some(found.size_or_type)
            }
            Kind::Other => None,
        }
    }

    /// The string at an offset; empty where there is none, or where it is the kernel's and this a
    /// module's.
    fn name(&self, offset: u32) -> &str {
        let own = (offset as usize).checked_sub(self.base.1);
        let text =
            own.and_then(|offset| self.data.get(self.strings.start + offset..self.strings.end));
        let text = text.and_then(|rest| rest.split(|byte| *byte == 0).next());
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.data, at)
    }
}

/// Whether the running kernel describes its types.
#[must_use]
pub fn is_there() -> bool {
    let mut magic = [0; 2];
    let read = fs::File::open(KERNEL).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && u16::from_ne_bytes(magic) == MAGIC
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn read_type(data: &[u8], at: usize) -> Option<Type> {
    let (name, info, size_or_type) = (word(data, at)?, word(data, at + 4)?, word(data, at + 8)?);
    let kind = Kind::of(info);
    Some(Type { at, kind, name, length: (info & 0xffff) as usize, size_or_type })
}

/// Where each type of a section begins.
fn walk(data: &[u8], section: Range<usize>) -> Option<Vec<u32>> {
    let (mut types, mut at) = (Vec::new(), section.start);
    while at < section.end {
        types.push(u32::try_from(at).ok()?);
        at = at.checked_add(TYPE + kind::bytes_behind(word(data, at + 4)?)?)?;
    }
    (at == section.end).then_some(types)
}
