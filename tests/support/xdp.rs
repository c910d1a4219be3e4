//! Programs that do next to nothing, made without a compiler.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

/// `r0 = XDP_PASS; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// `r0 = XDP_DROP; exit`.
const DROP: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// `r1 = IFINDEX; r2 = 0; call bpf_redirect; exit`.
const REDIRECT: [u8; 32] = [
    0xb7, 1, 0, 0, 0, 0, 0, 0, 0xb7, 2, 0, 0, 0, 0, 0, 0, 0x85, 0, 0, 0, 23, 0, 0, 0, 0x95, 0, 0,
    0, 0, 0, 0, 0,
];

/// `r0 = TCX_NEXT; exit`.
const NEXT: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// A TC program that leaves everything to the next one.
pub struct NextProgram;

impl NextProgram {
    /// Its name in the object.
    pub const NAME: &str = "pass";

    /// The object, with the program not loaded yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn load() -> Result<Ebpf> {
        Ok(Ebpf::load(&elf(b"classifier", &NEXT)?)?)
    }
}

/// Somebody else's XDP program, which passes everything; attached for as long as it lives.
pub struct XdpPass {
    _object: Ebpf,
}

impl XdpPass {
    /// Attaches to an interface of the calling thread's namespace, in native mode.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(interface: &str) -> Result<Self> {
        Ok(Self { _object: attach(&PASS, interface)? })
    }
}

/// Somebody else's XDP program, which drops everything; attached for as long as it lives.
pub struct XdpDrop {
    _object: Ebpf,
}

impl XdpDrop {
    /// Attaches as [`XdpPass::attach`] does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(interface: &str) -> Result<Self> {
        Ok(Self { _object: attach(&DROP, interface)? })
    }

    /// Loads it and pins it, for others to attach.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pin(path: &Path) -> Result<()> {
        let mut object = Ebpf::load(&elf(b"xdp", &DROP)?)?;
        let program: &mut Xdp = object.program_mut("pass").context("no program")?.try_into()?;
        program.load()?;
        Ok(program.pin(path)?)
    }
}

/// Somebody else's XDP program, which sends everything by another device.
pub struct XdpRedirect {
    _object: Ebpf,
}

impl XdpRedirect {
    /// Attaches as [`XdpPass::attach`] does; the other device has index `to` in the same namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(interface: &str, to: u32) -> Result<Self> {
        let mut code = REDIRECT;
        code[4..8].copy_from_slice(&to.to_le_bytes());
        Ok(Self { _object: attach(&code, interface)? })
    }
}

fn attach(code: &[u8], interface: &str) -> Result<Ebpf> {
    let mut object = Ebpf::load(&elf(b"xdp", code)?)?;
    let program: &mut Xdp = object.program_mut("pass").context("no program")?.try_into()?;
    program.load()?;
    program.attach(interface, XdpMode::Driver)?;
    Ok(object)
}

/// An object file, as a compiler would write it; there may be no compiler.
fn elf(section: &[u8], program: &[u8]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let section = object.add_section(Vec::new(), section.to_vec(), SectionKind::Text);
    object.append_section_data(section, program, 8);
    object.add_symbol(Symbol {
        name: b"pass".to_vec(),
        value: 0,
        size: program.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    Ok(object.write()?)
}
