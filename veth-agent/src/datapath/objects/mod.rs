//! Loads objects and hands out typed maps and programs: the only place that knows them by name.

mod drops;
mod maps;
mod trace;

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{ProgramInfo, SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use veth_common::{globals, names};

pub use self::{
    drops::{DropsObject, Offsets, missed as missed_drops},
    maps::{Maps, read_journal},
    trace::{
        DropSettings, LoadedTrace, TRACE_OBJECT, TraceMaps, TracePrograms, TraceSettings,
        load_trace,
    },
};
use super::{DatapathError, HookName, Pins, pins};
use crate::types::NetnsCookie;

static END_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/end"));

/// The two programs of a namespace.
#[derive(Debug)]
pub enum Programs {
    /// Just loaded; gone with the object unless they are pinned.
    Fresh(Box<Ebpf>),
    /// Opened from their pins.
    Pinned {
        /// For packets that arrive.
        ingress: Box<SchedClassifier>,
        /// For packets that leave.
        egress: Box<SchedClassifier>,
    },
}

impl Programs {
    /// Opens the programs that an earlier load pinned for a namespace.
    ///
    /// # Errors
    /// When they are not there.
    pub fn pinned(pins: &Pins, netns: NetnsCookie) -> Result<Self, DatapathError> {
        let open = |hook| {
            let program = SchedClassifier::from_pin(pins.program(netns, hook));
            program.map(Box::new).map_err(program_failed(hook))
        };
        Ok(Self::Pinned { ingress: open(HookName::Ingress)?, egress: open(HookName::Egress)? })
    }

    /// Pins both for a namespace, in place of what is pinned there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pin(&mut self, pins: &Pins, netns: NetnsCookie) -> Result<(), DatapathError> {
        for hook in HookName::BOTH {
            let path = pins.program(netns, hook);
            pins::remove_file(&path)?;
            self.hook_mut(hook)?.pin(&path).map_err(|error| DatapathError::Pin {
                path,
                source: std::io::Error::other(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// The program of one hook, loaded.
    ///
    /// # Errors
    /// When the object does not have it, which is a mistake in the build.
    pub fn hook_mut(&mut self, hook: HookName) -> Result<&mut SchedClassifier, DatapathError> {
        match (self, hook) {
            (Self::Pinned { ingress, .. }, HookName::Ingress) => Ok(ingress),
            (Self::Pinned { egress, .. }, HookName::Egress) => Ok(egress),
            (Self::Fresh(object), hook) => find(object, hook),
        }
    }
}

const fn program_name(hook: HookName) -> &'static str {
    match hook {
        HookName::Ingress => names::PROGRAM_INGRESS,
        HookName::Egress => names::PROGRAM_EGRESS,
    }
}

fn program_failed<E: Into<aya::programs::ProgramError>>(
    hook: HookName,
) -> impl Fn(E) -> DatapathError {
    move |source| DatapathError::Program {
        name: program_name(hook),
        source: Box::new(source.into()),
    }
}

fn xdp_failed<E: Into<aya::programs::ProgramError>>(source: E) -> DatapathError {
    DatapathError::Program { name: names::PROGRAM_XDP, source: Box::new(source.into()) }
}

/// The XDP program of a namespace: the one that is pinned, or a new one, which then is.
///
/// # Errors
/// When the kernel refuses it.
pub fn xdp(pins: &Pins, netns: NetnsCookie) -> Result<Xdp, DatapathError> {
    let pin = pins.xdp_program(netns);
    if !pin.exists() {
        with_fresh_xdp(pins, netns, |program| pin_xdp(program, &pin))??;
    }
    Xdp::from_pin(&pin, XdpAttachType::Interface).map_err(xdp_failed)
}

/// Pins a program as the one of its namespace.
///
/// # Errors
/// When the kernel refuses.
pub fn pin_xdp(program: &mut Xdp, pin: &Path) -> Result<(), DatapathError> {
    pins::remove_file(pin)?;
    let failed = |error: aya::pin::PinError| DatapathError::Pin {
        path: pin.to_owned(),
        source: std::io::Error::other(error.to_string()),
    };
    program.pin(pin).map_err(failed)
}

/// Loads the XDP program for a namespace and hands it to `put`; it is gone afterwards unless something
/// holds it.
///
/// # Errors
/// When the kernel refuses it.
pub fn with_fresh_xdp<T>(
    pins: &Pins,
    netns: NetnsCookie,
    put: impl FnOnce(&mut Xdp) -> T,
) -> Result<T, DatapathError> {
    let mut loader = loader(pins);
    loader.override_global(globals::NETNS_COOKIE, &netns.0, true);
    let mut object = load_bare(&mut loader)?;
    Ok(put(fresh_xdp(&mut object)?))
}

/// The XDP program of an object, loaded.
fn fresh_xdp(object: &mut Ebpf) -> Result<&mut Xdp, DatapathError> {
    let name = names::PROGRAM_XDP;
    let program = object.program_mut(name).ok_or(DatapathError::Missing(name))?;
    let program: &mut Xdp = program.try_into().map_err(xdp_failed)?;
    program.load().map_err(xdp_failed)?;
    Ok(program)
}

/// Id of the XDP program that is pinned for a namespace.
pub fn pinned_xdp_id(pins: &Pins, netns: NetnsCookie) -> Option<u32> {
    ProgramInfo::from_pin(pins.xdp_program(netns)).ok().map(|info| info.id())
}

/// Ids of the TC programs that are pinned for a namespace.
pub fn pinned_ids(pins: &Pins, netns: NetnsCookie) -> [Option<u32>; 2] {
    HookName::BOTH
        .map(|hook| ProgramInfo::from_pin(pins.program(netns, hook)).ok().map(|info| info.id()))
}

/// Loads and pins the programs of each namespace.
///
/// # Errors
/// When the kernel refuses the object; programs of earlier namespaces stay.
pub fn load(pins: &Pins, cookies: &[NetnsCookie]) -> Result<(), DatapathError> {
    for_each_fresh(pins, cookies, |netns, programs| programs.pin(pins, netns))
}

/// The maps of all objects: the linker leaves in each what another uses.
const OBJECT_MAPS: [&str; 14] = [
    names::MAP_ENDS,
    names::MAP_COUNTERS,
    names::MAP_UNKNOWN,
    names::MAP_CONFIGS,
    names::MAP_ENDPOINTS,
    names::MAP_DEVICES,
    names::MAP_XDP_DEVICES,
    names::MAP_LEASE,
    names::MAP_FALLBACKS,
    names::MAP_MTU,
    names::MAP_ADDRESSES,
    names::MAP_DROP_COUNTS,
    names::MAP_DROPS_LOST,
    names::MAP_DROP_PROGRAMS,
];

/// Loads the programs of each namespace and hands them to `put`: an instance each, because its
/// cookie is a constant in it. One loader serves all, since making one parses the kernel's BTF
/// (measured: 10 ms against 1 ms a load), and is dropped afterwards, since that BTF is large.
///
/// # Errors
/// When the kernel refuses the object, or `put` fails.
pub fn for_each_fresh(
    pins: &Pins,
    cookies: &[NetnsCookie],
    mut put: impl FnMut(NetnsCookie, &mut Programs) -> Result<(), DatapathError>,
) -> Result<(), DatapathError> {
    let cookies: Vec<u64> = cookies.iter().map(|cookie| cookie.0).collect();
    if cookies.is_empty() {
        return Ok(());
    }
    let mut loader = loader(pins);
    for cookie in &cookies {
        loader.override_global(globals::NETNS_COOKIE, cookie, true);
        let mut programs = load_object(&mut loader)?;
        put(NetnsCookie(*cookie), &mut programs)?;
    }
    Ok(())
}

/// A loader that takes the pinned maps.
fn loader(pins: &Pins) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in OBJECT_MAPS {
        loader.map_pin_path(name, pins.maps().join(name));
    }
    loader
}

/// The object with its maps, and none of its programs in the kernel yet.
fn load_bare(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, DatapathError> {
    loader.load(END_OBJECT).map_err(|error| DatapathError::Load(Box::new(error)))
}

/// Loads both TC programs of the object into the kernel.
fn load_object(loader: &mut EbpfLoader<'_>) -> Result<Programs, DatapathError> {
    let mut programs = Programs::Fresh(Box::new(load_bare(loader)?));
    for hook in HookName::BOTH {
        programs.hook_mut(hook)?.load().map_err(program_failed(hook))?;
    }
    Ok(programs)
}

fn find(object: &mut Ebpf, hook: HookName) -> Result<&mut SchedClassifier, DatapathError> {
    let name = program_name(hook);
    let program = object.program_mut(name).ok_or(DatapathError::Missing(name))?;
    program.try_into().map_err(program_failed(hook))
}

/// What the kernel says of a program that it has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProgram {
    /// The object that it is in.
    pub object: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Instructions that the verifier walked through, where the kernel tells (5.16).
    pub verified: Option<u32>,
    /// Bytes of machine code.
    pub jited: u32,
}

/// Loads every program of every object, attaches none, and drops them.
///
/// # Errors
/// The verifier's refusal.
pub fn verify() -> Result<Vec<VerifiedProgram>, DatapathError> {
    let mut loader = EbpfLoader::new();
    let mut programs = load_object(&mut loader)?;
    let mut verified = Vec::new();
    for hook in HookName::BOTH {
        let info = programs.hook_mut(hook)?.info().map_err(program_failed(hook))?;
        verified.push(VerifiedProgram::new("end", program_name(hook), &info));
    }
    let mut object = load_bare(&mut loader)?;
    let info = fresh_xdp(&mut object)?.info().map_err(xdp_failed)?;
    verified.push(VerifiedProgram::new("end", names::PROGRAM_XDP, &info));
    verified.extend(drops::verify()?);
    verified.extend(trace::verify()?);
    Ok(verified)
}

impl VerifiedProgram {
    fn new(object: &'static str, name: &'static str, info: &ProgramInfo) -> Self {
        let (verified, jited) = (info.verified_instruction_count(), info.size_jitted());
        Self { object, name, verified, jited }
    }
}
