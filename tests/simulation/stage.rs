//! Who acts: real, blocking code on threads of its own, of which exactly one runs at a time.
//!
//! An *actor* is one call into the product (a batch run, a garbage collection, a query …). Each of its I/O operations passes its
//! [`Gate`]; there it may be held until the history goes on with it, and there its fate is drawn. The history (the *director*)
//! gives an actor so many operations and waits until it stands at its gate again or has ended. So the order of all
//! operations, whoever does them, is a function of the seed, though the code under test knows nothing of it.
//!
//! An actor runs inside a rayon pool of one thread: what the product does in parallel is done one after the other.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::trace::Trace;

/// An actor that stands still for so long, at no gate, waits for another one: a fault of the simulation or a deadlock.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How often an actor's I/O fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Of a thousand operations, how many have some trouble.
    pub per_mille: u32,
    /// The operation at which its process dies.
    pub dies_at: Option<u64>,
    /// Before its first operation that begins with these words it falls asleep, for as long as the history likes.
    pub sleeps_before: Option<&'static str>,
    /// Its first operation that begins with these words has trouble.
    pub strikes: Option<&'static str>,
}

/// What an operation meets at its gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// Nothing: it is done.
    Well,
    /// Trouble; the number says which, the operation knows of how many.
    Trouble(u32),
    /// The death of its process, before, within or after it.
    Dying(u32),
    /// Its process is dead: it never happens.
    Dead,
}

/// Where an actor's operations pass.
pub struct Gate {
    /// Who it is, in the trace.
    pub name: String,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    turn: Turn,
    operations: u64,
    /// How many more operations before it stands still.
    left: u64,
    fates: StdRng,
    trouble: Trouble,
    met_trouble: bool,
    asleep: bool,
    dead: bool,
    /// Wakes an operation that is held without a thread.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Director,
    Actor,
    Ended,
}

impl State {
    /// Whether the operation is one to be held at.
    fn stops(&mut self, what: &str) -> bool {
        let sleeps = self.trouble.sleeps_before.is_some_and(|words| what.starts_with(words));
        if sleeps {
            self.trouble.sleeps_before = None;
            self.asleep = true;
        }
        !self.dead && (self.left == 0 || sleeps)
    }

    /// What the operation meets.
    fn decide(&mut self, what: &str) -> Passed {
        if self.dead {
            return Passed::Dead;
        }
        self.left = self.left.saturating_sub(1);
        self.operations += 1;
        if self.trouble.dies_at.is_some_and(|at| self.operations >= at) {
            self.dead = true;
            return Passed::Dying(self.fates.random());
        }
        let struck = self.trouble.strikes.is_some_and(|words| what.starts_with(words));
        if struck {
            self.trouble.strikes = None;
        }
        if struck || self.trouble.per_mille > 0 && self.fates.random_range(0..1000) < self.trouble.per_mille {
            self.met_trouble = true;
            return Passed::Trouble(self.fates.random());
        }
        Passed::Well
    }

    /// The actor has its turn.
    fn give_turn(&mut self) {
        self.turn = Turn::Actor;
        self.asleep = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Gate {
    fn new(name: String, seed: u64, trouble: Trouble, left: u64) -> Arc<Gate> {
        let state = State {
            turn: Turn::Director,
            operations: 0,
            left,
            fates: StdRng::seed_from_u64(seed),
            trouble,
            met_trouble: false,
            asleep: false,
            dead: false,
            waker: None,
        };
        Arc::new(Gate { name, state: Mutex::new(state), moved: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actor waits for its turn.
    fn await_turn<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.moved.wait_while(state, |state| state.turn != Turn::Actor).unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation of this thread, which may be held here if `holds`: not where the product has a lock that another actor may
    /// want.
    fn pass(&self, holds: bool, what: &str) -> Passed {
        let mut state = self.lock();
        if holds && state.stops(what) {
            state.turn = Turn::Director;
            self.moved.notify_all();
            state = self.await_turn(state);
        }
        state.decide(what)
    }

    /// The same for an operation on a thread that others need: the threads of a store serve all of its process.
    async fn pass_async(&self, what: &str) -> Passed {
        let mut held = false;
        poll_fn(|context| {
            let mut state = self.lock();
            if !held && state.stops(what) {
                held = true;
                state.turn = Turn::Director;
                self.moved.notify_all();
            }
            if held && state.turn != Turn::Actor {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(state.decide(what))
        })
        .await
    }

    /// Whether one of its operations met trouble.
    pub fn met_trouble(&self) -> bool {
        self.lock().met_trouble
    }

    /// Whether it fell asleep, and nobody has woken it yet.
    pub fn is_asleep(&self) -> bool {
        self.lock().asleep
    }

    /// Whether its process died.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    fn end(&self) {
        self.lock().turn = Turn::Ended;
        self.moved.notify_all();
    }
}

/// What all of a history share: who acts now, and the trace.
#[derive(Default)]
pub struct Stage {
    current: Mutex<Option<Arc<Gate>>>,
    operations: AtomicU64,
    troubles: AtomicU64,
    closed: AtomicBool,
    /// What happened.
    pub trace: Trace,
}

impl Stage {
    fn current(&self) -> MutexGuard<'_, Option<Arc<Gate>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One I/O operation of whoever acts now, held at its gate if `holds`. The director's own looks pass freely and leave no trace.
    pub fn operation(&self, holds: bool, what: &str) -> Passed {
        match self.gate() {
            Ok(gate) => self.note(&gate, what, gate.pass(holds, what)),
            Err(passed) => passed,
        }
    }

    /// The same for an operation on a thread that others need.
    pub async fn operation_async(&self, what: &str) -> Passed {
        match self.gate() {
            Ok(gate) => self.note(&gate, what, gate.pass_async(what).await),
            Err(passed) => passed,
        }
    }

    fn gate(&self) -> Result<Arc<Gate>, Passed> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Passed::Dead);
        }
        self.current().clone().ok_or(Passed::Well)
    }

    /// How many I/O operations there were, and how many of them met trouble.
    pub fn operations(&self) -> (u64, u64) {
        (self.operations.load(Ordering::SeqCst), self.troubles.load(Ordering::SeqCst))
    }

    fn note(&self, gate: &Gate, what: &str, passed: Passed) -> Passed {
        match passed {
            Passed::Well => {
                self.operations.fetch_add(1, Ordering::SeqCst);
                self.trace.note(format_args!("{}: {what}", gate.name));
            }
            Passed::Trouble(_) | Passed::Dying(_) => {
                self.operations.fetch_add(1, Ordering::SeqCst);
                self.troubles.fetch_add(1, Ordering::SeqCst);
                self.trace.note(format_args!("{}: {what} {passed:?}", gate.name));
            }
            // What a dead process still tries is no part of the history.
            Passed::Dead => {}
        }
        passed
    }

    /// Does something of a simulated process here and now, without a thread of its own: it is never held. Gives its outcome and
    /// its gate.
    pub fn directly<T>(&self, name: String, seed: u64, trouble: Trouble, act: impl FnOnce() -> T) -> (T, Arc<Gate>) {
        // Nobody could wake it.
        let gate = Gate::new(name, seed, Trouble { sleeps_before: None, ..trouble }, u64::MAX);
        *self.current() = Some(Arc::clone(&gate));
        let outcome = act();
        *self.current() = None;
        (outcome, gate)
    }

    /// Nothing happens any more, whoever still tries.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Adds the outcome of an operation to the trace, unless the director is looking.
    pub fn outcome(&self, outcome: impl FnOnce() -> String) {
        if self.current().is_some() {
            self.trace.note(format_args!("  {}", outcome()));
        }
    }
}

/// What an actor gives, or its panic.
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

/// An actor under way, and what it will have given.
pub struct Actor<T> {
    /// Its gate.
    pub gate: Arc<Gate>,
    outcome: Arc<Mutex<Option<Outcome<T>>>>,
    /// Its thread; it goes when the actor has ended.
    _thread: rayon::ThreadPool,
}

impl<T: Send + 'static> Actor<T> {
    /// An actor that has not begun. What it does with I/O is drawn from `seed`.
    pub fn new(name: String, seed: u64, trouble: Trouble, act: impl FnOnce() -> T + Send + 'static) -> Actor<T> {
        let gate = Gate::new(name, seed, trouble, 0);
        let outcome = Arc::new(Mutex::new(None));
        let thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let (its_gate, its_outcome) = (Arc::clone(&gate), Arc::clone(&outcome));
        thread.spawn(move || {
            drop(its_gate.await_turn(its_gate.lock()));
            let ended = catch_unwind(AssertUnwindSafe(act));
            *its_outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
            its_gate.end();
        });
        Actor { gate, outcome, _thread: thread }
    }

    /// Lets it do so many operations more. Gives its outcome if it ended; a panic of its goes on here.
    pub fn go_on(&self, stage: &Stage, operations: u64) -> Option<T> {
        *stage.current() = Some(Arc::clone(&self.gate));
        let mut state = self.gate.lock();
        state.left = operations;
        state.give_turn();
        self.gate.moved.notify_all();
        let (state, waited) = self
            .gate
            .moved
            .wait_timeout_while(state, STUCK_AFTER, |state| state.turn == Turn::Actor)
            .unwrap_or_else(PoisonError::into_inner);
        let ended = state.turn == Turn::Ended;
        drop(state);
        *stage.current() = None;
        assert!(!waited.timed_out(), "{} stands still, and not at its gate", self.gate.name);
        if !ended {
            return None;
        }
        match self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(outcome)) => Some(outcome),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => unreachable!("an actor that ended has an outcome"),
        }
    }

    /// Its process dies: none of its operations happens any more. Runs what is left of it to the end.
    pub fn kill(self, stage: &Stage) {
        self.gate.lock().dead = true;
        // What a dead process would have given, nobody learns.
        let _ = self.go_on(stage, u64::MAX);
    }

    /// Spares it trouble from here on.
    pub fn relieve(&self) {
        self.gate.lock().trouble = Trouble::default();
    }
}

impl<T> Drop for Actor<T> {
    fn drop(&mut self) {
        // After a failed check, actors may still stand at their gates: let their threads end.
        let mut state = self.gate.lock();
        if state.turn == Turn::Director {
            state.dead = true;
            state.give_turn();
            self.gate.moved.notify_all();
        }
    }
}
