//! The log in a directory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::append_queue::{AppendQueue, Submitted};
use crate::commands::Command;
use crate::committer::{Committer, Rounds, Turns};
use crate::files::Disk;
use crate::lock::WriterLock;
use crate::options::Counters;
use crate::partition::Partition;
use crate::recovery::Recovered;
use crate::sync_pool::SyncPool;
use crate::{
    Append, AppendFuture, Appended, Clock, Deleted, Durability, EventLog, FileSystem, LogError, LogStats, Numbered,
    NumberedFuture, Numbering, Offset, OperatingSystem, Options, Position, RecordChunk, RecoveryReport, Result,
    commands, event_log, files, follow, recovery, sources,
};

/// A source that this handle knows.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Index of its first partition among all that the committer writes.
    pub first_slot: usize,
    pub partitions: Arc<[Arc<Partition>]>,
}

impl Source {
    /// Its partitions among all that the committer writes.
    fn slots(&self) -> Range<usize> {
        self.first_slot..self.first_slot + self.partitions.len()
    }
}

/// What readers, the committer and the follower of a head share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub disk: Disk,
    pub dir: PathBuf,
    sources: RwLock<BTreeMap<String, Source>>,
}

impl Shared {
    fn new(disk: Disk, dir: &Path) -> Arc<Self> {
        Arc::new(Self { disk, dir: dir.to_owned(), sources: RwLock::default() })
    }

    pub fn source(&self, name: &str) -> Option<Source> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn add_source(&self, name: &str, first_slot: usize, partitions: Vec<Arc<Partition>>) {
        let source = Source { first_slot, partitions: partitions.into() };
        self.sources.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), source);
    }

    fn all(&self) -> BTreeMap<String, Source> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds out about sources that another process has created.
    pub fn look(&self) -> Result<()> {
        for (name, _) in sources::list(&self.disk, &self.dir)? {
            self.look_for(&name)?;
        }
        Ok(())
    }

    fn look_for(&self, name: &str) -> Result<Option<Source>> {
        if let Some(known) = self.source(name) {
            return Ok(Some(known));
        }
        let Some(partitions) = sources::partitions(&self.disk, &self.dir, name)? else { return Ok(None) };
        let open = |partition: u32| {
            let dir = self.dir.join(name).join(partition.to_string());
            Partition::written_elsewhere(self.disk.clone(), name.to_owned(), partition, dir).map(Arc::new)
        };
        let partitions = (0..partitions).map(open).collect::<Result<Vec<_>>>()?;
        self.add_source(name, 0, partitions);
        Ok(self.source(name))
    }

    fn position(&self, offset: impl Fn(&Partition) -> Result<Offset>) -> Result<Position> {
        let mut position = Position::new();
        for (name, source) in self.all() {
            let offsets = source.partitions.iter().map(|partition| offset(partition)).collect::<Result<_>>()?;
            position.set_source(name, offsets);
        }
        Ok(position)
    }

    pub fn head(&self) -> Result<Position> {
        self.position(Partition::head)
    }
}

/// What only a writer has.
struct Writer {
    queue: AppendQueue,
    turns: Arc<Turns>,
    heads: watch::Receiver<Position>,
    counters: Arc<Counters>,
    recovery: RecoveryReport,
    open: Mutex<Option<Open>>,
}

/// What ends when the log is closed.
struct Open {
    /// `None` where the log is stepped.
    thread: Option<JoinHandle<()>>,
    lock: WriterLock,
}

/// A log in a directory of this machine: the only writer, or one of any number of readers.
///
/// All methods take `&self`; share it in an [`Arc`]. A writer that is dropped closes.
pub struct FileLog {
    shared: Arc<Shared>,
    writer: Option<Writer>,
    follower: OnceLock<watch::Receiver<Position>>,
}

impl std::fmt::Debug for FileLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLog").field("dir", &self.shared.dir).field("writes", &self.writer.is_some()).finish()
    }
}

impl Writer {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the committer for something that is not an append and waits for the answer.
    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let answer = self.queue.send(command)?;
        if self.turns.is_stepped() {
            self.turns.wait(Rounds::take_waiting);
        } else {
            self.turns.call();
        }
        event_log::block_on_answer(answer)
    }

    /// Waits for an append: does rounds until it is answered, unless someone else does them.
    fn wait_for<T>(&self, mut append: Answer<T>) -> Result<T> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(answer) = append.as_mut().poll(&mut context) {
                return answer;
            }
            if self.turns.is_stepped() {
                self.turns.wait(Rounds::step);
            } else if !self.turns.try_round() {
                return event_log::block_on(append);
            }
        }
    }
}

impl FileLog {
    /// Opens the log in `dir`, or creates it, as its only writer.
    ///
    /// Checks what a writer that died left behind: see [`FileLog::recovery`]. Append times come from `clock`. Fails with
    /// [`LogError::Locked`] while another handle writes, and with [`LogError::Damaged`] if durable records are missing.
    pub fn open_writer(dir: impl AsRef<Path>, options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let sync_threads = options.sync_threads;
        Self::open(dir.as_ref(), options, clock, sync_threads, Rounds::timed, |turns| turns.start().map(Some))
    }

    /// The same without a thread: what is appended is written when [`FileLog::step`] is called, by the caller, and all other
    /// calls do their work before they return. Nothing but `clock` tells the time. For deterministic tests.
    pub fn open_stepped(dir: impl AsRef<Path>, options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open(dir.as_ref(), options, clock, 1, Rounds::stepped, |_| Ok(None))
    }

    fn open(
        dir: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        sync_threads: usize,
        rounds: impl FnOnce(Committer) -> Rounds,
        start: impl FnOnce(&Arc<Turns>) -> std::io::Result<Option<JoinHandle<()>>>,
    ) -> Result<Self> {
        options.check()?;
        let disk = options.files.clone();
        files::create_dir(&disk, dir)?;
        let lock = WriterLock::take(&disk, dir, options.control_socket.as_deref())?;
        let shared = Shared::new(disk, dir);
        let Recovered { writers, producers, report: recovery } =
            recovery::open_all(&shared, options.producers_max, clock.now_micros(), sync_threads)?;
        let (heads, heads_seen) = watch::channel(shared.head()?);
        let (commands, taken) = commands::channel();
        let counters = Arc::new(Counters::default());
        let starting = |error| LogError::io("start the threads of the log in", dir)(error);
        let turns = Turns::new(rounds(Committer {
            commands: taken,
            syncs: SyncPool::new(sync_threads),
            options: options.clone(),
            clock,
            shared: shared.clone(),
            counters: counters.clone(),
            heads,
            writers,
            producers,
        }));
        let open = Mutex::new(Some(Open { thread: start(&turns).map_err(starting)?, lock }));
        let queue = AppendQueue::new(commands, turns.clone(), &options);
        let writer = Writer { queue, turns, heads: heads_seen, counters, recovery, open };
        Ok(Self { shared, writer: Some(writer), follower: OnceLock::new() })
    }

    /// Opens the log in `dir` for reading, whether or not a process writes to it. Takes no lock and changes nothing.
    pub fn open_reader(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_reader_on(Arc::new(OperatingSystem), dir)
    }

    /// The same, of a log whose files are elsewhere than with the operating system.
    pub fn open_reader_on(files: Arc<dyn FileSystem>, dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !files::exists(&files, &dir.join("lock"))? {
            return Err(LogError::NotALog { dir: dir.to_owned() });
        }
        let shared = Shared::new(files, dir);
        shared.look()?;
        Ok(Self { shared, writer: None, follower: OnceLock::new() })
    }

    /// A reader of the same log that begins with what this handle knows of its segments, and goes on when this one is closed and another
    /// process writes.
    pub fn reader(&self) -> Result<Self> {
        let shared = Shared::new(self.shared.disk.clone(), &self.shared.dir);
        for (name, source) in self.shared.all() {
            let read = |partition: &Arc<Partition>| partition.reader().map(Arc::new);
            shared.add_source(&name, 0, source.partitions.iter().map(read).collect::<Result<_>>()?);
        }
        Ok(Self { shared, writer: None, follower: OnceLock::new() })
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// What opening the log for writing had to mend. Empty for a reader.
    pub fn recovery(&self) -> RecoveryReport {
        self.writer.as_ref().map(|writer| writer.recovery.clone()).unwrap_or_default()
    }

    /// What this writer has done since it was opened. All zero for a reader.
    pub fn stats(&self) -> LogStats {
        self.writer.as_ref().map(|writer| writer.counters.snapshot()).unwrap_or_default()
    }

    /// Names in the lock file the socket on which this process takes requests.
    pub fn announce(&self, socket: Option<&Path>) -> Result<()> {
        let open = self.writer()?.open();
        open.as_ref().map_or(Err(LogError::Closed), |open| open.lock.announce(socket))
    }

    /// Seals the active segments of a source, those with records, so that they can be deleted when their time has come.
    pub fn seal(&self, source: &str) -> Result<()> {
        let writer = self.writer()?;
        let found = self.source(source)?;
        let slots = found.slots();
        writer.ask(|reply| Command::Seal { slots, reply })
    }

    /// Does one round of a log that is [stepped](FileLog::open_stepped): takes all that was queued, writes at most one batch to
    /// each partition, syncs if one is due, and acknowledges. Returns whether something is left for another round. A log with
    /// a thread of its own needs no steps.
    pub fn step(&self) -> bool {
        let stepped = self.writer.as_ref().filter(|writer| writer.turns.is_stepped());
        stepped.and_then(|writer| writer.turns.wait(Rounds::step)).unwrap_or(false)
    }

    /// Writes and syncs what is queued, stops the threads and releases the lock. Reading goes on to work; appends fail with
    /// [`LogError::Closed`]. Fails if the log had stopped. Does nothing the second time.
    pub fn close(&self) -> Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let mut open = writer.open();
        let Some(Open { thread, lock }) = open.take() else { return Ok(()) };
        let asked = writer.queue.send(|reply| Command::Close { reply });
        let joined = if let Some(thread) = thread {
            writer.turns.call();
            thread.join()
        } else {
            writer.turns.wait(Rounds::take_waiting);
            Ok(())
        };
        let closed = asked.and_then(event_log::block_on_answer);
        writer.turns.join_beside();
        drop(lock);
        if let Err(panic) = joined
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
        closed
    }

    /// What the queue of appends is given, and whose queue that is.
    fn submitted<'a>(
        &'a self,
        source: &'a str,
        records: Vec<Append>,
        durability: Option<Durability>,
    ) -> Result<(&'a Writer, Submitted<'a>)> {
        let (writer, found) = (self.writer()?, self.source(source)?);
        Ok((writer, Submitted { source, slots: found.slots(), records, durability }))
    }

    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or_else(|| LogError::ReadOnly { dir: self.shared.dir.clone() })
    }

    fn source(&self, name: &str) -> Result<Source> {
        let found = match self.shared.source(name) {
            None if self.writer.is_none() => self.shared.look_for(name)?,
            known => known,
        };
        found.ok_or_else(|| LogError::UnknownSource { name: name.to_owned() })
    }

    fn partition(&self, name: &str, partition: u32) -> Result<Arc<Partition>> {
        let source = self.source(name)?;
        let partitions = source.partitions.len() as u32;
        source.partitions.get(partition as usize).cloned().ok_or_else(|| {
            let name = name.to_owned();
            LogError::UnknownPartition { name, partition, partitions }
        })
    }

    fn look(&self) -> Result<()> {
        if self.writer.is_none() { self.shared.look() } else { Ok(()) }
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Lets the committer's thread do what was queued.
fn called<T: Send + 'static>(queued: Result<(&Writer, Answer<T>)>) -> Answer<T> {
    match queued {
        Ok((writer, append)) => {
            writer.turns.call();
            append
        }
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

impl EventLog for FileLog {
    fn create_source(&self, name: &str, partitions: u32) -> Result<()> {
        sources::check(name, partitions)?;
        let name = name.to_owned();
        self.writer()?.ask(|reply| Command::CreateSource { name, partitions, reply })
    }

    fn sources(&self) -> Result<Vec<String>> {
        self.look()?;
        Ok(self.shared.all().into_keys().collect())
    }

    fn partitions(&self, source: &str) -> Result<u32> {
        Ok(self.source(source)?.partitions.len() as u32)
    }

    fn start(&self) -> Result<Position> {
        self.look()?;
        self.shared.position(Partition::start)
    }

    fn head(&self) -> Result<Position> {
        self.look()?;
        self.shared.head()
    }

    fn read(&self, source: &str, partition: u32, from: Offset, to: Offset, bytes_max: usize) -> Result<RecordChunk> {
        self.partition(source, partition)?.read(from, to, bytes_max)
    }

    fn divide(&self, source: &str, partition: u32, offset: Offset) -> Result<Offset> {
        self.partition(source, partition)?.divide(offset)
    }

    fn offset_at_time(&self, source: &str, partition: u32, micros: i64) -> Result<Offset> {
        self.partition(source, partition)?.offset_at_time(micros)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        let mut heads = match &self.writer {
            Some(writer) => writer.heads.clone(),
            None => self.follower.get_or_init(|| follow::follow(&self.shared)).clone(),
        };
        heads.mark_unchanged();
        heads
    }

    fn submit(&self, source: &str, records: Vec<Append>, durability: Option<Durability>) -> AppendFuture {
        let submitted = self.submitted(source, records, durability);
        called(submitted.map(|(writer, submitted)| (writer, writer.queue.submit(submitted))))
    }

    fn submit_numbered(
        &self,
        source: &str,
        numbering: Numbering,
        records: Vec<Append>,
        durability: Option<Durability>,
    ) -> NumberedFuture {
        let submitted = self.submitted(source, records, durability);
        called(submitted.map(|(writer, submitted)| (writer, writer.queue.submit_numbered(submitted, numbering))))
    }

    fn append(&self, source: &str, records: Vec<Append>) -> Result<Appended> {
        let (writer, submitted) = self.submitted(source, records, None)?;
        writer.wait_for(writer.queue.submit(submitted))
    }

    fn append_numbered(&self, source: &str, numbering: Numbering, records: Vec<Append>) -> Result<Numbered> {
        let (writer, submitted) = self.submitted(source, records, None)?;
        writer.wait_for(writer.queue.submit_numbered(submitted, numbering))
    }

    fn retain(&self, below: &Position, appended_before_micros: i64) -> Result<Vec<Deleted>> {
        let below = below.clone();
        self.writer()?.ask(|reply| Command::Retain { below, appended_before_micros, reply })
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the log did not close cleanly");
        }
    }
}
