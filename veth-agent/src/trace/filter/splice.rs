//! Writes the body of a function over what an object has in its place.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use veth_common::names;

use super::{
    FilterError,
    assembler::Ebpf,
    classic::Classic,
    translate::{Input, translate},
};

/// `object` with this filter in it.
///
/// # Errors
/// When the filter does not fit.
pub fn splice(object: &[u8], program: &[Classic]) -> Result<Vec<u8>, FilterError> {
    let mut spliced = object.to_vec();
    let functions = [(names::FILTER_PACKET, Input::Packet), (names::FILTER_BYTES, Input::Bytes)];
    for (name, input) in functions {
        let place = place(object, name).ok_or(FilterError::NoPlace(name))?;
        let room = spliced.get_mut(place).ok_or(FilterError::NoPlace(name))?;
        let body = translate(program, input, room.len() / Ebpf::BYTES)?;
        for (to, instruction) in room.chunks_exact_mut(Ebpf::BYTES).zip(body) {
            to.copy_from_slice(&instruction.to_bytes());
        }
    }
    Ok(spliced)
}

/// Where in the file the body of a function lies. The compiler has put more around its name.
fn place(file: &[u8], name: &str) -> Option<std::ops::Range<usize>> {
    let elf = object::File::parse(file).ok()?;
    let symbol = elf.symbols().find(|symbol| symbol.name().is_ok_and(|it| it.contains(name)))?;
    let section = elf.section_by_index(symbol.section_index()?).ok()?;
    let (section, _) = section.file_range()?;
    let begin = usize::try_from(section.checked_add(symbol.address())?).ok()?;
    Some(begin..begin.checked_add(usize::try_from(symbol.size()).ok()?)?)
}
