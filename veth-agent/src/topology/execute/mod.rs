//! Carries a plan out, and takes back what was done when a step fails.

mod links;
mod undo;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::{links::Links, undo::Undo};
use super::{
    action::{Action, LinkRef, NewEnd},
    spec::Place,
};
use crate::{
    datapath::{self, AttachError, AttachOptions, DatapathError, Maps, Pins, Scope},
    inventory::{self, Depth, DiscoverError, Snapshot},
    mark::{self, PairMark},
    netlink::{self, Connection, NetlinkError, VethEnd},
    netns::{self, NetnsError},
    types::{IfIndex, IfName, MacAddr, Mtu, NetnsCookie, NetnsName},
};

/// How programs are put on ends.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Where they are pinned.
    pub pins: Pins,
    /// In which way.
    pub options: AttachOptions,
}

/// Why a step could not be taken.
#[derive(Debug, Error)]
pub enum StepError {
    /// Namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Programs.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// A program on one end.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The picture.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// A namespace went away, or was replaced, while its links were being made.
    #[error("namespace {0:?} was deleted meanwhile; apply the file again")]
    Vanished(String),
    /// A namespace is not there.
    #[error("namespace {0:?} does not exist")]
    NoNetns(String),
}

/// Why a plan could not be carried out. One line each, the cause first.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// The step and its cause.
    pub cause: String,
    /// What could not be taken back.
    pub left: Vec<String>,
}

/// Hears of progress: steps taken, and steps in all.
pub type Progress<'a> = dyn Fn(usize, usize) + 'a;

/// Takes all steps, or none: what was done is undone, last first, when a step fails.
///
/// # Errors
/// The step that failed, and what could not be undone.
pub async fn apply(
    actions: &[Action],
    seen: &Snapshot,
    attachment: &Attachment,
    progress: &Progress<'_>,
) -> Result<(), Failed> {
    let mut executor = Executor::new(seen, attachment);
    let taken = executor.take_all(actions, progress).await;
    let Err((step, error)) = taken else { return Ok(()) };
    let mut left = executor.undo_all().await;
    // What stopped the step may stop this too, and is said once.
    let unswept = executor.sweep().err().map(|error| error.to_string());
    left.extend(
        unswept
            .filter(|reason| *reason != error.to_string())
            .map(|reason| format!("left behind: pins: {reason}")),
    );
    Err(Failed { cause: format!("{step}: {error}"), left })
}

/// Takes all steps, going on after one that fails: what can go, goes.
pub async fn delete(
    actions: &[Action],
    seen: &Snapshot,
    attachment: &Attachment,
    progress: &Progress<'_>,
) -> Vec<String> {
    let mut executor = Executor::new(seen, attachment);
    let mut failures = Vec::new();
    let _hurry = datapath::Hurry::during(&attachment.pins, attachment.options);
    for (taken, action) in actions.iter().enumerate() {
        progress(taken, actions.len());
        if let Err(error) = executor.take(action).await {
            failures.push(format!("{action}: {error}"));
        }
    }
    failures.extend(executor.sweep().err().map(|error| error.to_string()));
    failures
}

struct Executor<'a> {
    seen: &'a Snapshot,
    attachment: &'a Attachment,
    places: BTreeMap<Place, OpenPlace>,
    links: Links,
    undo: Vec<Undo>,
}

/// A namespace that is being worked in.
struct OpenPlace {
    connection: Connection,
    cookie: NetnsCookie,
    path: PathBuf,
    inode: u64,
}

impl<'a> Executor<'a> {
    fn new(seen: &'a Snapshot, attachment: &'a Attachment) -> Self {
        let (places, undo) = (BTreeMap::new(), Vec::new());
        Self { seen, attachment, places, links: Links::of(seen), undo }
    }

    async fn take_all(
        &mut self,
        actions: &[Action],
        progress: &Progress<'_>,
    ) -> Result<(), (String, StepError)> {
        let mut taken = 0;
        while let Some(action) = actions.get(taken) {
            progress(taken, actions.len());
            // Programs go on in one visit to each namespace, however many ends it has.
            let together = attachments(&actions[taken..]);
            if together.is_empty() {
                self.take(action).await.map_err(|error| (action.to_string(), error))?;
                taken += 1;
            } else {
                taken += together.len();
                self.attach(&together).await.map_err(|error| (action.to_string(), error))?;
            }
        }
        self.check_places().map_err(|error| ("checking what was made".to_owned(), error))
    }

    async fn take(&mut self, action: &Action) -> Result<(), StepError> {
        let undo = undo::inverse(action, self.seen);
        match action {
            Action::CreateNetns(name) => self.create_netns(name)?,
            Action::CreateBridge { link, mtu, mac } => {
                self.create_bridge(link, *mtu, *mac).await?;
                return Ok(());
            }
            Action::MarkBridge(link) => self.mark_bridge(link).await?,
            Action::CreatePair { mark, ends } => {
                self.create_pair(mark, ends).await?;
                return Ok(());
            }
            Action::Mark { link, mark } => self.set_alias(link, &mark.alias()).await?,
            Action::Attach { ends } => self.attach(&[ends]).await?,
            Action::SetMtu { link, mtu } => self.set_mtu(link, mtu.bytes()).await?,
            Action::SetMac { link, mac } => self.set_mac(link, *mac).await?,
            Action::AddAddress { link, address } => {
                let (place, index) = self.locate(link).await?;
                place.connection.add_address(index, *address).await?;
            }
            Action::RemoveAddress { link, address } => {
                let (place, index) = self.locate(link).await?;
                gone_is_fine(place.connection.delete_address(index, *address).await)?;
            }
            Action::SetBridge { link, bridge } => self.set_bridge(link, bridge.as_ref()).await?,
            Action::SetUp { link, up } => self.set_up(link, *up).await?,
            Action::AddRoute { link, route } => {
                let (place, index) = self.locate(link).await?;
                place.connection.add_route(index, route).await?;
            }
            Action::RemoveRoute { link, route } => {
                let (place, index) = self.locate(link).await?;
                gone_is_fine(place.connection.delete_route(index, route).await)?;
            }
            Action::DeletePair { ends } => self.delete_pair(ends).await?,
            Action::DeleteBridge(link) => self.delete_link(link).await?,
            Action::DeleteNetns(name) => {
                // The socket inside would keep it alive.
                self.places.remove(&Some(name.clone()));
                netns::delete(name)?;
            }
        }
        self.undo.extend(undo);
        Ok(())
    }

    /// Takes back what was done, last first; says what could not be.
    async fn undo_all(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        // Steps back are steps too, and note what would undo them.
        let noted = std::mem::take(&mut self.undo);
        for undo in noted.into_iter().rev() {
            let described = undo.to_string();
            if let Err(error) = self.take_back(undo).await {
                left.push(format!("left behind: {described}: {error}"));
            }
        }
        left
    }

    async fn take_back(&mut self, undo: Undo) -> Result<(), StepError> {
        match undo {
            Undo::Take(action) => match Box::pin(self.take(&action)).await {
                Err(StepError::Netlink(error)) if error.is_absent() => Ok(()),
                other => other,
            },
            Undo::Alias { link, alias } => self.set_alias(&link, &alias).await,
            Undo::Mtu { link, bytes } => self.set_mtu(&link, bytes).await,
            Undo::Mac { link, mac } => self.set_mac(&link, mac).await,
            Undo::Detach(ends) => {
                let mut maps = Maps::open(&self.attachment.pins, self.attachment.options.max_ends)?;
                let snapshot = inventory::snapshot(Depth::Links)?;
                let pins = &self.attachment.pins;
                let errors = datapath::detach_ends(pins, &mut maps, &snapshot, &ends)?;
                errors.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
            }
        }
    }

    fn create_netns(&mut self, name: &NetnsName) -> Result<(), StepError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, cookie) = netns::create(name, || {
            netlink::block_on(async |inside| {
                let index = inside.index_of(&IfName::loopback()).await?;
                inside.set_alias(index, mark::NETNS).await?;
                inside.set_up(index, true).await
            })?;
            let _guard = runtime.enter();
            let cookie = netns::cookie().map_err(NetlinkError::Socket)?;
            Ok::<_, StepError>((Connection::open()?, cookie))
        })?;
        let path = netns::path_of(name);
        let inode = inode(&path)?;
        self.places.insert(Some(name.clone()), OpenPlace { connection, cookie, path, inode });
        Ok(())
    }

    async fn create_bridge(
        &mut self,
        link: &LinkRef,
        mtu: Option<Mtu>,
        mac: Option<MacAddr>,
    ) -> Result<(), StepError> {
        self.place(&link.place)?.connection.add_bridge(&link.name, mtu, mac).await?;
        self.undo.push(Undo::Take(Action::DeleteBridge(link.clone())));
        self.mark_bridge(link).await
    }

    async fn mark_bridge(&mut self, link: &LinkRef) -> Result<(), StepError> {
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.mark_bridge(index).await?)
    }

    async fn create_pair(&mut self, mark: &PairMark, ends: &[NewEnd; 2]) -> Result<(), StepError> {
        let files = [self.open(&ends[0].link.place)?, self.open(&ends[1].link.place)?];
        let end = |which: usize| {
            use std::os::fd::AsFd as _;
            let NewEnd { link, mtu, mac } = &ends[which];
            VethEnd { netns: files[which].as_fd(), name: &link.name, mtu: *mtu, mac: *mac }
        };
        self.place(&ends[0].link.place)?.connection.add_veth([end(0), end(1)]).await?;
        let links = ends.iter().map(|end| end.link.clone()).collect();
        self.undo.push(Undo::Take(Action::DeletePair { ends: links }));
        for end in ends {
            self.set_alias(&end.link, &mark.alias()).await?;
        }
        Ok(())
    }

    async fn delete_pair(&mut self, ends: &[LinkRef]) -> Result<(), StepError> {
        for end in ends {
            self.delete_link(end).await?;
        }
        Ok(())
    }

    /// Deletes a link that may have gone with its peer.
    async fn delete_link(&mut self, link: &LinkRef) -> Result<(), StepError> {
        self.links.forget(link);
        let place = self.place(&link.place)?.connection.clone();
        let index = match place.index_of(&link.name).await {
            Err(error) if error.is_absent() => return Ok(()),
            index => index?,
        };
        Ok(gone_is_fine(place.delete_link(index).await)?)
    }

    async fn attach(&mut self, pairs: &[&[LinkRef; 2]]) -> Result<(), StepError> {
        let Attachment { pins, options } = self.attachment;
        pins.prepare()?;
        let mut maps = Maps::open(pins, options.max_ends)?;
        let mut ends = BTreeSet::new();
        for link in pairs.iter().copied().flatten() {
            let (place, index) = self.locate(link).await?;
            ends.insert(crate::types::EndId { netns: place.cookie, ifindex: index });
        }
        let snapshot = inventory::snapshot(Depth::Links)?;
        let outcome =
            datapath::reconcile(pins, &mut maps, &snapshot, &Scope::Ends(&ends), *options)?;
        self.undo.push(Undo::Detach(outcome.attached));
        outcome.errors.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
    }

    async fn set_alias(&mut self, link: &LinkRef, alias: &str) -> Result<(), StepError> {
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.set_alias(index, alias).await?)
    }

    async fn set_mtu(&mut self, link: &LinkRef, bytes: u32) -> Result<(), StepError> {
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.set_mtu(index, bytes).await?)
    }

    async fn set_mac(&mut self, link: &LinkRef, mac: MacAddr) -> Result<(), StepError> {
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.set_mac(index, mac).await?)
    }

    async fn set_bridge(
        &mut self,
        link: &LinkRef,
        bridge: Option<&IfName>,
    ) -> Result<(), StepError> {
        let master = match bridge {
            None => None,
            Some(name) => {
                let bridge = LinkRef { place: link.place.clone(), name: name.clone() };
                Some(self.locate(&bridge).await?.1)
            }
        };
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.set_master(index, master).await?)
    }

    async fn set_up(&mut self, link: &LinkRef, up: bool) -> Result<(), StepError> {
        let (place, index) = self.locate(link).await?;
        Ok(place.connection.set_up(index, up).await?)
    }

    /// The namespace of a link, and its index there.
    async fn locate(&mut self, link: &LinkRef) -> Result<(&OpenPlace, IfIndex), StepError> {
        let known = self.links.index(link);
        let place = self.place(&link.place)?;
        let connection = place.connection.clone();
        let index = match known {
            Some(index) => index,
            None => connection.index_of(&link.name).await?,
        };
        self.links.learn(link, index);
        Ok((self.place(&link.place)?, index))
    }

    fn place(&mut self, place: &Place) -> Result<&OpenPlace, StepError> {
        if !self.places.contains_key(place) {
            let opened = self.open_place(place)?;
            self.places.insert(place.clone(), opened);
        }
        let missing = || StepError::NoNetns(place_name(place));
        self.places.get(place).ok_or_else(missing)
    }

    fn open_place(&self, place: &Place) -> Result<OpenPlace, StepError> {
        let (path, cookie) = match place {
            None => (PathBuf::from(netns::OWN), self.seen.host),
            Some(name) => {
                let seen = self.seen.netns_named(name.as_str());
                let seen = seen.ok_or_else(|| StepError::NoNetns(name.to_string()))?;
                (netns::path_of(name), seen.cookie)
            }
        };
        let connection = Connection::open_within(&path, cookie)?;
        let inode = inode(&path)?;
        Ok(OpenPlace { connection, cookie, path, inode })
    }

    fn open(&mut self, place: &Place) -> Result<fs::File, StepError> {
        let path = self.place(place)?.path.clone();
        Ok(fs::File::open(&path).map_err(|source| NetnsError::Open { path, source })?)
    }

    /// A namespace whose name was taken away lives on while our socket is in it; what was made
    /// there is lost as soon as that closes.
    fn check_places(&self) -> Result<(), StepError> {
        for (name, place) in &self.places {
            if inode(&place.path).ok() != Some(place.inode) {
                return Err(StepError::Vanished(place_name(name)));
            }
        }
        Ok(())
    }

    /// Frees what belongs to ends that are gone, unless the daemon does it, which first reads
    /// their last counts.
    fn sweep(&mut self) -> Result<(), StepError> {
        let Attachment { pins, options } = self.attachment;
        self.places.clear();
        if !pins.exist() || datapath::Daemon::is_running(pins) {
            return Ok(());
        }
        let mut maps = Maps::open(pins, options.max_ends)?;
        let known = datapath::known_ends(pins, &maps)?;
        let snapshot = inventory::snapshot(Depth::Links)?;
        datapath::collect_garbage(pins, &mut maps, &known, &snapshot)?;
        Ok(())
    }
}

/// The pairs of all `Attach` steps that `actions` begins with.
fn attachments(actions: &[Action]) -> Vec<&[LinkRef; 2]> {
    actions
        .iter()
        .map_while(|action| match action {
            Action::Attach { ends } => Some(ends),
            _ => None,
        })
        .collect()
}

fn gone_is_fine(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}

fn inode(path: &Path) -> Result<u64, NetnsError> {
    fs::metadata(path)
        .map(|file| file.ino())
        .map_err(|source| NetnsError::Open { path: path.to_owned(), source })
}

fn place_name(place: &Place) -> String {
    place.as_ref().map_or_else(|| inventory::HOST.to_owned(), ToString::to_string)
}
