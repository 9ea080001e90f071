//! The committer: the one writer.
//!
//! It works in rounds, one at a time: on its thread or on that of a caller who waits for an append ([`Turns`]) or, where the log is
//! stepped, when asked to ([`Rounds::step`]). A round takes all that is waiting when it begins, writes at most one batch to each partition, syncs each touched file
//! once (several at a time, [`SyncPool`]), publishes the new heads and acknowledges. What arrives meanwhile waits for the next
//! round and shares its syncs. One batch per partition and round means that at most one batch of a partition is ever
//! unsynced at level `fsync`, which is what lets recovery tell a torn tail from damage.

mod beside;
mod numbered;
mod turns;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::beside::Beside;
pub(crate) use self::turns::Turns;
use crate::append_queue::{Placed, Request};
use crate::commands::{Command, Taken};
use crate::file_log::Shared;
use crate::options::Counters;
use crate::partition::Partition;
use crate::partition_writer::{PartitionWriter, Pending};
use crate::places::PlacedRun;
use crate::producers::Producers;
use crate::sync_pool::SyncPool;
use crate::{Clock, Deleted, Durability, LogError, Offset, Options, Position, Result, retention, sources};

/// After so many bytes at level `os` a sync is due at once: a segment that is full is durable soon then.
const OS_SYNC_BYTES: u64 = 4 << 20;

/// An append of which something is not yet acknowledged.
struct InFlight {
    request: Request,
    pieces_left: usize,
    placed: Placed,
    /// Of numbered records, which numbers the log did not have.
    taken: Vec<Range<u64>>,
}

pub(crate) struct Committer {
    pub commands: Taken,
    pub options: Options,
    pub clock: Arc<dyn Clock>,
    pub shared: Arc<Shared>,
    pub counters: Arc<Counters>,
    pub heads: watch::Sender<Position>,
    pub writers: Vec<PartitionWriter>,
    /// By source, where there are any.
    pub producers: BTreeMap<String, Producers>,
    pub syncs: SyncPool,
}

/// What the wait before a sync at level `os` is measured with.
enum Pace {
    /// Time as it passes, since the log was opened: it does not jump.
    Passing(Instant),
    /// The log's clock, so that nothing but what is passed in decides.
    Clock,
}

/// The committer at work.
pub(crate) struct Rounds {
    log: Committer,
    pace: Pace,
    in_flight: BTreeMap<u64, InFlight>,
    next_request: u64,
    /// Partitions with something waiting.
    ready: Vec<usize>,
    /// Appends of which there is nothing to write and nothing to wait for but a sync.
    repeats: Vec<u64>,
    /// When unsynced records of level `os` must be synced.
    sync_due: Option<Duration>,
    /// Bytes written since the last sync began.
    unsynced_bytes: u64,
    /// What syncs them while rounds go on.
    beside: Beside,
    /// Why nothing is written any more.
    stopped: Option<LogError>,
    closed: bool,
}

impl Rounds {
    fn new(log: Committer, pace: Pace, beside: Beside) -> Self {
        Self {
            log,
            pace,
            in_flight: BTreeMap::new(),
            next_request: 0,
            ready: Vec::new(),
            repeats: Vec::new(),
            sync_due: None,
            unsynced_bytes: 0,
            beside,
            stopped: None,
            closed: false,
        }
    }

    /// A committer that works as time passes, for [`Turns`].
    pub fn timed(log: Committer) -> Self {
        let beside = Beside::with_threads(log.options.sync_threads);
        Self::new(log, Pace::Passing(Instant::now()), beside)
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.repeats.is_empty()
    }

    /// A committer that works when it is asked to.
    pub fn stepped(log: Committer) -> Self {
        Self::new(log, Pace::Clock, Beside::Never)
    }

    /// Takes all commands that are there and does those that are not appends. The one that closes the log is the last.
    pub fn take_waiting(&mut self) {
        for command in self.log.commands.take() {
            if !self.closed {
                self.take(command);
            }
        }
    }

    /// Takes all commands that are there and does one round if anything waits for one. Returns whether more is waiting.
    pub fn step(&mut self) -> bool {
        self.take_waiting();
        if self.has_work() || self.sync_is_due() {
            self.round();
        }
        self.has_work()
    }

    /// Whether the log is closed: there is nothing to do any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether records of level `os` have waited long enough, or are many.
    fn sync_is_due(&self) -> bool {
        let many = self.unsynced_bytes >= OS_SYNC_BYTES && !self.beside.is_under_way();
        many || self.sync_due_in() == Some(Duration::ZERO)
    }

    /// How long what is not synced may wait, if there is any. The sync that is under way comes first.
    fn sync_due_in(&self) -> Option<Duration> {
        let due = self.sync_due.filter(|_| !self.beside.is_under_way());
        due.map(|due| due.saturating_sub(self.now()))
    }

    /// Writes and syncs what has been taken.
    fn finish(&mut self) -> Result<()> {
        while self.has_work() {
            self.round();
        }
        self.closed = true;
        self.close()
    }

    fn now(&self) -> Duration {
        match &self.pace {
            Pace::Passing(since) => since.elapsed(),
            Pace::Clock => Duration::from_micros(self.log.clock.now_micros().try_into().unwrap_or(0)),
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Append(request) => self.take_append(request),
            Command::CreateSource { name, partitions, reply } => {
                let _ = reply.send(self.create_source(&name, partitions));
            }
            Command::Seal { slots, reply } => {
                let sealed = slots.into_iter().try_for_each(|slot| self.seal(slot));
                let _ = reply.send(sealed);
            }
            Command::Retain { below, appended_before_micros, reply } => {
                let _ = reply.send(self.retain(&below, appended_before_micros));
            }
            Command::Close { reply } => {
                let _ = reply.send(self.finish());
            }
        }
    }

    fn take_append(&mut self, mut request: Request) {
        if let Some(error) = &self.stopped {
            let _ = request.reply.send(Err(error.clone()));
            return;
        }
        let taken = match self.take_numbers(&mut request) {
            Ok(taken) => taken,
            Err(error) => {
                let _ = request.reply.send(Err(error));
                return;
            }
        };
        let id = self.next_request;
        self.next_request += 1;
        let mut pieces_left = self.wait_behind_repeated(id, &request, &taken);
        for run in std::mem::take(&mut request.runs) {
            let slot = request.slots.start + run.partition as usize;
            let waiting = &mut self.log.writers[slot].pending;
            if waiting.is_empty() {
                self.ready.push(slot);
            }
            pieces_left += run.frames.len();
            let producer = request.numbering.as_ref().map(|numbering| &numbering.producer);
            let durability = request.durability;
            let pending = |frames| Pending { request: id, producer: producer.cloned(), durability, frames };
            waiting.extend(run.frames.into_iter().map(pending));
        }
        if pieces_left == 0 {
            self.repeats.push(id);
        }
        self.in_flight.insert(id, InFlight { request, pieces_left, placed: Placed::default(), taken });
    }

    /// One round. On failure the log stops.
    fn round(&mut self) {
        if let Err(error) = self.try_round() {
            self.stop(error);
        }
    }

    fn try_round(&mut self) -> Result<()> {
        let now_micros = self.log.clock.now_micros();
        let mut done = std::mem::take(&mut self.repeats);
        let mut must_sync = false;
        for slot in std::mem::take(&mut self.ready) {
            if self.log.writers[slot].is_full(&self.log.options, now_micros) {
                self.seal(slot)?;
            }
            let Committer { writers, producers, options, .. } = &mut self.log;
            let writer = &mut writers[slot];
            let producers = producers.get_mut(&writer.shared.source);
            let (written, bytes) = writer.write_batch(options, now_micros, producers)?;
            let partition = writer.shared.partition;
            if !writer.pending.is_empty() {
                self.ready.push(slot);
            }
            if bytes > 0 {
                Counters::add(&self.log.counters.batches, 1);
                Counters::add(&self.log.counters.bytes, bytes);
                self.unsynced_bytes += bytes;
            }
            for (id, base_offset, numbers) in written {
                let Some(append) = self.in_flight.get_mut(&id) else { continue };
                must_sync |= append.request.durability == Durability::Fsync;
                append.pieces_left -= 1;
                if let Some(numbers) = numbers {
                    append.placed.runs.push(PlacedRun { partition, base_offset, numbers, repeated: false });
                } else if append.placed.bases.iter().all(|&(known, _)| known != partition) {
                    append.placed.bases.push((partition, base_offset));
                }
                if append.pieces_left == 0 {
                    done.push(id);
                }
            }
        }
        self.finish_round(done, must_sync)
    }

    /// Acknowledges what has been written, after a sync where that was asked for.
    fn finish_round(&mut self, done: Vec<u64>, mut must_sync: bool) -> Result<()> {
        let mut synced_by_this = Vec::new();
        for id in done {
            self.finish_numbers(id);
            let Some(append) = self.in_flight.get(&id) else { continue };
            must_sync |= append.request.durability == Durability::Fsync;
            match append.request.durability {
                Durability::Fsync => synced_by_this.push(id),
                Durability::Os => self.acknowledge(id),
            }
        }
        if must_sync {
            self.sync_dirty()?;
        } else if self.sync_is_due() {
            self.sync_due()?;
        } else if self.sync_due.is_none() && self.log.writers.iter().any(PartitionWriter::is_dirty) {
            self.sync_due = Some(self.now() + self.log.options.os_sync_interval);
        }
        for id in synced_by_this {
            self.acknowledge(id);
        }
        Ok(())
    }

    fn acknowledge(&mut self, id: u64) {
        let Some(InFlight { request, mut placed, taken, .. }) = self.in_flight.remove(&id) else { return };
        Counters::add(&self.log.counters.appends, 1);
        self.add_repeated_places(&request, &taken, &mut placed);
        let _ = request.reply.send(Ok(placed));
    }

    /// Syncs every file with something unsynced in it, and publishes the heads.
    fn sync_dirty(&mut self) -> Result<()> {
        let dirty = self.dirty();
        self.sync(&dirty)?;
        (self.sync_due, self.unsynced_bytes) = (None, 0);
        self.log.producers.values_mut().for_each(Producers::synced);
        Ok(())
    }

    /// The partitions with something unsynced.
    fn dirty(&self) -> Vec<usize> {
        let writers = self.log.writers.iter().enumerate();
        writers.filter(|(_, writer)| writer.is_dirty()).map(|(slot, _)| slot).collect()
    }

    fn sync(&mut self, slots: &[usize]) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        self.wait_for_sync_beside()?;
        let segments = slots.iter().map(|&slot| self.log.writers[slot].active.clone()).collect();
        let synced = self.log.syncs.sync_all(segments);
        synced.map_err(|(path, error)| LogError::stopped(&path)(error))?;
        let ends: Vec<_> = slots.iter().map(|&slot| (slot, self.log.writers[slot].next_offset)).collect();
        self.publish(&ends)
    }

    /// Says that the records of partitions below these offsets are durable, after they have been synced.
    fn publish(&mut self, ends: &[(usize, Offset)]) -> Result<()> {
        Counters::add(&self.log.counters.syncs, ends.len() as u64);
        for &(slot, end) in ends {
            let writer = &mut self.log.writers[slot];
            let before = writer.durable_offset;
            writer.publish(end)?;
            Counters::add(&self.log.counters.records, writer.durable_offset - before);
        }
        let writers = &self.log.writers;
        self.log.heads.send_modify(|heads| {
            for &(slot, end) in ends {
                let Partition { source, partition, .. } = &*writers[slot].shared;
                heads.set(source, *partition, end);
            }
        });
        Ok(())
    }

    /// Seals a partition's active segment if there is anything in it.
    fn seal(&mut self, slot: usize) -> Result<()> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let sealed = self.try_seal(slot);
        sealed.map_err(|error| {
            let error = error.into_stopped();
            self.stop(error.clone());
            error
        })
    }

    fn try_seal(&mut self, slot: usize) -> Result<()> {
        let known = self.known(slot)?;
        if self.log.writers[slot].is_dirty() {
            self.sync(&[slot])?;
        }
        let writer = &mut self.log.writers[slot];
        if writer.active.index().times.is_none() {
            return Ok(());
        }
        writer.roll(self.log.clock.now_micros(), &known)?;
        Counters::add(&self.log.counters.sealed, 1);
        Ok(())
    }

    fn create_source(&mut self, name: &str, partitions: u32) -> Result<()> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        if let Some(has) = self.log.shared.source(name).map(|source| source.partitions.len() as u32) {
            let name = name.to_owned();
            return if has == partitions {
                Ok(())
            } else {
                Err(LogError::PartitionsFixed { name, partitions: has, asked: partitions })
            };
        }
        let Shared { disk, dir, .. } = &*self.log.shared;
        let writers = sources::create(disk, dir, name, partitions, self.log.clock.now_micros())?;
        let shared = writers.iter().map(|writer| writer.shared.clone()).collect();
        self.log.shared.add_source(name, self.log.writers.len(), shared);
        self.log.writers.extend(writers);
        self.log.heads.send_modify(|heads| heads.set_source(name, vec![0; partitions as usize]));
        Ok(())
    }

    fn retain(&mut self, below: &Position, appended_before_micros: i64) -> Result<Vec<Deleted>> {
        let now_micros = self.log.clock.now_micros();
        let mut deleted = Vec::new();
        for slot in 0..self.log.writers.len() {
            // A partition that nothing is appended to any more would otherwise keep its last segment for ever.
            if self.stopped.is_none() && self.log.writers[slot].is_aged(&self.log.options, now_micros) {
                self.seal(slot)?;
            }
            retention::delete_oldest(&self.log.writers[slot].shared, below, appended_before_micros, &mut deleted)?;
        }
        Ok(deleted)
    }

    /// Takes no further append, and answers all that wait with the reason.
    fn stop(&mut self, error: LogError) {
        let error = error.into_stopped();
        tracing::error!(%error, "the log takes no further append");
        self.ready.clear();
        self.repeats.clear();
        (self.sync_due, self.unsynced_bytes) = (None, 0);
        for writer in &mut self.log.writers {
            writer.pending.clear();
        }
        for (_, append) in std::mem::take(&mut self.in_flight) {
            let _ = append.request.reply.send(Err(error.clone()));
        }
        self.stopped = Some(error);
    }

    fn close(&mut self) -> Result<()> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        self.sync_dirty()?;
        self.log.writers.iter_mut().try_for_each(PartitionWriter::rest)
    }
}
