//! The daemon: its tasks, and their end.

use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinError,
    time::MissedTickBehavior,
};

use veth_common::names;

use crate::{
    collect::DropReader,
    config::Config,
    datapath::{self, Daemon, DatapathError, DropsStart, Lock, Maps, Outcome, Pins, Scope},
    export::{self, Metrics, ServerError, SharedView},
    fastpath::{self, Failures, Verdict, lease},
    inventory::{self, Change, Depth, DiscoverError, Inventory, Pending, WatchError},
    ledger::{self, Bases},
    sizes::{self, Synced},
    types::NetnsCookie,
};

/// How long a stop may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often everything is looked at anew, in case something changed that no event tells of.
const RESYNC: Duration = Duration::from_secs(60);

/// How often it is looked at what the fast path skips. Not every change there comes as an event.
const AUDIT: Duration = Duration::from_secs(2);

/// Why the daemon cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is one.
    #[error("another `veth-agent run` is at work on this node; stop it first")]
    Running,
    /// Programs, maps or pins.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// Namespaces.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// Events.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The metrics server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The metrics page.
    #[error("the metrics page cannot be made: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Signals.
    #[error("signals cannot be heard: {0}")]
    Signal(std::io::Error),
    /// A task that panicked.
    #[error("a task failed: {0}; please report this")]
    Task(#[from] JoinError),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot run, or could not go on.
pub async fn run(pins: &Pins, config: &Config) -> Result<(), RunError> {
    pins.prepare()?;
    let _daemon = Daemon::become_it(pins)?.ok_or(RunError::Running)?;
    let mut maps = Maps::open(pins, config.attach.max_ends)?;
    let drops = DropReader::new(pins);
    let counts_drops = count_drops(pins, &mut maps);
    let view = SharedView::new(maps, drops);
    let listener = export::bind(config.listen).await?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("serving http://{address}/metrics");
    }
    let attach = if config.attach.mode.by_tcx() { "tcx" } else { "clsact" };
    let metrics = Metrics::new(view.clone(), attach)?;
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(export::serve(listener, view.clone(), metrics, is_set(stopped)));
    let mut keeper = Keeper::new(pins.clone(), config.clone(), view, counts_drops)?;

    let ended = tokio::select! {
        ended = keeper.keep_up() => ended,
        name = interrupted() => {
            tracing::info!(signal = name?, "stopping; programs stay attached");
            Ok(())
        }
    };
    // What is pinned stays; requests that have begun are answered.
    let _ = stop.send(true);
    match tokio::time::timeout(DEADLINE, server).await {
        Ok(served) => served??,
        Err(_) => tracing::warn!("a client did not let go within {DEADLINE:?}"),
    }
    ended
}

/// Whether drops are counted. Without their figures, everything but the ledger works.
fn count_drops(pins: &Pins, maps: &mut Maps) -> bool {
    match datapath::count_drops(pins, maps) {
        Ok(DropsStart { unknown, unheard }) => {
            if !unknown.is_empty() {
                let unknown = unknown.join(", ");
                tracing::warn!("some drops are not attributed: this kernel hides {unknown}");
            }
            for why in unheard {
                tracing::warn!("some losses of XDP are not counted: {why}");
            }
            true
        }
        Err(why) => {
            tracing::warn!("drops are not counted: {why}");
            false
        }
    }
}

async fn is_set(mut flag: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = flag.wait_for(|set| *set).await;
}

async fn interrupted() -> Result<&'static str, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Keeps picture, programs and page up with the node.
struct Keeper {
    state: Option<State>,
    pending: Arc<Pending>,
}

/// What a round of keeping up works on; it moves to a blocking thread and back.
struct State {
    pins: Pins,
    config: Config,
    view: SharedView,
    inventory: Inventory,
    complained: BTreeSet<String>,
    /// What was said of each pair that asks for the fast path; `None` before the first look.
    verdicts: Option<BTreeMap<String, Verdict>>,
    unready: Failures,
    /// What the kernel drops is counted.
    counts_drops: bool,
    bases: Bases,
    /// Addresses that the programs had no room for when it was last said.
    left_out: usize,
}

impl Keeper {
    fn new(
        pins: Pins,
        config: Config,
        view: SharedView,
        counts_drops: bool,
    ) -> Result<Self, RunError> {
        // Listening begins before the first picture, so that nothing falls in between.
        let pending = inventory::watch()?;
        let inventory = Inventory::take_numbered(Depth::Routes)?;
        let state = State {
            pins,
            config,
            view,
            inventory,
            complained: BTreeSet::new(),
            verdicts: None,
            unready: Failures::default(),
            counts_drops,
            bases: Bases::default(),
            left_out: 0,
        };
        Ok(Self { state: Some(state), pending })
    }

    async fn keep_up(&mut self) -> Result<(), RunError> {
        self.upgrade()?;
        self.round(None).await?;
        let mut resync = tokio::time::interval_at(tokio::time::Instant::now() + RESYNC, RESYNC);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut audit = tokio::time::interval_at(tokio::time::Instant::now() + AUDIT, AUDIT);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = self.pending.take() => self.round(Some(change)).await?,
                _ = resync.tick() => {
                    self.round(Some(Change { everything: true, ..Change::default() })).await?;
                }
                _ = tick.tick() => self.expire(),
                _ = audit.tick() => self.audit().await?,
            }
        }
    }

    /// One round, off the thread that serves. `None` is the first.
    async fn round(&mut self, change: Option<Change>) -> Result<(), RunError> {
        let overruns = self.pending.overruns();
        self.off_thread(move |state| {
            let routes = change.as_ref().map(|change| change.routes.clone()).unwrap_or_default();
            let only_routes = Change { routes: routes.clone(), ..Change::default() };
            if change.as_ref() == Some(&only_routes) {
                // No program goes on or comes off for them.
                state.inventory.refresh(&only_routes)?;
                state.show(overruns);
            } else {
                state.round(change, overruns)?;
            }
            state.accelerate()
        })
        .await
    }

    /// Looks again at what the fast path skips, and renews its lease.
    async fn audit(&mut self) -> Result<(), RunError> {
        let keep = |state: &mut State| {
            state.keep_books()?;
            state.accelerate()
        };
        self.off_thread(keep).await
    }

    async fn off_thread(
        &mut self,
        work: impl FnOnce(&mut State) -> Result<(), RunError> + Send + 'static,
    ) -> Result<(), RunError> {
        let Some(mut state) = self.state.take() else { return future::pending().await };
        let (state, result) = tokio::task::spawn_blocking(move || {
            let result = work(&mut state);
            (state, result)
        })
        .await?;
        self.state = Some(state);
        result
    }

    /// Programs that another build left go on in their place.
    fn upgrade(&self) -> Result<(), RunError> {
        let Some(state) = &self.state else { return Ok(()) };
        let guard = state.view.lock();
        let snapshot = &state.inventory.snapshot;
        let (replaced, errors) = datapath::upgrade(&state.pins, &guard.1, snapshot)?;
        if replaced > 0 {
            tracing::info!(namespaces = replaced, "replaced the programs of another build");
        }
        for error in errors {
            tracing::warn!("not replaced: {error}");
        }
        Ok(())
    }

    fn expire(&self) {
        if let Some(state) = &self.state {
            state.view.lock().0.expire(state.config.linger, Instant::now());
        }
    }
}

impl State {
    fn round(&mut self, change: Option<Change>, overruns: u64) -> Result<(), RunError> {
        let mut touched = match &change {
            Some(change) => Some(self.inventory.refresh(change)?),
            None => None,
        };
        // The page first: what is gone must go from it even if attaching takes long.
        self.show(overruns);
        let (freed, looked_at) = self.collect_garbage()?;
        if let Some(touched) = &mut touched {
            touched.extend(looked_at);
        }
        if freed > 0 && !self.complained.is_empty() {
            // There is room now for ends that had none.
            touched = None;
        }
        let outcome = self.attach(touched.as_ref())?;
        self.report(&outcome, change.is_none(), touched.is_none());
        Ok(())
    }

    /// Frees what belongs to ends that are gone; gives how many these were, and the namespaces that
    /// were looked at again to be sure.
    fn collect_garbage(&mut self) -> Result<(usize, BTreeSet<NetnsCookie>), RunError> {
        let living: BTreeSet<_> = self.inventory.snapshot.ends().collect();
        let mut missing = datapath::known_ends(&self.pins, &self.view.lock().1)?;
        missing.retain(|end| !living.contains(end));
        if missing.is_empty() {
            return Ok((0, BTreeSet::new()));
        }
        let looked_at = self.inventory.look_for(&missing)?;
        let snapshot = &self.inventory.snapshot;
        let mut guard = self.view.lock();
        let freed = datapath::collect_garbage(&self.pins, &mut guard.1, &missing, snapshot)?;
        if !freed.is_empty() {
            tracing::debug!(ends = freed.len(), "freed the slots of ends that are gone");
        }
        Ok((freed.len(), looked_at))
    }

    fn show(&self, overruns: u64) {
        let mut guard = self.view.lock();
        let (view, maps, drops) = &mut *guard;
        view.update(&self.inventory.snapshot, maps, drops, Instant::now());
        view.events_lost.insert("netlink", overruns);
    }

    fn attach(&mut self, touched: Option<&BTreeSet<NetnsCookie>>) -> Result<Outcome, RunError> {
        let scope = touched.map_or(Scope::All, Scope::Namespaces);
        let mut maps = Maps::open(&self.pins, self.config.attach.max_ends)?;
        let snapshot = &self.inventory.snapshot;
        let outcome =
            datapath::reconcile(&self.pins, &mut maps, snapshot, &scope, self.config.attach)?;
        let synced = sizes::sync(&self.pins, &mut maps, snapshot)?;
        self.say_addresses(synced);
        Ok(outcome)
    }

    /// How many addresses the programs know; that there is no room for all, once.
    fn say_addresses(&mut self, synced: Synced) {
        self.view.lock().0.addresses = synced.addresses;
        if synced.left_out > 0 && synced.left_out != self.left_out {
            tracing::warn!(
                "no room for {} addresses of namespaces, so ICMP errors for them are not counted as \
                 reached; raise --max-ends",
                synced.left_out
            );
        }
        self.left_out = synced.left_out;
    }

    /// Begins the ledgers of pairs that have none and are at rest.
    fn keep_books(&mut self) -> Result<(), RunError> {
        let snapshot = &self.inventory.snapshot;
        let ways = snapshot.ends().filter_map(|end| Some((end, snapshot.peer_of(end)?)));
        let mut guard = self.view.lock();
        let (_, maps, drops) = &mut *guard;
        let unsettled = ledger::unsettled(maps, ways);
        // Without what counts drops there is no ledger to keep.
        if unsettled.is_empty() || !self.counts_drops {
            return Ok(());
        }
        let failed =
            |error| DatapathError::Map { name: names::MAP_LEDGER, source: Box::new(error) };
        let drops = drops.read(maps).map_err(failed)?;
        Ok(ledger::settle(&mut self.bases, maps, &drops, &unsettled).map_err(failed)?)
    }

    /// Brings the fast path to what the node is like now. What goes wrong there costs speed alone:
    /// without a renewed lease, packets take the stack.
    fn accelerate(&mut self) -> Result<(), RunError> {
        let snapshot = &self.inventory.snapshot;
        let near = fastpath::near_ends(snapshot);
        // Somebody may have asked before this agent was started.
        if near.is_empty() && self.verdicts.as_ref().is_some_and(BTreeMap::is_empty) {
            return Ok(());
        }
        let facts = fastpath::gather(&self.pins, snapshot, &near);
        let plan = {
            let _lock = Lock::acquire(&self.pins)?;
            let mut maps = Maps::open(&self.pins, self.config.attach.max_ends)?;
            let mut plan = fastpath::plan_for(&maps, snapshot, &facts)?;
            let (failures, now) = (&mut self.unready, Instant::now());
            fastpath::prepare(&self.pins, &mut maps, snapshot, &mut plan, failures, now);
            let synced = fastpath::sync(&mut maps, snapshot, &plan);
            let renewed = synced.and_then(|()| Ok(lease::renew(&mut maps, self.config.lease)?));
            match renewed {
                // Nothing is redirected any more to or from what is withdrawn.
                Ok(()) => {
                    for cause in fastpath::withdraw(&self.pins, &mut maps, snapshot, &plan)? {
                        tracing::warn!("what XDP needed is not undone: {cause}");
                    }
                }
                Err(error) => {
                    tracing::warn!("the fast path is not kept up, its lease runs out: {error}");
                }
            }
            plan
        };
        self.say_verdicts(plan.verdicts);
        Ok(())
    }

    /// Each verdict once, for as long as it stands.
    fn say_verdicts(&mut self, verdicts: BTreeMap<String, Verdict>) {
        let said = self.verdicts.take().unwrap_or_default();
        for (pair, verdict) in &verdicts {
            if said.get(pair) != Some(verdict) {
                match verdict {
                    Verdict::Active(_) => tracing::info!(pair, "fast path: {verdict}"),
                    _ => tracing::warn!(pair, "fast path: {verdict}"),
                }
            }
        }
        self.verdicts = Some(verdicts);
    }

    fn report(&mut self, outcome: &Outcome, first: bool, whole: bool) {
        let ends = outcome.attached.len();
        let milliseconds = outcome.took.as_millis();
        if first {
            let pairs = self.inventory.snapshot.pairs().len();
            tracing::info!(pairs, ends, milliseconds, "attached to what was there");
        } else if ends > 0 {
            tracing::info!(ends, milliseconds, "attached");
        }
        // Each complaint once, for as long as its cause lasts.
        let current: BTreeSet<_> = outcome.errors.iter().map(ToString::to_string).collect();
        for error in current.difference(&self.complained) {
            tracing::warn!("not attached: {error}");
        }
        if whole || !current.is_empty() {
            self.complained = current;
        }
        let mut guard = self.view.lock();
        guard.0.count_errors(&outcome.errors);
        guard.0.ready = true;
    }
}
