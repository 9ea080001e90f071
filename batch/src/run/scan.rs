//! Reading the records once: decoding, pushing into the views' builders, archiving; on all threads.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arrow_array::RecordBatch;
use watershed_log::{EventLog, RecordChunk};
use watershed_pipelines::{
    decode::{ColumnSet, Decoded, Decoder, RawRecord},
    partial::{Partials, PartialsBuilder, Rejected},
    source::{SourceCounts, ViewCounts},
};

use super::{
    options::BatchRun,
    plan::{Item, Job, Origin, Plan},
    scratch::{Scratch, Spilled},
};
use crate::{
    archive::{self, ArchiveWriter, Archived, ArchivedRecord},
    error::{BatchError, Result},
};

/// Bytes that are read from the log at a time: few enough that they and their columns stay in a core's cache.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of batches for the archive that a thread keeps before it waits for its item's turn to write them.
const ARCHIVED_BYTES: usize = 16 << 20;

/// Partials of one view partition, of a part of the records.
#[derive(Debug)]
pub(super) enum Part {
    Memory(Box<Partials>),
    Scratch(Spilled),
}

/// What the scan gave one job.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// By view partition.
    pub parts: BTreeMap<String, Vec<Part>>,
    pub counts: ViewCounts,
    pub rejected: Vec<Rejected>,
}

/// What the scan gave.
pub(super) struct Scanned {
    /// By job.
    pub built: Vec<Built>,
    /// By source: of the items that are counted.
    pub counts: Vec<SourceCounts>,
    /// By source and partition.
    pub archived: BTreeMap<(usize, u32), Archived>,
    pub records: u64,
    pub bytes: u64,
    pub spilled_runs: u64,
}

/// The items, each handed out once, those of a partition in their order.
///
/// A partition's items belong to one thread; who has none left takes some of another's. Keys mostly go with the partition
/// (`partition_by`), so that a thread's groups are its own, and merging what the threads have means putting long stretches side by side.
struct Queues<'a> {
    of_threads: Vec<Queue<'a>>,
}

struct Queue<'a> {
    items: Vec<&'a Item>,
    next: AtomicUsize,
}

impl<'a> Queues<'a> {
    fn new(items: &'a [Item], threads: usize) -> Queues<'a> {
        let empty = || Queue { items: Vec::new(), next: AtomicUsize::new(0) };
        let mut of_threads: Vec<Queue<'_>> = (0..threads).map(|_| empty()).collect();
        let mut of_partition = BTreeMap::new();
        for item in items {
            let next = of_partition.len() % threads;
            let thread = *of_partition.entry((item.source, item.partition)).or_insert(next);
            of_threads[thread].items.push(item);
        }
        Queues { of_threads }
    }

    /// The next item for a thread: of its own, then of the thread with most left.
    fn next(&self, thread: usize) -> Option<&'a Item> {
        let fullest = || self.of_threads.iter().max_by_key(|queue| queue.left()).filter(|queue| queue.left() > 0);
        self.of_threads.get(thread)?.next().or_else(|| std::iter::from_fn(fullest).find_map(Queue::next))
    }
}

impl<'a> Queue<'a> {
    fn next(&self) -> Option<&'a Item> {
        self.items.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn left(&self) -> usize {
        self.items.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// What the threads share.
pub(super) struct Scan<'a> {
    run: &'a BatchRun<'a>,
    plan: &'a Plan,
    scratch: &'a Scratch,
    decoders: Vec<Decoder>,
    /// The columns that are built, by source.
    needed: Vec<ColumnSet>,
    archives: BTreeMap<(usize, u32), ArchiveWriter>,
    queues: Queues<'a>,
    failed: AtomicBool,
    /// Memory of all builders, about.
    memory_bytes: AtomicUsize,
    built: Vec<Mutex<Built>>,
    counts: Vec<Mutex<SourceCounts>>,
    records: AtomicU64,
    bytes: AtomicU64,
    spilled_runs: AtomicU64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        run: &'a BatchRun<'a>,
        plan: &'a Plan,
        scratch: &'a Scratch,
        attempt: &str,
        threads: usize,
    ) -> Scan<'a> {
        let mut expected: BTreeMap<(usize, u32), u64> = BTreeMap::new();
        for item in plan.items.iter().filter(|item| item.archived.is_some()) {
            *expected.entry((item.source, item.partition)).or_default() += item.to - item.from;
        }
        let archive = |((source, partition), rows): ((usize, u32), u64)| {
            let of = &plan.sources[source];
            let writer = ArchiveWriter::new(run.store, attempt, &of.source.name, partition, &of.previous, rows);
            ((source, partition), writer)
        };
        Scan {
            run,
            plan,
            scratch,
            decoders: plan.sources.iter().map(|source| Decoder::new(&source.source)).collect(),
            needed: (0..plan.sources.len()).map(|source| needed(plan, source)).collect(),
            archives: expected.into_iter().map(archive).collect(),
            queues: Queues::new(&plan.items, threads),
            failed: AtomicBool::new(false),
            memory_bytes: AtomicUsize::new(0),
            built: plan.jobs.iter().map(|_| Mutex::default()).collect(),
            counts: plan.sources.iter().map(|_| Mutex::default()).collect(),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            spilled_runs: AtomicU64::new(0),
        }
    }

    /// Reads all items on the threads of the pool.
    pub(super) fn run(self, pool: &rayon::ThreadPool) -> Result<Scanned> {
        let planned = self.plan.items.iter().map(|item| item.to - item.from).sum();
        self.run.options.progress.records_planned(planned);
        let outcomes = pool.broadcast(|thread| {
            let mut ending = Ending { scan: &self, well: false };
            let outcome = Worker::new(&self).run(thread.index());
            ending.well = outcome.is_ok();
            outcome
        });
        let mut first = Ok(());
        for outcome in outcomes {
            // "Stopped" is what a thread says that another's failure stopped.
            if let (Ok(()) | Err(BatchError::Stopped), Err(error)) = (&first, outcome) {
                first = Err(error);
            }
        }
        first?;
        let mut archived = BTreeMap::new();
        for (key, writer) in self.archives {
            archived.insert(key, writer.finish()?);
        }
        let inner = |mutex: Mutex<Built>| mutex.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Scanned {
            built: self.built.into_iter().map(inner).collect(),
            counts: self.counts.into_iter().map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner)).collect(),
            archived,
            records: self.records.into_inner(),
            bytes: self.bytes.into_inner(),
            spilled_runs: self.spilled_runs.into_inner(),
        })
    }

    fn is_stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.run.options.stop.load(Ordering::Relaxed)
    }
}

/// Stops the other threads unless this one ends well; also when it panics, for they may be waiting for it.
struct Ending<'a> {
    scan: &'a Scan<'a>,
    well: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.well {
            self.scan.failed.store(true, Ordering::SeqCst);
            self.scan.archives.values().for_each(ArchiveWriter::abort);
        }
    }
}

/// One thread's builders.
struct Worker<'a> {
    scan: &'a Scan<'a>,
    builders: Vec<Option<PartialsBuilder>>,
    /// What of the shared count is this thread's.
    memory_bytes: usize,
}

impl<'a> Worker<'a> {
    fn new(scan: &'a Scan<'a>) -> Worker<'a> {
        Worker { scan, builders: scan.plan.jobs.iter().map(|_| None).collect(), memory_bytes: 0 }
    }

    fn run(mut self, thread: usize) -> Result<()> {
        loop {
            if self.scan.is_stopped() {
                return Err(BatchError::Stopped);
            }
            let Some(item) = self.scan.queues.next(thread) else { break };
            self.read(item)?;
            self.account();
            if self.scan.memory_bytes.load(Ordering::Relaxed) > self.scan.run.options.memory_bytes_max {
                self.flush(true)?;
            }
        }
        self.flush(false)
    }

    /// Tells the others how much memory this thread's builders take.
    fn account(&mut self) {
        let now: usize = self.builders.iter().flatten().map(PartialsBuilder::memory_bytes).sum();
        self.scan.memory_bytes.fetch_add(now, Ordering::Relaxed);
        self.scan.memory_bytes.fetch_sub(self.memory_bytes, Ordering::Relaxed);
        self.memory_bytes = now;
    }

    fn read(&mut self, item: &Item) -> Result<()> {
        let mut batches = Vec::new();
        let name = &self.scan.plan.sources[item.source].source.name;
        match &item.origin {
            Origin::Log => {
                let mut at = item.from;
                while at < item.to {
                    let chunk = read_chunk(self.scan.run.log, name, item.partition, at, item.to)?;
                    batches.extend(self.push(item, chunk.iter().map(ArchivedRecord::from))?);
                    at = chunk.next_offset();
                    self.archive_some(item, &mut batches)?;
                }
            }
            Origin::Archive(file) => {
                for batch in archive::records_of(self.scan.run.store, file)? {
                    let batch = batch?;
                    let records: Vec<ArchivedRecord<'_>> = archive::records_in(&batch)
                        .into_iter()
                        .flatten()
                        .filter(|record| item.from <= record.offset && record.offset < item.to)
                        .collect();
                    batches.extend(self.push(item, records.iter().copied())?);
                    self.archive_some(item, &mut batches)?;
                }
            }
        }
        match (item.archived, self.scan.archives.get(&(item.source, item.partition))) {
            (Some(number), Some(writer)) => writer.add(number, batches),
            _ => Ok(()),
        }
    }

    /// Hands over what waits for the archive, if that is much.
    fn archive_some(&self, item: &Item, batches: &mut Vec<RecordBatch>) -> Result<()> {
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        match (item.archived, self.scan.archives.get(&(item.source, item.partition))) {
            (Some(number), Some(writer)) if bytes > ARCHIVED_BYTES => writer.add_some(number, std::mem::take(batches)),
            _ => Ok(()),
        }
    }

    /// Decodes records and gives them to the builders; gives the batch for the archive, if they are to be archived.
    fn push<'r>(
        &mut self,
        item: &Item,
        records: impl ExactSizeIterator<Item = ArchivedRecord<'r>> + Clone,
    ) -> Result<Option<RecordBatch>> {
        let plan = self.scan.plan;
        let source = &plan.sources[item.source].source;
        let (count, mut bytes) = (records.len() as u64, 0);
        let raw = records.clone().map(|record| {
            bytes += record.payload.len() as u64;
            RawRecord::from(record)
        });
        let needed = &self.scan.needed[item.source];
        let decoded: Decoded = self.scan.decoders[item.source].decode(item.partition, raw, needed);
        for &job in &*item.jobs {
            let Job { kernel, view, .. } = &plan.jobs[job];
            let builder = self.builders[job].get_or_insert_with(|| kernel.builder());
            builder.push(&decoded.batch).map_err(BatchError::pipeline(view))?;
        }
        if item.counted {
            let mut counts = self.scan.counts[item.source].lock().unwrap_or_else(PoisonError::into_inner);
            counts.merge(&decoded.counts);
        }
        self.scan.records.fetch_add(count, Ordering::Relaxed);
        self.scan.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.scan.run.options.progress.records_decoded(count, bytes);
        if item.archived.is_none() {
            return Ok(None);
        }
        let declared: Vec<String> = source.schema.fields.iter().map(|field| field.name.clone()).collect();
        let dead: Vec<(u64, &str)> = decoded.dead.iter().map(|dead| (dead.offset, dead.reason.as_str())).collect();
        let records: Vec<ArchivedRecord<'_>> = records.collect();
        archive::batch(item.partition, &records, &decoded.batch.frame, &declared, &dead).map(Some)
    }

    /// Hands over what the builders have: as sorted runs in the scratch directory, or in memory.
    fn flush(&mut self, spill: bool) -> Result<()> {
        for (i, builder) in self.builders.iter_mut().enumerate() {
            let Some(builder) = builder.take() else { continue };
            let Job { kernel, view, .. } = &self.scan.plan.jobs[i];
            let mut partials = builder.finish();
            let (counts, rejected) = (partials.counts, std::mem::take(&mut partials.rejected));
            let mut parts = Vec::new();
            for (name, part) in kernel.split(partials).map_err(BatchError::pipeline(view))? {
                if spill {
                    let (run, bytes) = self.scan.scratch.write(kernel, view, &part)?;
                    self.scan.spilled_runs.fetch_add(1, Ordering::Relaxed);
                    self.scan.run.options.progress.spilled(bytes);
                    parts.push((name, Part::Scratch(run)));
                } else {
                    parts.push((name, Part::Memory(Box::new(part))));
                }
            }
            let mut built = self.scan.built[i].lock().unwrap_or_else(PoisonError::into_inner);
            built.counts.merge(&counts);
            built.rejected.extend(rejected);
            for (name, part) in parts {
                built.parts.entry(name).or_default().push(part);
            }
        }
        self.account();
        Ok(())
    }
}

/// Some records of a partition from `from` on, all of them below `to`, up to which the log must reach.
pub(super) fn read_chunk(log: &dyn EventLog, source: &str, partition: u32, from: u64, to: u64) -> Result<RecordChunk> {
    let chunk = log.read(source, partition, from, to, CHUNK_BYTES)?;
    if chunk.is_empty() {
        let reached = format!("{source}/{partition}: {to}");
        return Err(BatchError::MovedBack { what: "the log's head", from: reached, to: from.to_string() });
    }
    Ok(chunk)
}

/// The columns of a source that the views need; all of them, if records are archived.
fn needed(plan: &Plan, source: usize) -> ColumnSet {
    let of = &plan.sources[source].source;
    if plan.items.iter().any(|item| item.source == source && item.archived.is_some()) {
        return ColumnSet::all(of);
    }
    let mut needed = ColumnSet::none();
    for job in plan.jobs.iter().filter(|job| job.source == source) {
        needed.union(&job.kernel.columns_needed());
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(partition: u32, from: u64) -> Item {
        let origin = Origin::Log;
        Item { source: 0, partition, from, to: from + 1, origin, jobs: [].into(), counted: true, archived: None }
    }

    #[test]
    fn each_item_is_handed_out_once_and_those_of_a_partition_in_order() {
        for (partitions, threads) in [(1, 3), (3, 2), (4, 4), (9, 5)] {
            // The last partition is by far the longest.
            let length = |partition: u32| if partition + 1 == partitions { 200 } else { 5 };
            let mut items: Vec<Item> =
                (0..partitions).flat_map(|p| (0..length(p)).map(move |from| item(p, from))).collect();
            items.sort_by_key(|item| (item.from, item.partition));
            let queues = Queues::new(&items, threads);
            let takes = |thread: usize| -> Vec<(u32, u64)> {
                std::iter::from_fn(|| queues.next(thread)).map(|item| (item.partition, item.from)).collect()
            };
            let taken: Vec<Vec<(u32, u64)>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads)
                    .map(|thread| {
                        scope.spawn({
                            let takes = &takes;
                            move || takes(thread)
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            for of_thread in &taken {
                for partition in 0..partitions {
                    let offsets = of_thread.iter().filter(|(p, _)| *p == partition).map(|(_, from)| *from);
                    assert!(offsets.is_sorted(), "{of_thread:?}");
                }
            }
            let mut all: Vec<(u32, u64)> = taken.concat();
            all.sort_unstable();
            let mut expected: Vec<_> = items.iter().map(|item| (item.partition, item.from)).collect();
            expected.sort_unstable();
            assert_eq!(all, expected);
        }
    }
}
