//! The speed layer itself: tailing, slices, publication.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use watershed_log::{EventLog, Position};
use watershed_pipelines::{
    catalog::Catalog,
    partial::{CoreKernel, Partials},
    registry::Registry,
};

use crate::{
    error::{Result, SpeedError},
    lane::Lane,
    options::SpeedOptions,
    run::Offsets,
    snapshot::{LaneSnapshot, SpeedSnapshot, ViewSnapshot, same},
};

/// What the batch side holds: what a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// The cut.
    pub cut: Position,
    /// The fingerprint of each view it has, up to the cut.
    pub fingerprints: BTreeMap<String, String>,
}

/// Tails the log and keeps every view's live part. See the [crate].
pub struct SpeedLayer {
    catalog: Arc<Catalog>,
    log: Arc<dyn EventLog>,
    options: SpeedOptions,
    state: Mutex<State>,
    snapshot: ArcSwap<SpeedSnapshot>,
    /// The number of publications.
    published: watch::Sender<u64>,
    /// The same for threads that wait.
    publications: (Mutex<u64>, Condvar),
    stopped: watch::Sender<Option<Option<String>>>,
    wants_batch: watch::Sender<bool>,
    /// There is work besides new records.
    wake: Notify,
    /// Whether [`SpeedLayer::run`] runs: then large merges are left to other threads.
    running: AtomicBool,
}

struct State {
    cut: Position,
    bounds: Vec<Position>,
    lanes: BTreeMap<String, Lane>,
}

impl SpeedLayer {
    /// A speed layer that begins where `built` ends. Reads nothing yet.
    pub fn new(
        catalog: Arc<Catalog>,
        registry: &Registry,
        log: Arc<dyn EventLog>,
        options: SpeedOptions,
        built: &Built,
    ) -> Result<SpeedLayer> {
        let mut by_source: BTreeMap<&str, Vec<(String, CoreKernel)>> = BTreeMap::new();
        for (name, view) in &catalog.views {
            if let Some(core) = &view.core {
                let kernel = CoreKernel::compile(core, registry)?;
                by_source.entry(&core.source.name).or_default().push((name.clone(), kernel));
            }
        }
        let existing = log.sources()?;
        let start = log.start()?;
        let mut lanes = BTreeMap::new();
        for (name, source) in &catalog.sources {
            let views = by_source.remove(name.as_str()).unwrap_or_default();
            let partitions = if existing.contains(name) { log.partitions(name)? } else { source.partitions };
            let mut lane = Lane::new(source, views, offsets(&built.cut, name, partitions as usize), &options);
            lane.set_built(&which_built(&catalog, &lane, built), &offsets(&start, name, partitions as usize));
            lanes.insert(name.clone(), lane);
        }
        let layer = SpeedLayer {
            catalog,
            log,
            options,
            state: Mutex::new(State { cut: built.cut.clone(), bounds: Vec::new(), lanes }),
            snapshot: ArcSwap::default(),
            published: watch::Sender::new(0),
            publications: Default::default(),
            stopped: watch::Sender::new(None),
            wants_batch: watch::Sender::new(false),
            wake: Notify::new(),
            running: AtomicBool::new(false),
        };
        layer.publish(&layer.state());
        Ok(layer)
    }

    /// Folds what is durable now, one bounded step, and publishes it. Returns whether there was anything to do: call it again
    /// then.
    pub fn step(&self) -> Result<bool> {
        self.step_until(None)
    }

    fn step_until(&self, until: Option<&Position>) -> Result<bool> {
        let head = self.log.head()?;
        let head = until.map_or(head.clone(), |until| head.min(until));
        let mut state = self.state();
        let (mut some, mut more) = (false, false);
        for (name, lane) in &mut state.lanes {
            lane.background = self.running.load(Ordering::Relaxed);
            let pulled = match lane.pull(&*self.log, &offsets(&head, name, lane.read.len())) {
                Ok(pulled) => pulled,
                // The others go on.
                Err(SpeedError::Log(error)) if error.is_of_one_partition() => lane.fail(&error),
                Err(error) => return Err(error),
            };
            some |= pulled.some;
            more |= pulled.more;
        }
        if !more {
            for lane in state.lanes.values_mut() {
                some |= match lane.rebuild(&*self.log) {
                    Err(SpeedError::Log(error)) if error.is_of_one_partition() => lane.fail(&error).some,
                    rebuilt => rebuilt?,
                };
            }
        }
        if some {
            self.check_memory(&mut state);
            self.publish(&state);
        }
        Ok(some)
    }

    /// Steps until `shutdown` completes or the log closes, woken by the log. An error of the log ends it.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) -> Result<()> {
        let mut shutdown = pin!(shutdown);
        let mut head = self.log.watch();
        self.stopped.send_replace(None);
        self.running.store(true, Ordering::Relaxed);
        let ended = loop {
            head.mark_unchanged();
            let layer = self.clone();
            // A step reads files and uses all cores while there is a backlog: not for a thread of the runtime.
            let mut step = pin!(tokio::task::spawn_blocking(move || layer.step()));
            let mut stopping = false;
            let stepped = tokio::select! {
                stepped = &mut step => stepped,
                () = &mut shutdown => {
                    stopping = true;
                    step.await
                }
            };
            match stepped.unwrap_or_else(|error| Err(SpeedError::Stopped { reason: Some(error.to_string()) })) {
                _ if stopping => break Ok(()),
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => break Err(error),
            }
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                () = self.wake.notified() => {}
                changed = head.changed() => if changed.is_err() { break Ok(()) },
            }
        };
        let reason = ended.as_ref().err().map(|error: &SpeedError| error.to_string());
        self.running.store(false, Ordering::Relaxed);
        self.stopped.send_replace(Some(reason));
        self.wake_waiters();
        ended
    }

    /// Makes an edge at an epoch's position, so that a manifest may move the cut there.
    ///
    /// Best told before the epoch is recorded, while the layer has hardly read past it: runs that the position goes through
    /// are folded again from the log. An edge more than there are epochs does no harm.
    pub fn add_epoch(&self, position: &Position) -> Result<()> {
        let mut state = self.state();
        self.split(&mut state, position)?;
        self.publish(&state);
        Ok(())
    }

    /// Follows a new manifest: drops the slices up to its cut. A manifest at or below the layer's cut only says which views
    /// are built.
    pub fn advance_cut(&self, built: &Built) -> Result<()> {
        let start = self.log.start()?;
        let mut state = self.state();
        if !built.cut.le(&state.cut) {
            self.split(&mut state, &built.cut)?;
            let slices = state.bounds.iter().take_while(|bound| bound.le(&built.cut)).count();
            state.bounds.drain(..slices);
            state.cut = built.cut.clone();
            for (name, lane) in &mut state.lanes {
                lane.drop_slices(slices, offsets(&built.cut, name, lane.read.len()));
            }
        }
        if same(&state.cut, &built.cut) {
            for (name, lane) in &mut state.lanes {
                lane.set_built(&which_built(&self.catalog, lane, built), &offsets(&start, name, lane.read.len()));
            }
        }
        self.check_memory(&mut state);
        self.publish(&state);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Replaces a view's partials in every slice: how tests make a slice wrong, to see that it is found.
    #[doc(hidden)]
    pub fn replace_slices_for_tests(&self, view: &str, replace: impl Fn(&CoreKernel, &Partials) -> Partials) {
        let mut state = self.state();
        for lane in state.lanes.values_mut() {
            lane.replace_slices_for_tests(view, &replace);
        }
        self.publish(&state);
    }

    /// The newest state.
    pub fn snapshot(&self) -> Arc<SpeedSnapshot> {
        self.snapshot.load_full()
    }

    /// Changes with every publication.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Whether a view nears its memory bound, so that a batch run should move the cut early.
    pub fn wants_batch(&self) -> watch::Receiver<bool> {
        self.wants_batch.subscribe()
    }

    /// The first snapshot that covers `position`, and so what a writer has written. Waits as long as the layer runs.
    pub async fn wait_for(&self, position: &Position) -> Result<Arc<SpeedSnapshot>> {
        let mut published = self.published.subscribe();
        let mut stopped = self.stopped.subscribe();
        loop {
            published.mark_unchanged();
            let snapshot = self.snapshot();
            if snapshot.reaches(position) {
                return Ok(snapshot);
            }
            if let Some(reason) = stopped.borrow_and_update().clone() {
                return Err(SpeedError::Stopped { reason });
            }
            tokio::select! {
                _ = published.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    /// Blocks the thread until a snapshot is `good`, but no longer than `timeout`; the newest snapshot either way.
    pub fn wait_until(
        &self,
        good: &mut dyn FnMut(&SpeedSnapshot) -> bool,
        timeout: Duration,
    ) -> Result<Arc<SpeedSnapshot>> {
        let (count, condition) = &self.publications;
        let mut stopped = None;
        // The lock is held while looking, so that no publication falls between the look and the wait.
        let guard = count.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = condition.wait_timeout_while(guard, timeout, |_| {
            if good(&self.snapshot()) {
                return false;
            }
            stopped = self.stopped.borrow().clone();
            stopped.is_none()
        });
        drop(waiting);
        match stopped {
            Some(reason) => Err(SpeedError::Stopped { reason }),
            None => Ok(self.snapshot()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while folding leaves a state that is behind the log but whole: lanes change only after folding.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn split(&self, state: &mut State, position: &Position) -> Result<()> {
        if position.le(&state.cut) {
            return Ok(());
        }
        let on_chain = |other: &Position| position.le(other) || other.le(position);
        if !state.bounds.iter().chain([&state.cut]).all(on_chain) {
            return Err(SpeedError::NotOnChain { position: position.clone() });
        }
        let slice = state.bounds.iter().take_while(|bound| bound.le(position)).count();
        if slice > 0 && same(&state.bounds[slice - 1], position) {
            return Ok(());
        }
        let mut divided = Vec::with_capacity(state.lanes.len());
        for (name, lane) in &mut state.lanes {
            let bound: Offsets = offsets(position, name, lane.read.len());
            divided.push((lane.divide(&*self.log, slice, &bound)?, bound));
        }
        for (lane, (runs, bound)) in state.lanes.values_mut().zip(divided) {
            lane.split(slice, bound, runs);
        }
        state.bounds.insert(slice, position.clone());
        Ok(())
    }

    fn check_memory(&self, state: &mut State) {
        let most = state.lanes.values_mut().map(Lane::check_memory).max().unwrap_or(0);
        let wants = most >= self.options.wants_batch_bytes();
        self.wants_batch.send_if_modified(|wanted| std::mem::replace(wanted, wants) != wants);
    }

    fn publish(&self, state: &State) {
        let mut position = Position::new();
        let mut lanes = BTreeMap::new();
        for (name, lane) in &state.lanes {
            position.set_source(name.clone(), lane.read.clone());
            let views = lane.views.iter().enumerate().map(|(index, view)| ViewSnapshot {
                name: view.name.clone(),
                built: view.built,
                state: lane.state(index),
            });
            let snapshot =
                LaneSnapshot { views: views.collect(), base: lane.base.runs.clone(), slices: lane.slices.clone() };
            lanes.insert(name.clone(), snapshot);
        }
        self.snapshot.store(Arc::new(SpeedSnapshot {
            cut: state.cut.clone(),
            position,
            bounds: state.bounds.clone(),
            lanes,
            view_bytes_max: self.options.view_bytes_max,
        }));
        self.published.send_modify(|count| *count += 1);
        self.wake_waiters();
    }

    fn wake_waiters(&self) {
        let (count, condition) = &self.publications;
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        condition.notify_all();
    }
}

/// The live part for a process that runs no speed layer: folds the log from the cut up to `until` (the head if `None`), once,
/// with edges at `edges`.
pub fn replay(
    catalog: Arc<Catalog>,
    registry: &Registry,
    log: Arc<dyn EventLog>,
    options: SpeedOptions,
    built: &Built,
    until: Option<&Position>,
) -> Result<Arc<SpeedSnapshot>> {
    let head = log.head()?;
    let until = until.map_or(head.clone(), |until| head.min(until));
    let layer = SpeedLayer::new(catalog, registry, log, options, built)?;
    layer.add_epoch(&until)?;
    while layer.step_until(Some(&until))? {}
    Ok(layer.snapshot())
}

/// The offsets of one source in a position, for so many partitions.
fn offsets(position: &Position, source: &str, partitions: usize) -> Offsets {
    (0..partitions).map(|partition| position.partition(source, partition as u32)).collect()
}

fn which_built(catalog: &Catalog, lane: &Lane, built: &Built) -> Vec<bool> {
    let is_built = |name: &str| {
        let fingerprint = catalog.views.get(name).map(|view| &view.fingerprint);
        fingerprint.is_some() && built.fingerprints.get(name) == fingerprint
    };
    lane.views.iter().map(|view| is_built(&view.name)).collect()
}
