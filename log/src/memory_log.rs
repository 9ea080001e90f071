//! The log without a disk, for tests of what reads and writes logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::append_queue::encode;
use crate::options::PRODUCERS_MAX;
use crate::places::{PlacedRun, RecentPlaces, place};
use crate::producers::Producers;
use crate::record::Batch;
use crate::{
    Append, AppendFuture, Appended, Clock, Deleted, Durability, EventLog, LogError, Numbered, NumberedFuture,
    Numbering, Offset, Position, RecordChunk, Result, sources,
};

/// Encoded bytes per batch at most. Small, so that tests meet many batches.
const BATCH_BYTES_MAX: u64 = 4096;

/// A log in memory: whatever it has acknowledged counts as durable. Gone when dropped.
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    sources: Mutex<BTreeMap<String, Vec<Partition>>>,
    /// By source. Never locked before `sources`.
    producers: Mutex<BTreeMap<String, (Producers, RecentPlaces)>>,
    heads: watch::Sender<Position>,
}

#[derive(Default)]
struct Partition {
    /// Dense and in order.
    batches: Vec<Batch>,
    start: Offset,
    head: Offset,
}

impl Partition {
    fn push(&mut self, now_micros: i64, record_count: u32, body: Vec<u8>) {
        let last = self.batches.last().map_or(i64::MIN, |batch| batch.append_time_micros);
        let (base_offset, append_time_micros) = (self.head, now_micros.max(last));
        self.batches.push(Batch { base_offset, append_time_micros, record_count, body: body.into() });
        self.head += u64::from(record_count);
    }

    /// The batches with records at or above `from` and below `to`, up to about `bytes_max` bytes but at least one.
    fn batches_between(&self, from: Offset, to: Offset, bytes_max: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| batch.end_offset() <= from);
        let mut bytes = 0;
        let wanted = self.batches[first..].iter().take_while(|batch| {
            let fits = batch.base_offset < to && (bytes == 0 || bytes + batch.body.len() <= bytes_max);
            bytes += batch.body.len();
            fits
        });
        wanted.cloned().collect()
    }
}

impl MemoryLog {
    /// An empty log whose append times come from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sources: Mutex::default(), producers: Mutex::default(), heads: watch::channel(Position::new()).0 }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Partition>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self, offset: impl Fn(&Partition) -> Offset) -> Position {
        let offsets = |partitions: &Vec<Partition>| partitions.iter().map(&offset).collect();
        self.lock().iter().map(|(name, partitions)| (name.clone(), offsets(partitions))).collect()
    }

    fn with<T>(&self, name: &str, partition: u32, action: impl FnOnce(&Partition) -> Result<T>) -> Result<T> {
        let sources = self.lock();
        let found = sources.get(name).ok_or_else(|| LogError::UnknownSource { name: name.to_owned() })?;
        let partitions = found.len() as u32;
        let unknown = || LogError::UnknownPartition { name: name.to_owned(), partition, partitions };
        action(found.get(partition as usize).ok_or_else(unknown)?)
    }

    fn append_now(&self, name: &str, records: &[Append]) -> Result<Appended> {
        let mut sources = self.lock();
        let found = checked(&mut sources, name, records)?;
        let mut next: Vec<Offset> = found.iter().map(|partition| partition.head).collect();
        let now_micros = self.clock.now_micros();
        let (runs, _) = encode(records, found.len() as u32, BATCH_BYTES_MAX, None);
        for run in runs {
            let partition = &mut found[run.partition as usize];
            run.frames.into_iter().for_each(|frames| partition.push(now_micros, frames.record_count, frames.bytes));
        }
        self.publish(name, found);
        let place = |record: &Append| {
            let next = &mut next[record.partition as usize];
            *next += 1;
            (record.partition, *next - 1)
        };
        Ok(Appended { records: records.iter().map(place).collect() })
    }

    fn append_numbered_now(&self, name: &str, numbering: &Numbering, records: &[Append]) -> Result<Numbered> {
        let mut sources = self.lock();
        let found = checked(&mut sources, name, records)?;
        if records.is_empty() {
            return Ok(Numbered::default());
        }
        let (producer, first, end) = (&numbering.producer, numbering.first, numbering.end(records.len() as u64)?);
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || (Producers::new(name, PRODUCERS_MAX), RecentPlaces::of(1));
        let (producers, recent) = producers.entry(name.to_owned()).or_insert_with(new);
        let taken = producers.take(numbering, records.len() as u64)?;
        let mut places: Vec<PlacedRun> = recent.find(producer, &(first..end)).collect();
        let now_micros = self.clock.now_micros();
        let (runs, _) = encode(records, found.len() as u32, BATCH_BYTES_MAX, Some(first));
        for (partition, mut frames) in
            runs.into_iter().flat_map(|run| run.frames.into_iter().map(move |frames| (run.partition, frames)))
        {
            frames.keep(&taken);
            if let Some(numbers) = frames.numbers.filter(|numbers| !numbers.is_empty()) {
                let into = &mut found[partition as usize];
                let run = PlacedRun { partition, base_offset: into.head, numbers, repeated: false };
                into.push(now_micros, frames.record_count, frames.bytes);
                recent.push(producer.clone(), run.clone());
                places.push(run);
            }
        }
        producers.wrote(producer, now_micros);
        producers.finished(producer, &taken);
        producers.synced();
        self.publish(name, found);
        Ok(Numbered { records: place(first, records.len(), &places) })
    }

    /// To be called under the lock, so that heads are published in order.
    fn publish(&self, name: &str, partitions: &[Partition]) {
        self.heads.send_modify(|heads| {
            heads.set_source(name, partitions.iter().map(|partition| partition.head).collect());
        });
    }
}

/// The partitions of a source, all of which these records name exist.
fn checked<'a>(
    sources: &'a mut BTreeMap<String, Vec<Partition>>,
    name: &str,
    records: &[Append],
) -> Result<&'a mut Vec<Partition>> {
    let found = sources.get_mut(name).ok_or_else(|| LogError::UnknownSource { name: name.to_owned() })?;
    let partitions = found.len() as u32;
    match records.iter().find(|record| record.partition >= partitions) {
        None => Ok(found),
        Some(record) => {
            let (name, partition) = (name.to_owned(), record.partition);
            Err(LogError::UnknownPartition { name, partition, partitions })
        }
    }
}

impl EventLog for MemoryLog {
    fn create_source(&self, name: &str, partitions: u32) -> Result<()> {
        sources::check(name, partitions)?;
        let mut sources = self.lock();
        if let Some(has) = sources.get(name).map(|found| found.len() as u32) {
            let fixed = LogError::PartitionsFixed { name: name.to_owned(), partitions: has, asked: partitions };
            return if has == partitions { Ok(()) } else { Err(fixed) };
        }
        sources.insert(name.to_owned(), (0..partitions).map(|_| Partition::default()).collect());
        self.heads.send_modify(|heads| heads.set_source(name, vec![0; partitions as usize]));
        Ok(())
    }

    fn sources(&self) -> Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn partitions(&self, source: &str) -> Result<u32> {
        let sources = self.lock();
        let found = sources.get(source).ok_or_else(|| LogError::UnknownSource { name: source.to_owned() })?;
        Ok(found.len() as u32)
    }

    fn start(&self) -> Result<Position> {
        Ok(self.position(|partition| partition.start))
    }

    fn head(&self) -> Result<Position> {
        Ok(self.position(|partition| partition.head))
    }

    fn read(&self, source: &str, partition: u32, from: Offset, to: Offset, bytes_max: usize) -> Result<RecordChunk> {
        self.with(source, partition, |found| {
            let (name, offset) = (source.to_owned(), from);
            if from > found.head {
                return Err(LogError::AboveHead { name, partition, offset, head: found.head });
            }
            if from < found.start {
                return Err(LogError::BelowStart { name, partition, offset, start: found.start });
            }
            let to = to.min(found.head);
            if from >= to {
                return Ok(RecordChunk::empty(partition, from));
            }
            Ok(RecordChunk::new(partition, from, to, found.batches_between(from, to, bytes_max)))
        })
    }

    fn offset_at_time(&self, source: &str, partition: u32, micros: i64) -> Result<Offset> {
        self.with(source, partition, |found| {
            let at = found.batches.partition_point(|batch| batch.append_time_micros < micros);
            Ok(found.batches.get(at).map_or(found.head, |batch| batch.base_offset))
        })
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.heads.subscribe()
    }

    fn submit(&self, source: &str, records: Vec<Append>, _: Option<Durability>) -> AppendFuture {
        Box::pin(std::future::ready(self.append_now(source, &records)))
    }

    fn submit_numbered(
        &self,
        source: &str,
        numbering: Numbering,
        records: Vec<Append>,
        _: Option<Durability>,
    ) -> NumberedFuture {
        Box::pin(std::future::ready(self.append_numbered_now(source, &numbering, &records)))
    }

    fn retain(&self, below: &Position, appended_before_micros: i64) -> Result<Vec<Deleted>> {
        let mut deleted = Vec::new();
        for (source, partitions) in &mut *self.lock() {
            for (partition, found) in (0..).zip(partitions) {
                let keep_from = below.partition(source, partition);
                let goes = |batch: &&Batch| {
                    batch.end_offset() <= keep_from && batch.append_time_micros < appended_before_micros
                };
                let sealed = found.batches.len().saturating_sub(1);
                let gone = found.batches[..sealed].iter().take_while(goes).count();
                if gone == 0 {
                    continue;
                }
                let bytes = found.batches.drain(..gone).map(|batch| batch.body.len() as u64).sum();
                let (from, to) = (found.start, found.batches[0].base_offset);
                found.start = to;
                deleted.push(Deleted { source: source.clone(), partition, from, to, bytes });
            }
        }
        Ok(deleted)
    }
}
