//! The pinned maps.

use std::path::PathBuf;

use aya::maps::{
    Array, DevMap, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuHashMap,
    ProgramArray,
};
use aya_obj::generated::{
    BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG,
    bpf_map_type::{
        self, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_HASH,
        BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PROG_ARRAY,
    },
};
use veth_common::{
    config::{EndConfig, Limits},
    counters::EndCounters,
    drops::{DropCount, DropKey, DropProgram},
    endpoint::{EndKey, EndSlot},
    fastpath::{Endpoint, EndpointKey, Fallbacks},
    journal::Journal,
    ledger::Base,
    mtu::{AddressKey, MtuCounters},
    names,
};

use crate::{
    datapath::{DatapathError, Pins, pins},
    types::EndId,
};

/// The pinned maps.
pub struct Maps {
    /// The slot of each end.
    pub ends: HashMap<MapData, EndKey, EndSlot>,
    /// The counters of each slot.
    pub counters: PerCpuArray<MapData, EndCounters>,
    /// Packets of ends without a slot.
    pub unknown: PerCpuArray<MapData, u64>,
    /// What the programs are told of each slot's end.
    pub configs: Array<MapData, EndConfig>,
    /// Where packets for an address go.
    pub endpoints: HashMap<MapData, EndpointKey, Endpoint>,
    /// The near ends of the fast path by TC, by slot.
    pub devices: DevMap<MapData>,
    /// The near ends of the fast path by XDP, by slot.
    pub xdp_devices: DevMap<MapData>,
    /// Until when the fast path may be taken.
    pub lease: Array<MapData, u64>,
    /// Why packets did not take it, by slot.
    pub fallbacks: PerCpuHashMap<MapData, u32, Fallbacks>,
    /// What each slot's end has seen of packets that do not fit.
    pub mtu: PerCpuHashMap<MapData, u32, MtuCounters>,
    /// The addresses of namespaces that have an end.
    pub addresses: HashMap<MapData, AddressKey, u32>,
    /// What was changed that is not ours.
    pub journal: HashMap<MapData, EndKey, Journal>,
    /// Where the ledger of each direction of a pair begins, by the end that sends.
    pub ledger: HashMap<MapData, EndKey, Base>,
    /// What the kernel has freed, by end, place and reason.
    pub drop_counts: PerCpuHashMap<MapData, DropKey, DropCount>,
    /// What it has freed and found no room there.
    pub drops_lost: PerCpuArray<MapData, u64>,
    /// The programs that count it.
    pub drop_programs: ProgramArray<MapData>,
    /// How many ends fit.
    pub capacity: u32,
    /// How many addresses fit.
    pub endpoint_capacity: u32,
    /// How many addresses of namespaces fit.
    pub address_capacity: u32,
    /// How many entries of drops fit.
    pub drop_capacity: u32,
}

/// What a map must look like.
struct Layout {
    name: &'static str,
    map_type: bpf_map_type,
    key: u32,
    value: u32,
    entries: u32,
    /// What it is made with.
    flags: u32,
    /// What the kernel then says of it.
    shown_flags: u32,
}

const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

/// Addresses that an end has on average, at the most.
const ADDRESSES: u32 = 4;

/// Places and reasons by which an end loses packets, on average, at the most.
const DROPS: u32 = 4;

impl Layout {
    const fn all(capacity: u32) -> [Self; 16] {
        let (hash, array) = (BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY);
        let (per_cpu, per_cpu_hash) = (BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH);
        let addresses = capacity.saturating_mul(ADDRESSES);
        let (end, slot) = (size::<EndKey>(), size::<u32>());
        let endpoint = (size::<EndpointKey>(), size::<Endpoint>());
        let layout = Self::new;
        [
            layout(names::MAP_ENDS, hash, end, size::<EndSlot>(), capacity),
            layout(names::MAP_COUNTERS, per_cpu, slot, size::<EndCounters>(), capacity),
            layout(names::MAP_UNKNOWN, per_cpu, slot, size::<u64>(), 1),
            layout(names::MAP_CONFIGS, array, slot, size::<EndConfig>(), capacity),
            layout(names::MAP_ENDPOINTS, hash, endpoint.0, endpoint.1, addresses),
            // `bpf_devmap_val`. The kernel adds a flag by itself (`kernel/bpf/devmap.c`).
            layout(names::MAP_DEVICES, BPF_MAP_TYPE_DEVMAP, slot, 8, capacity)
                .flags(0, BPF_F_RDONLY_PROG),
            layout(names::MAP_XDP_DEVICES, BPF_MAP_TYPE_DEVMAP, slot, 8, capacity)
                .flags(0, BPF_F_RDONLY_PROG),
            layout(names::MAP_LEASE, array, slot, size::<u64>(), 1),
            layout(names::MAP_FALLBACKS, per_cpu_hash, slot, size::<Fallbacks>(), capacity)
                .flags(BPF_F_NO_PREALLOC, BPF_F_NO_PREALLOC),
            layout(names::MAP_MTU, per_cpu_hash, slot, size::<MtuCounters>(), capacity)
                .flags(BPF_F_NO_PREALLOC, BPF_F_NO_PREALLOC),
            layout(names::MAP_ADDRESSES, hash, size::<AddressKey>(), 4, addresses)
                .flags(BPF_F_NO_PREALLOC, BPF_F_NO_PREALLOC),
            layout(names::MAP_JOURNAL, hash, end, size::<Journal>(), capacity),
            layout(names::MAP_LEDGER, hash, end, size::<Base>(), capacity)
                .flags(BPF_F_NO_PREALLOC, BPF_F_NO_PREALLOC),
            layout(
                names::MAP_DROP_COUNTS,
                BPF_MAP_TYPE_PERCPU_HASH,
                size::<DropKey>(),
                size::<DropCount>(),
                capacity.saturating_mul(DROPS),
            )
            .flags(BPF_F_NO_PREALLOC, BPF_F_NO_PREALLOC),
            layout(names::MAP_DROPS_LOST, per_cpu, slot, size::<u64>(), 1),
            layout(
                names::MAP_DROP_PROGRAMS,
                BPF_MAP_TYPE_PROG_ARRAY,
                slot,
                size::<u32>(),
                DropProgram::ALL.len() as u32,
            ),
        ]
    }

    const fn new(
        name: &'static str,
        map_type: bpf_map_type,
        key: u32,
        value: u32,
        entries: u32,
    ) -> Self {
        Self { name, map_type, key, value, entries, flags: 0, shown_flags: 0 }
    }

    const fn flags(self, flags: u32, shown_flags: u32) -> Self {
        Self { flags, shown_flags, ..self }
    }

    fn describe(map_type: u32, key: u32, value: u32, flags: u32) -> String {
        format!("type {map_type}, key {key}, value {value}, flags {flags}")
    }

    fn failed(&self) -> impl Fn(MapError) -> DatapathError + use<> {
        let name = self.name;
        move |source| DatapathError::Map { name, source: Box::new(source) }
    }

    /// Opens the pinned map, or makes and pins it. aya opens pins unchecked, so look first.
    fn open(&self, pins: &Pins) -> Result<(MapData, u32), DatapathError> {
        let path = pins.maps().join(self.name);
        if path.exists() { self.open_pinned(path) } else { Ok((self.create(&path)?, self.entries)) }
    }

    fn open_pinned(&self, path: PathBuf) -> Result<(MapData, u32), DatapathError> {
        let info = MapInfo::from_pin(&path).map_err(self.failed())?;
        let found = Self::describe(
            info.map_type().map_or(0, |map_type| map_type as u32),
            info.key_size(),
            info.value_size(),
            info.map_flags(),
        );
        let wanted = Self::describe(self.map_type as u32, self.key, self.value, self.shown_flags);
        if found != wanted {
            return Err(DatapathError::Layout { path, found, wanted });
        }
        Ok((MapData::from_pin(&path).map_err(self.failed())?, info.max_entries()))
    }

    fn create(&self, path: &std::path::Path) -> Result<MapData, DatapathError> {
        let map = aya_obj::Map::new_from_params(
            self.map_type as u32,
            self.key,
            self.value,
            self.entries,
            self.flags,
        );
        let map = MapData::create(map, self.name, None).map_err(self.failed())?;
        map.pin(path).map_err(|source| {
            self.failed()(MapError::PinError { name: Some(self.name.into()), error: source })
        })?;
        Ok(map)
    }
}

/// What the agent has written down of an end; nothing where no agent has run.
#[must_use]
pub fn read_journal(pins: &Pins, end: EndId) -> Option<Journal> {
    let layout = Layout::all(1).into_iter().find(|layout| layout.name == names::MAP_JOURNAL)?;
    let (map, _) = layout.open_pinned(pins.maps().join(layout.name)).ok()?;
    let journal: HashMap<_, EndKey, Journal> = Map::HashMap(map).try_into().ok()?;
    journal.get(&EndKey::from(end), 0).ok()
}

impl Maps {
    /// Opens the pinned maps, making those that are missing with room for `capacity` ends.
    ///
    /// # Errors
    /// When one cannot be made, or is there with another layout.
    pub fn open(pins: &Pins, capacity: u32) -> Result<Self, DatapathError> {
        let [
            ends,
            counters,
            unknown,
            configs,
            endpoints,
            devices,
            xdp_devices,
            lease,
            fallbacks,
            mtu,
            addresses,
            journal,
            ledger,
            drop_counts,
            drops_lost,
            drop_programs,
        ] = Layout::all(capacity);
        let (ends_map, ends_capacity) = ends.open(pins)?;
        let (counters_map, counters_capacity) = counters.open(pins)?;
        let (endpoints_map, endpoint_capacity) = endpoints.open(pins)?;
        let (addresses_map, address_capacity) = addresses.open(pins)?;
        let (drops_map, drop_capacity) = drop_counts.open(pins)?;
        let map = |layout: &Layout| layout.open(pins).map(|(map, _)| map);
        Ok(Self {
            ends: Map::HashMap(ends_map).try_into().map_err(ends.failed())?,
            counters: Map::PerCpuArray(counters_map).try_into().map_err(counters.failed())?,
            unknown: Map::PerCpuArray(map(&unknown)?).try_into().map_err(unknown.failed())?,
            configs: Map::Array(map(&configs)?).try_into().map_err(configs.failed())?,
            endpoints: Map::HashMap(endpoints_map).try_into().map_err(endpoints.failed())?,
            devices: Map::DevMap(map(&devices)?).try_into().map_err(devices.failed())?,
            xdp_devices: Map::DevMap(map(&xdp_devices)?)
                .try_into()
                .map_err(xdp_devices.failed())?,
            lease: Map::Array(map(&lease)?).try_into().map_err(lease.failed())?,
            fallbacks: Map::PerCpuHashMap(map(&fallbacks)?)
                .try_into()
                .map_err(fallbacks.failed())?,
            mtu: Map::PerCpuHashMap(map(&mtu)?).try_into().map_err(mtu.failed())?,
            addresses: Map::HashMap(addresses_map).try_into().map_err(addresses.failed())?,
            ledger: Map::HashMap(map(&ledger)?).try_into().map_err(ledger.failed())?,
            journal: Map::HashMap(map(&journal)?).try_into().map_err(journal.failed())?,
            drop_counts: Map::PerCpuHashMap(drops_map).try_into().map_err(drop_counts.failed())?,
            drops_lost: Map::PerCpuArray(map(&drops_lost)?)
                .try_into()
                .map_err(drops_lost.failed())?,
            drop_programs: Map::ProgramArray(map(&drop_programs)?)
                .try_into()
                .map_err(drop_programs.failed())?,
            capacity: ends_capacity.min(counters_capacity),
            endpoint_capacity,
            address_capacity,
            drop_capacity,
        })
    }

    /// Sets how the packets of a slot's end travel, and leaves the rest of what its programs are told.
    /// Only under the lock on changes of programs, as all that writes there.
    ///
    /// # Errors
    /// When the map cannot be read or written.
    pub fn set_mode(&mut self, slot: u32, mode: u32) -> Result<(), MapError> {
        let config = self.configs.get(&slot, 0)?;
        self.configs.set(slot, EndConfig { mode, ..config }, 0)
    }

    /// Sets how large packets may be at a slot's end, and leaves the rest, as [`Self::set_mode`] does.
    ///
    /// # Errors
    /// When the map cannot be read or written.
    pub fn set_limits(&mut self, slot: u32, limits: Limits) -> Result<(), MapError> {
        let config = self.configs.get(&slot, 0)?;
        if config.limits == limits {
            return Ok(());
        }
        self.configs.set(slot, EndConfig { limits, ..config }, 0)
    }

    /// Opens the pinned maps as [`Self::open`] does, and unpins those of another layout first.
    ///
    /// # Errors
    /// When one cannot be unpinned, opened or made.
    pub fn open_mended(pins: &Pins) -> Result<Self, DatapathError> {
        loop {
            match Self::open(pins, 1) {
                Err(DatapathError::Layout { path, .. }) => pins::remove_file(&path)?,
                opened => return opened,
            }
        }
    }
}
