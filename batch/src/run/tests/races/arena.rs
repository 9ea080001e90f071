//! A store that several writers use at once, one request at a time: a seed decides whose turn it is and what goes wrong.
//!
//! Every request waits until it is its writer's turn, so the order of all requests, and with it the whole history, follows from
//! the seed. A request may fail before or after its effect; a write may take effect long after its failure was told; a create
//! may be told that the object exists when it does not; new objects may be missing from listings for a while; one
//! writer may sleep through many turns of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, memory::InMemory, path::Path};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::oneshot;

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is done and answered.
    Done,
    /// It fails and has no effect.
    FailedBefore,
    /// It has its effect, and the answer is a failure.
    FailedAfter,
    /// The answer is a failure, and the effect comes some turns later.
    Late,
    /// A create is told that the object exists, which may not be so.
    Exists,
}

/// What kind of request it is: what can go wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Begin,
    Read,
    List,
    Put,
    Create,
    Delete,
}

impl Kind {
    fn fates(self) -> &'static [Fate] {
        match self {
            Kind::Begin => &[Fate::Done],
            Kind::Read | Kind::List => &[Fate::FailedBefore],
            Kind::Put => &[Fate::FailedBefore, Fate::FailedAfter, Fate::Late],
            Kind::Create => &[Fate::FailedBefore, Fate::FailedAfter, Fate::FailedAfter, Fate::Late, Fate::Exists],
            Kind::Delete => &[Fate::FailedBefore, Fate::FailedAfter],
        }
    }
}

struct Waiting {
    what: String,
    kind: Kind,
    turn: oneshot::Sender<Fate>,
}

/// A write whose failure was told and whose effect is still to come.
struct LateWrite {
    path: Path,
    payload: PutPayload,
    mode: PutMode,
}

struct State {
    rng: StdRng,
    turn: u64,
    waiting: BTreeMap<usize, Waiting>,
    /// Writers that are neither waiting for a turn nor at their end.
    busy: usize,
    faults_left: u32,
    late: Vec<LateWrite>,
    /// For how many turns listings do not show a new object.
    hidden_turns: u64,
    created_at: BTreeMap<String, u64>,
    sleeper: usize,
    sleeps: Range<u64>,
    seen: Seen,
}

/// What was seen to happen to the objects.
#[derive(Default)]
pub(super) struct Seen {
    /// By manifest number: the writers whose create took effect, in order. All but the first are ghosts.
    pub effects: BTreeMap<u64, Vec<String>>,
    /// How often each fate befell a request.
    pub fates: BTreeMap<String, u64>,
    /// What must not happen.
    pub violations: Vec<String>,
    /// Every turn, in words.
    pub trace: Vec<String>,
    newest: u64,
    live: BTreeSet<String>,
}

/// The store, and whose turn it is.
pub(super) struct Arena {
    pub objects: Arc<InMemory>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Arena {
    pub(super) fn new(seed: u64, writers: usize) -> Arc<Arena> {
        let mut rng = StdRng::seed_from_u64(seed);
        let begin = rng.random_range(0..60);
        let state = State {
            turn: 0,
            waiting: BTreeMap::new(),
            busy: writers,
            faults_left: rng.random_range(0..=8),
            late: Vec::new(),
            hidden_turns: if rng.random_bool(0.5) { rng.random_range(1..40) } else { 0 },
            created_at: BTreeMap::new(),
            sleeper: rng.random_range(0..writers),
            sleeps: begin..begin + rng.random_range(0..200),
            seen: Seen::default(),
            rng,
        };
        Arc::new(Arena { objects: Arc::default(), state: Mutex::new(state), changed: Condvar::new() })
    }

    /// An arena where nothing fails, but no listing ever shows what is new.
    pub(super) fn behind(writers: usize) -> Arc<Arena> {
        let arena = Arena::new(0, writers);
        let mut state = arena.state();
        (state.faults_left, state.hidden_turns, state.sleeps) = (0, u64::from(u32::MAX), 0..0);
        drop(state);
        arena
    }

    /// Prints what has happened so far.
    #[expect(clippy::print_stderr, reason = "a writer panics")]
    pub(super) fn tell(&self) {
        eprintln!("{:#?}", self.state().seen.trace);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of `writer`.
    pub(super) async fn turn(&self, writer: usize, kind: Kind, what: String) -> Fate {
        self.enqueue(writer, kind, what).await.expect("the arena outlives its writers")
    }

    /// Waits for the first turn of `writer`, which has done nothing yet.
    pub(super) fn begin(&self, writer: usize) {
        let turn = self.enqueue(writer, Kind::Begin, "begins".to_owned());
        turn.blocking_recv().expect("the arena outlives its writers");
    }

    /// `writer` will ask nothing more.
    pub(super) fn end(&self) {
        self.state().busy -= 1;
        self.changed.notify_all();
    }

    fn enqueue(&self, writer: usize, kind: Kind, what: String) -> oneshot::Receiver<Fate> {
        let (turn, its_turn) = oneshot::channel();
        let mut state = self.state();
        let other = state.waiting.insert(writer, Waiting { what, kind, turn });
        assert!(other.is_none(), "a writer asks one thing at a time");
        state.busy -= 1;
        self.changed.notify_all();
        its_turn
    }

    /// Gives turns until all writers are at their end; then what is still under way arrives.
    pub(super) fn give_turns(&self) -> Seen {
        loop {
            let state = self.changed.wait_while(self.state(), |state| state.busy > 0);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                break;
            }
            if !state.late.is_empty() && state.rng.random_bool(0.2) {
                self.arrive_late(&mut state);
            }
            state.next_turn();
        }
        let mut state = self.state();
        while !state.late.is_empty() {
            self.arrive_late(&mut state);
        }
        std::mem::take(&mut state.seen)
    }

    fn arrive_late(&self, state: &mut State) {
        let at = state.rng.random_range(0..state.late.len());
        let LateWrite { path, payload, mode } = state.late.swap_remove(at);
        state.seen.trace.push(format!("late: {path}"));
        let options = PutOptions::from(mode);
        let done = self.objects.put_opts(&path, payload.clone(), options).now_or_never().expect("memory does not wait");
        if done.is_ok() {
            self.wrote(state, &path, &payload);
        }
    }

    /// The failure of a write is told; its effect comes later.
    pub(super) fn write_late(&self, path: &Path, payload: PutPayload, mode: PutMode) {
        self.state().late.push(LateWrite { path: path.clone(), payload, mode });
    }

    /// A write has had its effect.
    pub(super) fn written(&self, path: &Path, payload: &PutPayload) {
        self.wrote(&mut self.state(), path, payload);
    }

    fn wrote(&self, state: &mut State, path: &Path, payload: &PutPayload) {
        let turn = state.turn;
        state.created_at.insert(path.to_string(), turn);
        let Some(number) = crate::store::layout::number_of("manifests", path.as_ref()) else { return };
        let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        let manifest: Value = serde_json::from_slice(&bytes).expect("a manifest is JSON");
        let seen = &mut state.seen;
        let writer = manifest["body"]["writer"].as_str().expect("a writer").to_owned();
        seen.effects.entry(number).or_default().push(writer);
        if number <= seen.newest {
            // A ghost: the number was free again because it was collected.
            return;
        }
        if number != seen.newest + 1 {
            seen.violations.push(format!("manifest {number} follows manifest {}", seen.newest));
        }
        (seen.newest, seen.live) = (number, BTreeSet::new());
        paths(&manifest["body"], &mut seen.live);
        for file in &seen.live {
            if self.objects.head(&Path::from(file.as_str())).now_or_never().is_none_or(|found| found.is_err()) {
                seen.violations.push(format!("manifest {number} names {file}, which is not there"));
            }
        }
    }

    /// An object is about to be deleted.
    pub(super) fn deleting(&self, path: &Path) {
        let mut state = self.state();
        let seen = &mut state.seen;
        if seen.live.contains(path.as_ref()) {
            seen.violations.push(format!("{path} is deleted, which manifest {} names", seen.newest));
        }
        if crate::store::layout::number_of("manifests", path.as_ref()) == Some(seen.newest) {
            seen.violations.push(format!("the newest manifest, {}, is deleted", seen.newest));
        }
    }

    /// Whether listings hide new objects for a while.
    pub(super) fn hides(&self) -> bool {
        self.state().hidden_turns > 0
    }

    /// Whether listings show an object by now.
    pub(super) fn is_listed(&self, path: &Path) -> bool {
        let state = self.state();
        let created_at = state.created_at.get(path.as_ref());
        created_at.is_none_or(|created_at| created_at + state.hidden_turns <= state.turn)
    }
}

impl State {
    fn next_turn(&mut self) {
        self.turn += 1;
        let awake = |writer: &&usize| **writer != self.sleeper || !self.sleeps.contains(&self.turn);
        let mut candidates: Vec<usize> = self.waiting.keys().filter(awake).copied().collect();
        if candidates.is_empty() {
            candidates = self.waiting.keys().copied().collect();
        }
        let writer = candidates[self.rng.random_range(0..candidates.len())];
        let Some(Waiting { what, kind, turn }) = self.waiting.remove(&writer) else { return };
        let mut fate = Fate::Done;
        // What commits is where it hurts.
        let likely = if kind == Kind::Create { 0.4 } else { 0.1 };
        if self.faults_left > 0 && self.rng.random_bool(likely) {
            self.faults_left -= 1;
            fate = kind.fates()[self.rng.random_range(0..kind.fates().len())];
        }
        *self.seen.fates.entry(format!("{fate:?}")).or_default() += 1;
        self.seen.trace.push(format!("{writer}: {what}: {fate:?}"));
        self.busy += 1;
        let _ = turn.send(fate);
    }
}

/// Every `path` in a manifest.
fn paths(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(path)) = members.get("path") {
                found.insert(path.clone());
            }
            members.values().for_each(|value| paths(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| paths(value, found)),
        _ => {}
    }
}
