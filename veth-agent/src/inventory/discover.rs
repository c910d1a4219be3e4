//! Finds network namespaces and reads what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    Link, Namespace, Route, Snapshot, Unseen,
    join::{self, Numbers},
    read,
};
use crate::{
    netlink::{self, Connection, NetlinkError},
    netns::{self, NetnsError},
    types::{EndId, IfIndex, NetnsCookie},
};

/// How much of each namespace is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Links and addresses.
    Links,
    /// The main routing table too.
    Routes,
}

/// Why nothing could be seen at all.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// Not even the agent's own namespace could be read.
    #[error("the agent's own network namespace cannot be read: {0}")]
    Own(ReadError),
}

/// Why one namespace could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It could not be listed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// It has no cookie: the kernel is older than 5.14.
    #[error("no namespace cookie: {0}; Linux 5.14 or newer is needed")]
    Cookie(io::Error),
}

impl ReadError {
    /// It has gone between the finding and the reading: its file, or what was mounted on that.
    fn is_gone(&self) -> bool {
        match self {
            Self::Netns(NetnsError::Open { source, .. }) => {
                source.kind() == io::ErrorKind::NotFound
            }
            Self::Netns(NetnsError::Enter { source, .. }) => {
                source.kind() == io::ErrorKind::InvalidInput
            }
            _ => false,
        }
    }
}

/// A file that leads into a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    path: PathBuf,
    names: Vec<String>,
}

/// Takes a picture of all namespaces that can be found.
///
/// # Errors
/// Only when the agent's own namespace cannot be read; others end up in [`Snapshot::unseen`].
pub fn snapshot(depth: Depth) -> Result<Snapshot, DiscoverError> {
    Ok(Inventory::take(depth)?.snapshot)
}

/// A picture that can be kept current.
#[derive(Debug)]
pub struct Inventory {
    /// The picture.
    pub snapshot: Snapshot,
    numbers: Numbers,
    depth: Depth,
    numbered: bool,
}

/// What may have changed since the picture was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Anything: events were lost.
    pub everything: bool,
    /// Namespaces may have come or gone.
    pub namespaces: bool,
    /// Routes of the namespaces that the host's numbers so; `None` is the host's.
    pub routes: BTreeSet<Option<i32>>,
    /// Links of the host's namespace.
    pub host: bool,
    /// Links of the namespaces that the host's numbers so.
    pub nsids: BTreeSet<i32>,
    /// The namespaces that the host's numbered so are gone.
    pub gone: BTreeSet<i32>,
}

impl Change {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another change to this one.
    pub fn merge(&mut self, other: Self) {
        self.everything |= other.everything;
        self.namespaces |= other.namespaces;
        self.routes.extend(other.routes);
        self.host |= other.host;
        self.nsids.extend(other.nsids);
        self.gone.extend(other.gone);
    }
}

impl Inventory {
    /// Takes the picture.
    ///
    /// # Errors
    /// Only when the agent's own namespace cannot be read.
    pub fn take(depth: Depth) -> Result<Self, DiscoverError> {
        let own = read_own(depth).map_err(DiscoverError::Own)?;
        let host = own.cookie;
        let namespaces = BTreeMap::from([(host, own)]);
        let (peers, unseen) = (BTreeMap::new(), Vec::new());
        let snapshot = Snapshot { host, namespaces, peers, unseen };
        let mut inventory = Self { snapshot, numbers: Numbers::new(), depth, numbered: false };
        inventory.search(&BTreeSet::new());
        inventory.connect();
        Ok(inventory)
    }

    /// Takes the picture, and lets the host's namespace number all others, so that their events
    /// are heard there.
    ///
    /// # Errors
    /// Only when the agent's own namespace cannot be read.
    pub fn take_numbered(depth: Depth) -> Result<Self, DiscoverError> {
        let mut inventory = Self::take(depth)?;
        inventory.numbered = true;
        inventory.assign_numbers();
        // What changed before the number was given was not heard.
        let Self { snapshot, numbers, .. } = Self::take(depth)?;
        Ok(Self { snapshot, numbers, ..inventory })
    }

    /// Brings the picture up to date; gives the namespaces that were read anew, or are gone.
    ///
    /// # Errors
    /// Only when the agent's own namespace cannot be read.
    pub fn refresh(&mut self, change: &Change) -> Result<BTreeSet<NetnsCookie>, DiscoverError> {
        if change.everything {
            *self = if self.numbered {
                Self::take_numbered(self.depth)?
            } else {
                Self::take(self.depth)?
            };
            return Ok(self.snapshot.namespaces.keys().copied().collect());
        }
        let mut touched = self.forget(&change.gone);
        if change.host {
            self.snapshot
                .namespaces
                .insert(self.snapshot.host, read_own(self.depth).map_err(DiscoverError::Own)?);
            touched.insert(self.snapshot.host);
        }
        touched.extend(self.read_again(&change.nsids));
        let unknown = change.nsids.iter().any(|nsid| !self.has_number(*nsid));
        if change.namespaces || unknown || !change.gone.is_empty() {
            touched.extend(self.search(&touched));
        }
        self.refresh_routes(&change.routes);
        self.connect();
        Ok(touched)
    }

    /// Looks again for ends that the picture lacks; gives the namespaces that were read anew.
    ///
    /// # Errors
    /// Only when the agent's own namespace cannot be read.
    pub fn look_for(
        &mut self,
        missing: &BTreeSet<EndId>,
    ) -> Result<BTreeSet<NetnsCookie>, DiscoverError> {
        let mut change = Change { namespaces: true, ..Change::default() };
        for netns in missing.iter().filter_map(|end| self.snapshot.namespaces.get(&end.netns)) {
            match netns.nsid {
                _ if netns.cookie == self.snapshot.host => change.host = true,
                Some(nsid) => _ = change.nsids.insert(nsid),
                None => change.everything = true,
            }
        }
        self.refresh(&change)
    }

    /// Reads the routes of these namespaces anew, and nothing else of them. One that is gone meanwhile
    /// keeps those that it had until an event tells.
    fn refresh_routes(&mut self, of: &BTreeSet<Option<i32>>) {
        let host = self.snapshot.host;
        for netns in self.snapshot.namespaces.values_mut() {
            let number = if netns.cookie == host { None } else { netns.nsid };
            let known = number.is_some() || netns.cookie == host;
            if known && of.contains(&number) {
                let read = netns::within_known(&netns.path, netns.cookie, || {
                    netlink::block_on(async |connection| netlink::routes(&connection).await)
                });
                if let Ok(Ok(routes)) = read {
                    netns.routes = read::read_routes(&routes);
                }
            }
        }
    }

    fn has_number(&self, nsid: i32) -> bool {
        self.snapshot.namespaces.values().any(|netns| netns.nsid == Some(nsid))
    }

    fn forget(&mut self, gone: &BTreeSet<i32>) -> BTreeSet<NetnsCookie> {
        let namespaces = &mut self.snapshot.namespaces;
        let dead: BTreeSet<_> = namespaces
            .values()
            .filter(|netns| netns.nsid.is_some_and(|nsid| gone.contains(&nsid)))
            .map(|netns| netns.cookie)
            .collect();
        namespaces.retain(|cookie, _| !dead.contains(cookie));
        dead
    }

    fn read_again(&mut self, nsids: &BTreeSet<i32>) -> BTreeSet<NetnsCookie> {
        let changed: Vec<_> = self
            .snapshot
            .namespaces
            .values()
            .filter(|netns| netns.nsid.is_some_and(|nsid| nsids.contains(&nsid)))
            .cloned()
            .collect();
        let mut touched = BTreeSet::new();
        for old in changed {
            touched.insert(old.cookie);
            let found = Found { path: old.path, names: old.names };
            match read_namespace(&found, self.depth) {
                Ok(new) if new.cookie == old.cookie => {
                    let new = Namespace { nsid: old.nsid, ..new };
                    self.snapshot.namespaces.insert(new.cookie, new);
                }
                // Its file leads elsewhere, or nowhere; the search will tell.
                _ => {
                    self.snapshot.namespaces.remove(&old.cookie);
                    touched.extend(self.search(&touched));
                }
            }
        }
        touched
    }

    /// Finds namespaces that came, and drops those that nothing leads to any more.
    fn search(&mut self, read: &BTreeSet<NetnsCookie>) -> BTreeSet<NetnsCookie> {
        let host = self.snapshot.host;
        let mut unseen = Vec::new();
        let found = find(&mut unseen);
        let mut touched = self.drop_lost(&found);
        for (inode, found) in found {
            let known = self.snapshot.namespaces.values_mut().find(|known| known.inode == inode);
            if let Some(known) = known {
                known.names = found.names;
                // Whatever else leads into the agent's own, its own path always does.
                if known.cookie != host {
                    known.path = found.path;
                }
                continue;
            }
            match self.read_new(&found) {
                Ok(netns) => {
                    touched.insert(netns.cookie);
                    self.snapshot.namespaces.insert(netns.cookie, netns);
                }
                Err(error) if error.is_gone() => {}
                Err(error) => {
                    unseen.push(Unseen { path: found.path, reason: error.to_string() });
                }
            }
        }
        self.snapshot.unseen = unseen;
        touched.difference(read).copied().collect()
    }

    fn drop_lost(&mut self, found: &BTreeMap<u64, Found>) -> BTreeSet<NetnsCookie> {
        let host = self.snapshot.host;
        let namespaces = &mut self.snapshot.namespaces;
        let lost: BTreeSet<_> = namespaces
            .values()
            .filter(|netns| netns.cookie != host && !found.contains_key(&netns.inode))
            .map(|netns| netns.cookie)
            .collect();
        namespaces.retain(|cookie, _| !lost.contains(cookie));
        lost
    }

    fn read_new(&self, found: &Found) -> Result<Namespace, ReadError> {
        if self.numbered {
            // Before it is read, so that no event falls in between.
            assign_number(&found.path);
        }
        read_namespace(found, self.depth)
    }

    fn assign_numbers(&self) {
        let unnumbered = self.snapshot.namespaces.values().filter(|netns| netns.nsid.is_none());
        for netns in unnumbered.filter(|netns| netns.cookie != self.snapshot.host) {
            assign_number(&netns.path);
        }
    }

    /// Numbers namespaces and joins ends.
    fn connect(&mut self) {
        let Snapshot { host, namespaces, peers, .. } = &mut self.snapshot;
        number(namespaces, *host);
        *peers = join::join(namespaces, *host, &mut self.numbers);
    }
}

/// Every namespace that a name, a mount or a process holds, by inode.
pub fn find(unseen: &mut Vec<Unseen>) -> BTreeMap<u64, Found> {
    let mut found = BTreeMap::new();
    for (path, name) in named(unseen) {
        match inode_of(&path) {
            Ok(inode) => add(&mut found, inode, path, Some(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unseen.push(Unseen { path, reason: error.to_string() }),
        }
    }
    for (inode, path) in mounted().into_iter().chain(of_processes()) {
        add(&mut found, inode, path, None);
    }
    found
}

fn add(found: &mut BTreeMap<u64, Found>, inode: u64, path: PathBuf, name: Option<String>) {
    let entry = found.entry(inode).or_insert(Found { path, names: Vec::new() });
    entry.names.extend(name);
}

/// The files under `/run/netns`, sorted by name.
fn named(unseen: &mut Vec<Unseen>) -> Vec<(PathBuf, String)> {
    let directory = match fs::read_dir(netns::RUN_NETNS) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let path = PathBuf::from(netns::RUN_NETNS);
            unseen.push(Unseen { path, reason: error.to_string() });
            return Vec::new();
        }
    };
    let mut files: Vec<_> = directory
        .filter_map(Result::ok)
        .map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))
        .collect();
    files.sort();
    files
}

/// Inode of the namespace behind a file, `NotFound` for a file that leads to none.
fn inode_of(path: &Path) -> io::Result<u64> {
    let file = fs::metadata(path)?;
    let namespaces = fs::metadata(netns::OWN)?;
    // All namespaces live on one nsfs; a file elsewhere is what a crash left of a name.
    if file.dev() == namespaces.dev() {
        Ok(file.ino())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Namespaces that are mounted anywhere, as container runtimes do.
fn mounted() -> Vec<(u64, PathBuf)> {
    let mounts = procfs::process::Process::myself().and_then(|process| process.mountinfo());
    let Ok(mounts) = mounts else { return Vec::new() };
    mounts
        .into_iter()
        .filter(|mount| mount.fs_type == "nsfs")
        .filter_map(|mount| Some((inode_in(&mount.root)?, mount.mount_point)))
        .collect()
}

/// Namespaces that processes live in.
fn of_processes() -> Vec<(u64, PathBuf)> {
    let Ok(directory) = fs::read_dir("/proc") else { return Vec::new() };
    directory
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| {
            let path = entry.path().join("ns/net");
            let target = fs::read_link(&path).ok()?;
            Some((inode_in(target.to_str()?)?, path))
        })
        .collect()
}

/// The number in `net:[4026531840]`.
fn inode_in(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn read_own(depth: Depth) -> Result<Namespace, ReadError> {
    let path = PathBuf::from(netns::OWN);
    let names = Vec::new();
    read_namespace(&Found { path, names }, depth)
}

fn read_namespace(found: &Found, depth: Depth) -> Result<Namespace, ReadError> {
    let inode = fs::metadata(&found.path)
        .map_err(|source| NetnsError::Open { path: found.path.clone(), source })?
        .ino();
    let (cookie, (links, routes)) = netns::within(&found.path, || {
        let cookie = netns::cookie().map_err(ReadError::Cookie)?;
        Ok::<_, ReadError>((
            cookie,
            netlink::block_on(async |connection| read_links(&connection, depth).await)?,
        ))
    })??;
    let (path, names) = (found.path.clone(), found.names.clone());
    Ok(Namespace { cookie, inode, names, path, nsid: None, links, routes })
}

async fn read_links(
    connection: &Connection,
    depth: Depth,
) -> Result<(BTreeMap<IfIndex, Link>, Vec<Route>), NetlinkError> {
    let mut links: BTreeMap<_, _> = netlink::links(connection)
        .await?
        .iter()
        .map(|message| (IfIndex(message.header.index), read::link(message)))
        .collect();
    for message in netlink::addresses(connection).await? {
        if let Some((ifindex, address)) = read::address(&message)
            && let Some(link) = links.get_mut(&ifindex)
        {
            if read::is_duplicate(&message) {
                link.duplicates.push(address.net.addr());
            } else {
                link.addresses.push(address);
            }
        }
    }
    let routes = match depth {
        Depth::Links => Vec::new(),
        Depth::Routes => read::read_routes(&netlink::routes(connection).await?),
    };
    Ok((links, routes))
}

/// Notes by which number the host's namespace knows each of the others.
fn number(namespaces: &mut BTreeMap<NetnsCookie, Namespace>, host: NetnsCookie) {
    let others: Vec<_> =
        namespaces.values().filter(|netns| netns.cookie != host && netns.nsid.is_none()).collect();
    let numbers = join::numbers(Path::new(netns::OWN), &others);
    for (cookie, nsid) in numbers {
        if let Some(namespace) = namespaces.get_mut(&cookie) {
            namespace.nsid = Some(nsid);
        }
    }
}

/// The other namespaces of a snapshot that one of them has numbers for.
#[must_use]
pub fn numbers(snapshot: &Snapshot, netns: &Namespace) -> BTreeMap<i32, NetnsCookie> {
    let others = snapshot.namespaces.values().filter(|other| other.cookie != netns.cookie);
    let others: Vec<_> = others.collect();
    let numbers = numbers_within(&netns.path, &others);
    numbers.into_iter().map(|(cookie, nsid)| (nsid, cookie)).collect()
}

/// By which numbers the namespace behind `path` knows `others`.
pub(super) fn numbers_within(path: &Path, others: &[&Namespace]) -> Vec<(NetnsCookie, i32)> {
    let files: Vec<(NetnsCookie, File)> = others
        .iter()
        .filter_map(|other| Some((other.cookie, File::open(&other.path).ok()?)))
        .collect();
    let ask = || {
        netlink::block_on(async |connection| {
            let mut numbers = Vec::new();
            for (cookie, file) in &files {
                if let Some(nsid) = netlink::nsid_of(&connection, file.as_fd()).await? {
                    numbers.push((*cookie, nsid));
                }
            }
            Ok::<_, NetlinkError>(numbers)
        })
    };
    // A namespace that vanished meanwhile numbers nobody.
    netns::within(path, ask).ok().and_then(Result::ok).unwrap_or_default()
}

/// Lets the host's namespace number the one behind `path`. One that is gone needs none, and one
/// that has a number keeps it.
fn assign_number(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let assigned = netns::within(Path::new(netns::OWN), || {
        netlink::block_on(async |connection| connection.assign_nsid(file.as_fd()).await)
    });
    if let Ok(Err(error)) = assigned
        && !error.is_present()
    {
        tracing::warn!(path = %path.display(), %error, "events of this namespace cannot be heard");
    }
}
