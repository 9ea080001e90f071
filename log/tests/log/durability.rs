//! Acknowledged means durable: shared syncs, failing syncs, backpressure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use watershed_log::simulation::{Effect, Failure, Fate, Operation, OperationKind, SimulatedDisk};
use watershed_log::{Append, AppendFuture, Durability, EventLog, FileLog, LogError, ManualClock, Options, Result};

use crate::{append, open, payloads};

/// Where the log is on the simulated disk.
const DIR: &str = "/log";

/// What happens to the disk: its syncs wait at a gate, and syncs and writes of segments fail when told to.
#[derive(Default)]
struct Disk {
    disk: SimulatedDisk,
    gate_closed: Mutex<bool>,
    moved: Condvar,
    waiting: AtomicU64,
    fail_syncs: AtomicBool,
    fail_writes: AtomicBool,
    syncs: AtomicU64,
}

impl Disk {
    fn gate(&self, closed: bool) {
        *self.gate_closed.lock().unwrap() = closed;
        self.moved.notify_all();
    }

    /// Returns once a sync waits at the closed gate.
    fn wait_for_sync(&self) {
        let mut closed = self.gate_closed.lock().unwrap();
        while self.waiting.load(Ordering::SeqCst) == 0 {
            closed = self.moved.wait(closed).unwrap();
        }
    }

    fn fate(&self, operation: &Operation) -> Fate {
        let is_segment = operation.path.extension().is_some_and(|extension| extension == "segment");
        let fails = |failure, effect, when: &AtomicBool| {
            if when.load(Ordering::SeqCst) { Fate::failed(effect, failure) } else { Fate::DONE }
        };
        match operation.kind {
            OperationKind::Write if is_segment => fails(Failure::Full, Effect::Nothing, &self.fail_writes),
            OperationKind::Sync if is_segment => {
                self.wait_at_gate();
                fails(Failure::Io, Effect::Nothing, &self.fail_syncs)
            }
            _ => Fate::DONE,
        }
    }

    fn wait_at_gate(&self) {
        let mut closed = self.gate_closed.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.moved.notify_all();
        while *closed {
            closed = self.moved.wait(closed).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.syncs.fetch_add(1, Ordering::SeqCst);
    }
}

fn with_disk(options: Options) -> (Arc<Disk>, Options) {
    let disk = Arc::new(Disk::default());
    let process = disk.disk.process();
    let fates = disk.clone();
    process.set_fates(move |operation| fates.fate(operation));
    (disk, Options { files: process, ..options })
}

fn submit(log: &FileLog, partition: u32, payload: &'static str) -> AppendFuture {
    log.append_async("s", vec![Append::new(partition, payload)])
}

/// The outcome of an append if it has one by now.
fn poll(append: &mut AppendFuture) -> Option<Result<u64>> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match append.as_mut().poll(&mut context) {
        std::task::Poll::Ready(outcome) => Some(outcome.map(|appended| appended.records[0].1)),
        std::task::Poll::Pending => None,
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn appends_that_arrive_during_a_sync_share_the_next() {
    let (disk, options) = with_disk(Options::default());
    let log = open(DIR.as_ref(), options, 1);
    disk.gate(true);
    let first = submit(&log, 0, "first");
    disk.wait_for_sync();
    let mut rest: Vec<_> = (0..500).map(|_| submit(&log, 0, "rest")).collect();
    assert!(rest.iter_mut().all(|append| poll(append).is_none()), "nothing is acknowledged before it is synced");
    assert_eq!(log.head().unwrap().partition("s", 0), 0, "nothing is visible before it is synced");
    disk.gate(false);
    assert_eq!(wait(first).unwrap().records, [(0, 0)]);
    for (offset, append) in (1..).zip(rest) {
        assert_eq!(wait(append).unwrap().records, [(0, offset)]);
    }
    let stats = log.stats();
    assert_eq!((stats.appends, stats.records), (501, 501));
    assert_eq!((stats.syncs, stats.batches), (2, 2));
}

#[test]
fn threads_that_append_at_once_share_syncs() {
    let (disk, options) = with_disk(Options::default());
    let log = open(DIR.as_ref(), options, 4);
    disk.gate(true);
    let started = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..32u32 {
            let (log, started) = (&log, &started);
            scope.spawn(move || {
                started.fetch_add(1, Ordering::SeqCst);
                append(log, number % 4, "x");
            });
        }
        while started.load(Ordering::SeqCst) < 32 {
            std::thread::yield_now();
        }
        disk.wait_for_sync();
        disk.gate(false);
    });
    let stats = log.stats();
    assert_eq!(stats.appends, 32);
    assert!(stats.syncs < stats.appends, "{stats:?}");
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let (disk, options) = with_disk(Options::default());
    let log = open(DIR.as_ref(), options, 2);
    append(&log, 0, "good");
    disk.gate(true);
    let caught = [submit(&log, 0, "a"), submit(&log, 1, "b")];
    disk.wait_for_sync();
    let queued = submit(&log, 0, "c");
    disk.fail_syncs.store(true, Ordering::SeqCst);
    disk.gate(false);
    for append in caught.into_iter().chain([queued]) {
        let error = wait(append).unwrap_err();
        assert!(matches!(&error, LogError::Stopped { path, .. } if path.extension().is_some()), "{error}");
    }
    disk.fail_syncs.store(false, Ordering::SeqCst);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    for _ in 0..3 {
        let error = log.append("s", vec![Append::new(1, "later")]).unwrap_err();
        assert!(matches!(&error, LogError::Stopped { .. }), "{error}");
    }
    assert!(matches!(log.create_source("t", 1), Err(LogError::Stopped { .. })));
    assert!(matches!(log.seal("s"), Err(LogError::Stopped { .. })));
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs, "a failed sync is not tried again");
    assert_eq!(log.head().unwrap().partition("s", 0), 1, "the head stays where the disk was good");
    assert_eq!(payloads(&log, 0, 0), [b"good"], "what is durable can be read");
    assert!(matches!(log.close(), Err(LogError::Stopped { .. })));
    let reopened = FileLog::open_writer(
        DIR,
        Options { files: disk.disk.process(), ..Options::default() },
        Arc::new(ManualClock::new(0)),
    )
    .unwrap();
    assert_eq!(payloads(&reopened, 0, 0)[0], b"good");
}

#[test]
fn a_failed_write_stops_the_log() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    append(&log, 0, "good");
    disk.fail_writes.store(true, Ordering::SeqCst);
    assert!(matches!(log.append("s", vec![Append::new(0, "bad")]), Err(LogError::Stopped { .. })));
    disk.fail_writes.store(false, Ordering::SeqCst);
    assert!(matches!(log.append("s", vec![Append::new(0, "bad")]), Err(LogError::Stopped { .. })));
}

#[test]
fn level_os_is_acknowledged_before_it_is_durable_and_visible() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    let mut heads = log.watch();
    disk.gate(true);
    assert_eq!(append(&log, 0, "x"), 0);
    assert_eq!(log.head().unwrap().partition("s", 0), 0);
    assert!(log.read("s", 0, 0, 1, 100).unwrap().is_empty());
    disk.gate(false);
    wait(heads.wait_for(|head| head.partition("s", 0) == 1)).unwrap();
    assert_eq!(payloads(&log, 0, 0), [b"x"]);
}

#[test]
fn a_full_queue_makes_appends_wait() {
    let (disk, options) = with_disk(Options { queue_bytes_max: 1_000, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    disk.gate(true);
    // Each takes its bytes and a fixed charge: some fit, the others wait without being queued.
    let mut appends: Vec<_> = (0..50).map(|_| submit(&log, 0, "0123456789")).collect();
    disk.wait_for_sync();
    assert!(appends.iter_mut().all(|append| poll(append).is_none()));
    disk.gate(false);
    for (offset, append) in (0..).zip(appends) {
        assert_eq!(wait(append).unwrap().records, [(0, offset)]);
    }
    assert!(log.stats().syncs > 5, "the queue held only a few at a time");
}

#[test]
fn closing_writes_what_is_queued_and_refuses_what_comes_after() {
    let (disk, options) = with_disk(Options::default());
    let log = open(DIR.as_ref(), options, 3);
    disk.gate(true);
    let queued: Vec<_> = (0..30).map(|number| submit(&log, number % 3, "x")).collect();
    let mut heads = log.watch();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| log.close());
        disk.wait_for_sync();
        disk.gate(false);
        closing.join().unwrap().unwrap();
    });
    for append in queued {
        wait(append).unwrap();
    }
    assert!(matches!(wait(submit(&log, 0, "late")), Err(LogError::Closed)));
    wait(async { while heads.changed().await.is_ok() {} });
    assert_eq!(heads.borrow().get("s"), Some(&[10, 10, 10][..]), "watchers learn the last head, then the end");
    assert_eq!(payloads(&log, 2, 0).len(), 10, "reading goes on");
}
