//! The `drops` object.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    pin::PinError,
    programs::{ProgramError, ProgramInfo, RawTracePoint, links::FdLink},
};
use veth_common::drops::{DropProgram, Field, UNKNOWN};

use super::{VerifiedProgram, loader, pins};
use crate::datapath::{DatapathError, Maps, Pins};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops"));

/// Bytes from the beginning of the structure, by field; what the kernel has not got is not in it.
pub type Offsets = BTreeMap<Field, u32>;

/// The object, its maps the pinned ones.
pub struct DropsObject(Ebpf);

impl DropsObject {
    /// Loads the object, for a kernel that keeps its fields so.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(pins: &Pins, offsets: &Offsets) -> Result<Self, DatapathError> {
        load(loader(pins), offsets)
    }

    /// Loads the object with maps of its own, which go with it; nothing is counted for long.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_apart() -> Result<Self, DatapathError> {
        load(EbpfLoader::new(), &Offsets::new())
    }

    /// Lets a program of this object count from now on, in place of the one that did.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn count_by(&mut self, maps: &mut Maps, program: DropProgram) -> Result<(), DatapathError> {
        let name = program.counting();
        let fd = self.program(name)?.fd().map_err(failed(name))?;
        maps.drop_programs.set(program as u32, fd, 0).map_err(|source| DatapathError::Map {
            name: veth_common::names::MAP_DROP_PROGRAMS,
            source: Box::new(source),
        })
    }

    /// Attaches the program that goes on to the one that counts; it stays for as long as both pins do.
    ///
    /// # Errors
    /// When the kernel refuses it, or has no such tracepoint.
    pub fn attach(
        &mut self,
        program: DropProgram,
        pin: &Path,
        link_pin: &Path,
    ) -> Result<(), DatapathError> {
        let link = self.attach_for_now(program)?;
        let attached = self.program(program.attached())?;
        pins::remove_file(pin)?;
        attached.pin(pin).map_err(unpinned(pin))?;
        // Held by its pin from now on.
        link.pin(link_pin).map(drop).map_err(unpinned(link_pin))
    }

    /// Attaches it for as long as the link is held.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_for_now(&mut self, program: DropProgram) -> Result<FdLink, DatapathError> {
        let (name, tracepoint) = (program.attached(), program.tracepoint());
        let attached = self.program(name)?;
        let link = attached.attach(tracepoint).map_err(failed(name))?;
        Ok(attached.take_link(link).map_err(failed(name))?.into())
    }

    /// A program of the object, loaded.
    fn program(&mut self, name: &'static str) -> Result<&mut RawTracePoint, DatapathError> {
        let program = self.0.program_mut(name).ok_or(DatapathError::Missing(name))?;
        let program: &mut RawTracePoint = program.try_into().map_err(failed(name))?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => Err(failed(name)(error)),
        }
    }
}

/// The object over the maps that this loader knows, or maps of its own.
fn load(loader: EbpfLoader<'static>, offsets: &Offsets) -> Result<DropsObject, DatapathError> {
    let value = |field| offsets.get(field).map_or(UNKNOWN, |offset| u64::from(*offset));
    let values: Vec<_> = Field::COUNTED.iter().map(value).collect();
    let mut loader: EbpfLoader<'_> = loader;
    for (field, value) in Field::COUNTED.iter().zip(&values) {
        loader.override_global(field.facts().global, value, true);
    }
    let object = loader.load(OBJECT).map_err(|error| DatapathError::Load(Box::new(error)))?;
    Ok(DropsObject(object))
}

fn failed<E: Into<ProgramError>>(name: &'static str) -> impl Fn(E) -> DatapathError {
    move |source| DatapathError::Program { name, source: Box::new(source.into()) }
}

fn unpinned(path: &Path) -> impl FnOnce(PinError) -> DatapathError + use<> {
    let path = path.to_owned();
    |error| DatapathError::Pin { path, source: std::io::Error::other(error.to_string()) }
}

/// Events that came while the attached program ran on that CPU already, and that it therefore did not
/// hear of: the kernel counts them (`recursion_misses`, Linux 5.12). Zero where the pin is not there.
///
/// # Errors
/// When the kernel does not say.
pub fn missed(pin: &Path) -> Result<u64, DatapathError> {
    let read = |source| DatapathError::Pin { path: pin.to_owned(), source };
    if !pin.exists() {
        return Ok(0);
    }
    let fd = ProgramInfo::from_pin(pin).and_then(|info| info.fd());
    let fd = fd.map_err(|error| read(std::io::Error::other(error.to_string())))?;
    let number = fd.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).map_err(read)?;
    let line = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    Ok(line.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
}

/// Loads every program of the object, for a kernel where all fields are known, and drops them.
///
/// # Errors
/// The verifier's refusal.
pub(super) fn verify() -> Result<Vec<VerifiedProgram>, DatapathError> {
    let offsets = Field::ALL.into_iter().zip((0..).step_by(8)).collect();
    let mut object = load(EbpfLoader::new(), &offsets)?;
    let names =
        DropProgram::ALL.iter().flat_map(|program| [program.attached(), program.counting()]);
    names
        .map(|name| {
            let info = object.program(name)?.info().map_err(failed(name))?;
            Ok(VerifiedProgram::new("drops", name, &info))
        })
        .collect()
}
