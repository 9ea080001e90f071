//! Whose turn it is to do the committer's rounds: its thread's, or that of a caller who waits for an append while the thread rests.
//!
//! The caller then need not be woken, nor the thread: two switches between threads less, which take as long as writing 100 KB.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::Rounds;
use super::beside::Syncing;

/// How often a caller looks whether another's turn ends: for about as long as publishing a head takes.
const SPINS: usize = 200;

pub(crate) struct Turns {
    /// `None` once the log is closed, and while someone does a round: so a panic in one closes the log and drops what waits for
    /// an answer.
    rounds: Mutex<Option<Box<Rounds>>>,
    /// Whether the thread has been called since it looked.
    called: AtomicBool,
    /// Whether the thread will look again before a sync is due, without being called.
    looks_again: AtomicBool,
    /// `None` where the log is stepped.
    thread: OnceLock<Thread>,
    /// The last sync beside the rounds.
    beside: Mutex<Option<JoinHandle<()>>>,
    /// A sync beside the rounds that has ended, for whoever has the next turn.
    ended: Mutex<Option<Syncing>>,
}

/// Where rounds are done, while it is somebody's turn.
type Turn<'a> = MutexGuard<'a, Option<Box<Rounds>>>;

impl Turns {
    pub fn new(rounds: Rounds) -> Arc<Self> {
        Arc::new(Self {
            rounds: Mutex::new(Some(Box::new(rounds))),
            called: AtomicBool::default(),
            looks_again: AtomicBool::default(),
            thread: OnceLock::new(),
            beside: Mutex::default(),
            ended: Mutex::default(),
        })
    }

    /// Starts the thread that does what no caller does.
    pub fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let turns = self.clone();
        let started = std::thread::Builder::new().name("log-committer".to_owned()).spawn(move || turns.run())?;
        self.thread.get_or_init(|| started.thread().clone());
        Ok(started)
    }

    pub fn is_stepped(&self) -> bool {
        self.thread.get().is_none()
    }

    /// Lets the thread look for what is to be done.
    pub fn call(&self) {
        self.called.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Works when it is this thread's turn; `None` once the log is closed.
    pub fn wait<T>(self: &Arc<Self>, work: impl FnOnce(&mut Rounds) -> T) -> Option<T> {
        self.hold(self.rounds.lock().unwrap_or_else(PoisonError::into_inner), work)
    }

    /// Does a round if it is nobody else's turn and something waits for one. Otherwise the thread does it, and is called.
    pub fn try_round(self: &Arc<Self>) -> bool {
        // Another's turn is mostly a sync, or so short that it ends meanwhile.
        let Some(turn) = self.try_lock(SPINS) else {
            self.call();
            return false;
        };
        let done = self.hold(turn, |rounds| {
            rounds.take_waiting();
            let some = rounds.has_work();
            if some {
                rounds.round();
            }
            (some, rounds.has_work())
        });
        if matches!(done, Some((_, true))) {
            self.call();
        }
        matches!(done, Some((true, _)))
    }

    fn try_lock(&self, spins: usize) -> Option<Turn<'_>> {
        for _ in 0..spins {
            match self.rounds.try_lock() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(turn)) => return Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }

    /// Does all rounds that are left to the thread, until the log is closed.
    fn run(self: &Arc<Self>) {
        let step = |rounds: &mut Rounds| {
            let more = rounds.step();
            let sync_due_in = rounds.sync_due_in();
            self.looks_again.store(sync_due_in.is_some(), Ordering::SeqCst);
            (!rounds.is_closed()).then_some((more, sync_due_in))
        };
        while let Some(Some((more, sync_due_in))) = self.wait(step) {
            if !more {
                self.rest(sync_due_in);
            }
        }
    }

    /// Until the thread is called, or so long. May end earlier.
    fn rest(&self, at_most: Option<Duration>) {
        if !self.called.swap(false, Ordering::SeqCst) {
            at_most.map_or_else(std::thread::park, std::thread::park_timeout);
            self.called.store(false, Ordering::SeqCst);
        }
    }

    fn hold<T>(self: &Arc<Self>, turn: Turn<'_>, work: impl FnOnce(&mut Rounds) -> T) -> Option<T> {
        let done = self.work(turn, work);
        self.take_note();
        done
    }

    /// Takes note of a sync that has ended, unless it is somebody's turn: then they do.
    ///
    /// The thread that synced does not wait for its turn. Where one append follows another it would be woken after each, and always find
    /// that the next had begun.
    fn take_note(self: &Arc<Self>) {
        // Whoever has the turn looks here after it: either that is before this sync ended, and the turn is free now, or they find it.
        while self.ended().is_some() {
            let Some(turn) = self.try_lock(1) else { return };
            if self.work(turn, |_| ()).is_none() {
                return;
            }
        }
    }

    fn work<T>(self: &Arc<Self>, mut turn: Turn<'_>, work: impl FnOnce(&mut Rounds) -> T) -> Option<T> {
        let mut rounds = turn.take()?;
        let ended = self.ended().take();
        if let Some(syncing) = ended {
            rounds.synced_beside(syncing);
        }
        let done = work(&mut rounds);
        if let Some(syncing) = rounds.begun_sync()
            && let Err(error) = self.sync_beside(syncing)
        {
            rounds.never_sync_beside(&error);
        }
        if rounds.sync_due_in().is_some() && !self.looks_again.load(Ordering::SeqCst) {
            self.call();
        }
        if !rounds.is_closed() {
            *turn = Some(rounds);
        }
        Some(done)
    }

    fn sync_beside(self: &Arc<Self>, mut syncing: Syncing) -> std::io::Result<()> {
        let turns = self.clone();
        let thread = std::thread::Builder::new().name("log-sync".to_owned()).spawn(move || {
            syncing.run();
            *turns.ended() = Some(syncing);
            turns.take_note();
        })?;
        *self.last_beside() = Some(thread);
        Ok(())
    }

    /// Waits for the end of the sync that is under way, if one is.
    pub fn join_beside(&self) {
        let last = self.last_beside().take();
        if let Some(thread) = last {
            // A panic there is one in the rounds, which closes the log.
            let _ = thread.join();
        }
    }

    fn ended(&self) -> MutexGuard<'_, Option<Syncing>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_beside(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
