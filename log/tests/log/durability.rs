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
    fail_one_sync: AtomicBool,
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
                if self.fail_one_sync.swap(false, Ordering::SeqCst) {
                    return Fate::failed(Effect::Nothing, Failure::Io);
                }
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
fn appends_at_level_os_go_on_while_earlier_ones_are_synced() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    let mut heads = log.watch();
    disk.gate(true);
    append(&log, 0, "first");
    disk.wait_for_sync();
    for offset in 1..100 {
        assert_eq!(append(&log, 0, "meanwhile"), offset);
    }
    let waiting = submit(&log, 0, "by the committer's thread");
    assert_eq!(wait(waiting).unwrap().records, [(0, 100)]);
    assert_eq!(log.head().unwrap().partition("s", 0), 0, "nothing of it is durable");
    disk.gate(false);
    wait(heads.wait_for(|head| head.partition("s", 0) > 0)).unwrap();
    wait(heads.wait_for(|head| head.partition("s", 0) == 101)).unwrap();
    assert_eq!(payloads(&log, 0, 0).len(), 101);
}

#[test]
fn what_the_head_says_survives_a_power_cut_while_syncs_and_appends_overlap() {
    let disk = SimulatedDisk::new();
    let options = Options { durability: Durability::Os, segment_bytes_max: 20_000, ..Options::default() };
    let with = |options: &Options| Options { files: disk.process(), ..options.clone() };
    let interval = std::time::Duration::from_micros(50);
    let log = open(DIR.as_ref(), Options { os_sync_interval: interval, ..with(&options) }, 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for partition in 0..2 {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    append(log, partition, "0123456789012345678901234567890123456789");
                }
            });
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut last = [0; 2];
            for seed in 0..30 {
                let moved = |head: &watershed_log::Position| (0..2).all(|p| head.partition("s", p) > last[p as usize]);
                wait(log.watch().wait_for(moved)).unwrap();
                last = [0, 1].map(|partition| log.head().unwrap().partition("s", partition));
                let copy = disk.copy();
                copy.power_cut(seed);
                let options = Options { files: copy.process(), ..options.clone() };
                let reopened = FileLog::open_writer(DIR, options, Arc::new(ManualClock::new(0))).unwrap();
                for (partition, said) in (0..).zip(last) {
                    assert!(payloads(&reopened, partition, 0).len() as u64 >= said, "partition {partition}: {said}");
                }
            }
        }));
        done.store(true, Ordering::SeqCst);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    log.close().unwrap();
}

#[test]
fn a_sync_that_fails_beside_appends_stops_the_log() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    disk.fail_syncs.store(true, Ordering::SeqCst);
    append(&log, 0, "acknowledged, never durable");
    let stopped = (0..).find_map(|_| log.append("s", vec![Append::new(0, "more")]).err()).unwrap();
    assert!(matches!(&stopped, LogError::Stopped { .. }), "{stopped}");
    assert_eq!(log.head().unwrap().partition("s", 0), 0);
    assert!(matches!(log.close(), Err(LogError::Stopped { .. })));
}

#[test]
fn a_failure_told_to_the_sync_beside_appends_is_known_to_those_that_sync_after_it() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    disk.gate(true);
    append(&log, 0, "lost");
    disk.wait_for_sync();
    let mut durable = log.submit("s", vec![Append::new(0, "must be durable")], Some(Durability::Fsync));
    // Time for its own sync, if it made one now.
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(poll(&mut durable).is_none());
    // The next sync would tell that all is well.
    disk.fail_one_sync.store(true, Ordering::SeqCst);
    disk.gate(false);
    assert!(matches!(wait(durable), Err(LogError::Stopped { .. })));
    assert_eq!(log.head().unwrap().partition("s", 0), 0);
    assert!(matches!(log.close(), Err(LogError::Stopped { .. })));
}

#[test]
fn closing_waits_for_the_sync_beside_appends() {
    let (disk, options) = with_disk(Options { durability: Durability::Os, ..Options::default() });
    let log = open(DIR.as_ref(), options, 1);
    disk.gate(true);
    append(&log, 0, "x");
    disk.wait_for_sync();
    append(&log, 0, "y");
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| log.close());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!closing.is_finished(), "it is not durable yet");
        disk.gate(false);
        closing.join().unwrap().unwrap();
    });
    assert_eq!(payloads(&log, 0, 0), [b"x", b"y"]);
}

#[test]
fn callers_threads_and_the_committers_take_turns() {
    const EACH: u64 = 200;
    let (_, options) = with_disk(Options { segment_bytes_max: 20_000, queue_bytes_max: 3_000, ..Options::default() });
    let log = open(DIR.as_ref(), options, 3);
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (log, acknowledged) = (&log, &acknowledged);
            scope.spawn(move || {
                for number in 0..EACH {
                    let (partition, payload) = ((number % 3) as u32, format!("{thread}/{number}"));
                    let record = vec![Append::new(partition, payload.clone())];
                    let level = if number % 5 == 0 { Durability::Os } else { Durability::Fsync };
                    let appended = match (thread + number) % 4 {
                        0 => wait(log.submit("s", record, Some(level))),
                        _ => log.append("s", record),
                    };
                    acknowledged.lock().unwrap().push((appended.unwrap().records[0], payload));
                    if number % 50 == thread {
                        log.seal("s").unwrap();
                    }
                }
            });
        }
    });
    log.close().unwrap();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len() as u64, 8 * EACH);
    let found: Vec<Vec<Vec<u8>>> = (0..3).map(|partition| payloads(&log, partition, 0)).collect();
    assert_eq!(found.iter().map(Vec::len).sum::<usize>() as u64, 8 * EACH, "each once");
    for ((partition, offset), payload) in acknowledged {
        assert_eq!(found[partition as usize][offset as usize], payload.as_bytes());
    }
}

#[test]
fn a_panic_in_a_round_closes_the_log_for_all() {
    let disk = SimulatedDisk::new();
    let process = disk.process();
    let panics = Arc::new(AtomicBool::new(false));
    let now = panics.clone();
    let log = open(DIR.as_ref(), Options { files: process.clone(), ..Options::default() }, 1);
    append(&log, 0, "good");
    process.set_fates(move |operation| {
        let is_segment = operation.path.extension().is_some_and(|extension| extension == "segment");
        assert!(
            operation.kind != OperationKind::Write || !is_segment || !now.swap(false, Ordering::SeqCst),
            "as asked"
        );
        Fate::DONE
    });
    panics.store(true, Ordering::SeqCst);
    let appended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| append(&log, 0, "bad")));
    assert!(appended.is_err());
    assert!(matches!(log.append("s", vec![Append::new(0, "later")]), Err(LogError::Closed)));
    assert!(matches!(wait(submit(&log, 0, "later")), Err(LogError::Closed)));
    assert!(matches!(log.seal("s"), Err(LogError::Closed)));
    // If the committer's thread was awake still and did the round, its panic goes on here.
    let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log.close()));
    assert!(matches!(closed, Err(_) | Ok(Err(LogError::Closed))));
    assert_eq!(payloads(&log, 0, 0), [b"good"]);
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
