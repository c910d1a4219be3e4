//! The `trace` object: one instance for each namespace, the maps of one trace shared between them.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{RawTracePoint, SchedClassifier, links::FdLink},
    util::nr_cpus,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use veth_common::{
    drops::{DropProgram, Field, UNKNOWN},
    endpoint::EndKey,
    globals, names,
    trace::{MAX_CAPTURED, NormalEnd, Seen},
};

use super::{HookName, Offsets, Pins, VerifiedProgram};
use crate::{datapath::DatapathError, types::NetnsCookie};

/// The object as it was built.
pub static TRACE_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/trace"));

/// The name of each ring.
const RING: &str = "va_trace_ring";

/// Pins of a trace that was killed while it loaded its programs are of no use to anybody after this.
const STALE: Duration = Duration::from_secs(300);

/// What a trace's programs are told.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// Bytes of a frame that are captured, at the most.
    pub snaplen: u32,
    /// How many packets are recorded, at the most.
    pub limit: Option<u32>,
    /// How far into a frame the filter that is in the object may look, in bytes; 0 where there is none.
    pub filter_reach: u32,
    /// Bytes of the ring of each CPU: a power of two, and whole pages.
    pub ring_bytes: u32,
    /// Whether the process that sends is looked for.
    pub processes: bool,
    /// Where the kernel keeps what; nothing where it does not say.
    pub offsets: Offsets,
    /// What it takes to see what the kernel drops, where that is asked for.
    pub drops: Option<DropSettings>,
}

/// What it takes to see what the kernel drops.
#[derive(Clone, Debug)]
pub struct DropSettings {
    /// How packets end whose work is done.
    pub normal: Vec<NormalEnd>,
    /// Where packets may be lost, and whether those are to be shown.
    pub places: Vec<(EndKey, bool)>,
}

/// The maps of a trace, and what hears of drops.
pub struct LoadedTrace {
    /// Where the programs write.
    pub maps: TraceMaps,
    /// What holds the program that hears of drops, or why there is none; `None` where it was not asked for.
    pub drops: Option<Result<FdLink, DatapathError>>,
}

/// The maps of a trace. They go with it.
pub struct TraceMaps {
    /// A ring for each CPU.
    pub rings: Vec<RingBuf<MapData>>,
    /// What was counted, by [`veth_common::trace::Source`].
    pub seen: PerCpuArray<MapData, Seen>,
    /// Whether as many packets as were asked for have been recorded.
    pub over: Array<MapData, u32>,
}

/// Both programs of one namespace.
pub struct TracePrograms(Ebpf);

impl TracePrograms {
    /// The program of one hook, loaded.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn hook_mut(&mut self, hook: HookName) -> Result<&mut SchedClassifier, DatapathError> {
        let name = program_name(hook);
        let program = self.0.program_mut(name).ok_or(DatapathError::Missing(name))?;
        program.try_into().map_err(|source| failed(name)(source))
    }
}

const fn program_name(hook: HookName) -> &'static str {
    match hook {
        HookName::Ingress => names::PROGRAM_TRACE_IN,
        HookName::Egress => names::PROGRAM_TRACE_OUT,
    }
}

fn failed(name: &'static str) -> impl Fn(aya::programs::ProgramError) -> DatapathError {
    move |source| DatapathError::Program { name, source: Box::new(source) }
}

fn map_failed<E: Into<MapError>>(name: &'static str) -> impl Fn(E) -> DatapathError {
    move |source| DatapathError::Map { name, source: Box::new(source.into()) }
}

/// Loads the programs of each namespace, from `object`, and hands them to `put`.
///
/// aya shares maps between objects by pins alone: they are there until all are loaded.
///
/// # Errors
/// When the kernel refuses something, or `put` fails.
pub fn load_trace(
    pins: &Pins,
    object: &[u8],
    settings: &TraceSettings,
    cookies: &[NetnsCookie],
    mut put: impl FnMut(NetnsCookie, TracePrograms) -> Result<(), DatapathError>,
) -> Result<LoadedTrace, DatapathError> {
    pins.prepare()?;
    remove_stale(pins.base())?;
    let shared = Shared::make(pins.base())?;
    let cpus = nr_cpus().map_err(|(_, error)| failed_at(pins.base())(error))? as u32;
    // The values outlive the loader, which borrows them.
    let cookies: Vec<u64> = cookies.iter().map(|cookie| cookie.0).collect();
    let told = Told::of(settings, cpus);
    let mut loader = told.loader();
    for name in MAPS {
        loader.map_pin_path(name, shared.path.join(name));
    }
    let mut shared_maps = None;
    for cookie in &cookies {
        loader.override_global(globals::NETNS_COOKIE, cookie, true);
        let mut loaded = load(&mut loader, object)?;
        if shared_maps.is_none() {
            let object = &mut loaded.0;
            let rings = rings(object, cpus, settings.ring_bytes)?;
            let drops = settings.drops.as_ref().map(|drops| hear_of_drops(object, drops));
            let maps = TraceMaps::take(object, rings)?;
            shared_maps = Some(LoadedTrace { maps, drops });
        }
        put(NetnsCookie(*cookie), loaded)?;
    }
    shared_maps.ok_or(DatapathError::Missing(names::MAP_TRACE_RINGS))
}

/// What the programs are told, as they read it.
struct Told {
    snaplen: u32,
    limited: u32,
    processes: u32,
    filter_reach: u32,
    offsets: [u64; Field::ALL.len()],
    rings: u32,
    places: u32,
    ends: u32,
}

impl Told {
    fn of(settings: &TraceSettings, cpus: u32) -> Self {
        let offset = |field| settings.offsets.get(&field).map_or(UNKNOWN, |at| u64::from(*at));
        Self {
            snaplen: settings.snaplen,
            limited: u32::from(settings.limit.is_some()),
            processes: u32::from(settings.processes),
            filter_reach: settings.filter_reach,
            offsets: Field::ALL.map(offset),
            rings: cpus,
            places: settings.limit.unwrap_or(1),
            ends: settings.drops.as_ref().map_or(1, |drops| drops.places.len().max(1) as u32),
        }
    }

    fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = EbpfLoader::new();
        for (field, offset) in Field::ALL.iter().zip(&self.offsets) {
            loader.override_global(field.facts().global, offset, true);
        }
        loader
            .override_global(globals::SNAPLEN, &self.snaplen, true)
            .override_global(globals::LIMITED, &self.limited, true)
            .override_global(globals::PROCESSES, &self.processes, true)
            .override_global(globals::FILTER_REACH, &self.filter_reach, true)
            .map_max_entries(names::MAP_TRACE_RINGS, self.rings)
            .map_max_entries(names::MAP_TRACE_PLACES, self.places)
            .map_max_entries(names::MAP_TRACE_ENDS, self.ends);
        loader
    }
}

/// Loads every program of the object, for a trace without a filter that looks for all else on a kernel where
/// all fields are known, and drops them.
///
/// # Errors
/// The verifier's refusal.
pub(super) fn verify() -> Result<Vec<VerifiedProgram>, DatapathError> {
    let settings = TraceSettings {
        snaplen: MAX_CAPTURED,
        limit: Some(1),
        filter_reach: 0,
        ring_bytes: 0,
        processes: true,
        offsets: Field::ALL.into_iter().zip((0..).step_by(8)).collect(),
        drops: None,
    };
    let told = Told::of(&settings, 1);
    let mut programs = load(&mut told.loader(), TRACE_OBJECT)?;
    let mut verified = Vec::new();
    for hook in HookName::BOTH {
        let name = program_name(hook);
        let info = programs.hook_mut(hook)?.info().map_err(failed(name))?;
        verified.push(VerifiedProgram::new("trace", name, &info));
    }
    let name = names::PROGRAM_TRACE_DROP;
    let program = drop_program(&mut programs.0)?;
    program.load().map_err(failed(name))?;
    let info = program.info().map_err(failed(name))?;
    verified.push(VerifiedProgram::new("trace", name, &info));
    Ok(verified)
}

fn drop_program(object: &mut Ebpf) -> Result<&mut RawTracePoint, DatapathError> {
    let name = names::PROGRAM_TRACE_DROP;
    let program = object.program_mut(name).ok_or(DatapathError::Missing(name))?;
    program.try_into().map_err(failed(name))
}

/// Attaches the program that hears of drops, for as long as the link is held. Its maps must be the
/// object's still when it is loaded.
fn hear_of_drops(object: &mut Ebpf, drops: &DropSettings) -> Result<FdLink, DatapathError> {
    let name = names::MAP_TRACE_ENDS;
    let ends = object.map_mut(name).ok_or(DatapathError::Missing(name))?;
    let mut ends: HashMap<_, EndKey, u32> = ends.try_into().map_err(map_failed(name))?;
    for (place, watched) in &drops.places {
        ends.insert(place, u32::from(*watched), 0).map_err(map_failed(name))?;
    }
    let name = names::MAP_TRACE_NORMAL;
    let normal = object.map_mut(name).ok_or(DatapathError::Missing(name))?;
    let mut normal: Array<_, NormalEnd> = normal.try_into().map_err(map_failed(name))?;
    for (at, end) in (0..NormalEnd::MOST).zip(&drops.normal) {
        normal.set(at, end, 0).map_err(map_failed(name))?;
    }
    let (name, program) = (names::PROGRAM_TRACE_DROP, drop_program(object)?);
    program.load().map_err(failed(name))?;
    let link = program.attach(DropProgram::Packets.tracepoint()).map_err(failed(name))?;
    Ok(program.take_link(link).map_err(failed(name))?.into())
}

/// The maps that instances share.
const MAPS: [&str; 7] = [
    names::MAP_TRACE_RINGS,
    names::MAP_TRACE_SEEN,
    names::MAP_TRACE_PLACES,
    names::MAP_TRACE_OVER,
    names::MAP_TRACE_ENDS,
    names::MAP_TRACE_NORMAL,
    names::MAP_TRACE_ROOM,
];

fn load(loader: &mut EbpfLoader<'_>, object: &[u8]) -> Result<TracePrograms, DatapathError> {
    let object = loader.load(object).map_err(|error| DatapathError::Load(Box::new(error)))?;
    let mut programs = TracePrograms(object);
    for hook in HookName::BOTH {
        programs.hook_mut(hook)?.load().map_err(failed(program_name(hook)))?;
    }
    Ok(programs)
}

impl TraceMaps {
    /// Takes them out of an object, all of whose programs are loaded.
    fn take(object: &mut Ebpf, rings: Vec<RingBuf<MapData>>) -> Result<Self, DatapathError> {
        let mut take = |name| object.take_map(name).ok_or(DatapathError::Missing(name));
        let seen = take(names::MAP_TRACE_SEEN)?;
        let over = take(names::MAP_TRACE_OVER)?;
        Ok(Self {
            rings,
            seen: seen.try_into().map_err(map_failed(names::MAP_TRACE_SEEN))?,
            over: over.try_into().map_err(map_failed(names::MAP_TRACE_OVER))?,
        })
    }
}

/// Makes a ring for each CPU.
fn rings(object: &mut Ebpf, cpus: u32, bytes: u32) -> Result<Vec<RingBuf<MapData>>, DatapathError> {
    let name = names::MAP_TRACE_RINGS;
    let by_cpu = object.map_mut(name).ok_or(DatapathError::Missing(name))?;
    let mut by_cpu: ArrayOfMaps<_, RingBuf<MapData>> =
        by_cpu.try_into().map_err(map_failed(name))?;
    let mut rings = Vec::new();
    for cpu in 0..cpus {
        let ring = ring(bytes)?;
        by_cpu.set(cpu, &ring, 0).map_err(map_failed(name))?;
        rings.push(ring);
    }
    Ok(rings)
}

fn ring(bytes: u32) -> Result<RingBuf<MapData>, DatapathError> {
    let map = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
    let map = MapData::create(map, RING, None).map_err(map_failed(RING))?;
    Map::RingBuf(map).try_into().map_err(map_failed(RING))
}

/// A directory for the pins of one trace, gone when it is dropped.
struct Shared {
    path: PathBuf,
}

/// What the names of such directories begin with.
const SHARED: &str = "trace-";

impl Shared {
    fn make(base: &Path) -> Result<Self, DatapathError> {
        loop {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
            let path = base.join(format!("{SHARED}{}-{now}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed_at(&path)(error)),
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "pins of this trace are left behind");
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    for name in MAPS {
        match fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(directory)
}

/// Removes what a trace that was killed has left. Those who still load are younger.
fn remove_stale(base: &Path) -> Result<(), DatapathError> {
    let long_ago = SystemTime::now().checked_sub(STALE);
    for entry in fs::read_dir(base).map_err(failed_at(base))? {
        let entry = entry.map_err(failed_at(base))?;
        let of_trace = entry.file_name().to_string_lossy().starts_with(SHARED);
        let made = entry.metadata().and_then(|data| data.modified()).ok();
        if of_trace && made < long_ago {
            // Another trace may have been faster.
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

fn failed_at(path: &Path) -> impl Fn(io::Error) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Pin { path: path.clone(), source }
}
