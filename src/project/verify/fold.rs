//! Batch only: records folded straight from log and archive, however they are split.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use watershed_log::Position;
use watershed_pipelines::{
    decode::{ColumnSet, Decoder, RawRecord},
    partial::PartialsBuilder,
};

use super::{Checking, gather::Gather};
use crate::error::Error;

/// Records of one partition that one thread takes at a time.
const ITEM_RECORDS: u64 = 16 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 20;
/// Of each partition so many records are folded one by one where micro-batches are as small as can be: they cost as much as a
/// thousand times more in large ones.
const SINGLE_RECORDS: u64 = 2_000;

/// How records are split into micro-batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sizes {
    /// As large as the reads.
    Large,
    /// From one record up, of all orders of magnitude.
    Random,
    /// One by one, the first ones of each partition.
    Single,
}

/// In which order stretches of partitions are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    PartitionAfterPartition,
    InTurns,
    Shuffled,
    Backwards,
}

/// How a fold goes about its records.
#[derive(Clone, Debug)]
pub(super) struct Split {
    sizes: Sizes,
    order: Order,
    threads: usize,
    seed: u64,
}

impl Split {
    /// The plainest way.
    pub fn large() -> Split {
        Split { sizes: Sizes::Large, order: Order::PartitionAfterPartition, threads: 1, seed: 0 }
    }

    /// Sizes of all orders of magnitude.
    pub fn random(seed: u64) -> Split {
        Split { sizes: Sizes::Random, order: Order::InTurns, threads: 1, seed }
    }

    /// Another one in each round.
    pub fn sweep(round: usize, seed: u64) -> Split {
        let all = Split::all(seed);
        all[round % all.len()].1.clone()
    }

    /// The ones that are swept over, by name.
    pub fn all(seed: u64) -> Vec<(String, Split)> {
        let cores = thread::available_parallelism().map_or(2, usize::from).max(2);
        let splits = [
            (Sizes::Random, Order::InTurns, 1),
            (Sizes::Single, Order::PartitionAfterPartition, 1),
            (Sizes::Large, Order::Backwards, 1),
            (Sizes::Random, Order::Shuffled, 2),
            (Sizes::Large, Order::InTurns, 2 * cores + 1),
        ];
        let name = |sizes, order, threads: usize| {
            let sizes = match sizes {
                Sizes::Large => "large micro-batches",
                Sizes::Random => "micro-batches of random sizes",
                Sizes::Single => "micro-batches of one record",
            };
            let order = match order {
                Order::PartitionAfterPartition => "partition after partition",
                Order::InTurns => "partitions in turns",
                Order::Shuffled => "partitions in random order",
                Order::Backwards => "partitions backwards",
            };
            format!("{sizes}, {order}, {threads} thread{}", if threads == 1 { "" } else { "s" })
        };
        (1u64..)
            .zip(splits)
            .map(|(n, (sizes, order, threads))| {
                let split = Split { sizes, order, threads, seed: seed.wrapping_mul(31).wrapping_add(n) };
                (name(sizes, order, threads), split)
            })
            .collect()
    }
}

/// Folds one source's records for some views.
pub(super) struct Folder<'a> {
    checking: &'a Checking<'a>,
    source: &'a str,
    partitions: u32,
    decoder: Decoder,
    needed: ColumnSet,
    views: &'a [usize],
    split: Split,
}

/// Some records of one partition.
#[derive(Clone, Copy)]
struct Item {
    partition: u32,
    from: u64,
    to: u64,
}

impl<'a> Folder<'a> {
    pub fn new(
        checking: &'a Checking<'a>,
        source: &'a str,
        views: &'a [usize],
        split: Split,
    ) -> Result<Folder<'a>, Error> {
        let missing = || Error::Internal("a view's source is not in the catalog".to_owned());
        let declared = checking.catalog.source(source).ok_or_else(missing)?;
        let mut needed = ColumnSet::default();
        for view in views {
            needed.union(&checking.kernels[*view].kernel.columns_needed());
        }
        let partitions = declared.partitions;
        Ok(Folder { checking, source, partitions, decoder: Decoder::new(declared), needed, views, split })
    }

    /// Folds the records from `low` up to `high` into a gathering.
    pub fn fold(&self, low: &Position, high: &Position, stretch: usize, gather: &Gather<'_>) -> Result<(), Error> {
        let items = self.items(low, high);
        let (items, next) = (&items, &AtomicUsize::new(0));
        let work = |thread: usize| {
            let mut worker = Worker::new(self, thread, stretch, gather);
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                worker.fold(*item, low)?;
            }
            worker.flush()
        };
        let threads = self.split.threads.min(items.len());
        if threads <= 1 {
            return work(0);
        }
        let join = |working: thread::ScopedJoinHandle<'_, Result<(), Error>>| {
            working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        thread::scope(|scope| {
            let work = &work;
            let working: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let ended: Vec<Result<(), Error>> = working.into_iter().map(join).collect();
            ended.into_iter().collect()
        })
    }

    fn items(&self, low: &Position, high: &Position) -> Vec<Item> {
        let mut items = Vec::new();
        for partition in 0..self.partitions {
            let (mut from, end) = (low.partition(self.source, partition), high.partition(self.source, partition));
            while from < end {
                let to = (from + ITEM_RECORDS).min(end);
                items.push(Item { partition, from, to });
                from = to;
            }
        }
        match self.split.order {
            Order::PartitionAfterPartition => {}
            Order::InTurns => items.sort_by_key(|item| (item.from, item.partition)),
            Order::Shuffled => items.shuffle(&mut StdRng::seed_from_u64(self.split.seed)),
            Order::Backwards => items.reverse(),
        }
        items
    }
}

/// One thread's builders.
struct Worker<'a> {
    folder: &'a Folder<'a>,
    gather: &'a Gather<'a>,
    stretch: usize,
    builders: BTreeMap<usize, PartialsBuilder>,
    sizes: StdRng,
}

impl<'a> Worker<'a> {
    fn new(folder: &'a Folder<'a>, thread: usize, stretch: usize, gather: &'a Gather<'a>) -> Worker<'a> {
        let seed = folder.split.seed.wrapping_add(((stretch as u64) << 32) | thread as u64);
        Worker { folder, gather, stretch, builders: BTreeMap::new(), sizes: StdRng::seed_from_u64(seed) }
    }

    fn fold(&mut self, item: Item, low: &Position) -> Result<(), Error> {
        let Folder { checking, source, .. } = self.folder;
        let Item { partition, mut from, to } = item;
        while from < to {
            let stretch = checking.history.read(source, partition, from, to, READ_BYTES)?;
            let records: Vec<RawRecord<'_>> = stretch.iter().collect();
            let mut left = records.as_slice();
            while !left.is_empty() {
                let behind = left[0].offset - low.partition(source, partition);
                let (batch, rest) = left.split_at(self.size(behind, left.len()));
                self.push(partition, batch)?;
                left = rest;
            }
            checking.read(records.len() as u64);
            from = stretch.next_offset();
        }
        let share = checking.budget.share() / self.folder.split.threads;
        if self.builders.values().map(PartialsBuilder::memory_bytes).sum::<usize>() > share {
            self.flush()?;
        }
        Ok(())
    }

    /// How many records the next micro-batch has, of at most `left`, with `behind` records of this partition before it.
    fn size(&mut self, behind: u64, left: usize) -> usize {
        let size = match self.folder.split.sizes {
            Sizes::Large => left,
            Sizes::Random => {
                // Small batches are rare where records are many, so that verifying does not take forever.
                let small = left < 1024 || self.sizes.random_range(0..8) == 0;
                let magnitudes = if small { 0..9 } else { 8..15 };
                1 << self.sizes.random_range(magnitudes)
            }
            Sizes::Single if behind < SINGLE_RECORDS => 1,
            Sizes::Single => left,
        };
        size.min(left)
    }

    fn push(&mut self, partition: u32, records: &[RawRecord<'_>]) -> Result<(), Error> {
        let decoded = self.folder.decoder.decode(partition, records.iter().copied(), &self.folder.needed);
        for &view in self.folder.views {
            let kernel = &self.folder.checking.kernels[view].kernel;
            self.builders.entry(view).or_insert_with(|| kernel.builder()).push(&decoded.batch)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        for (view, builder) in std::mem::take(&mut self.builders) {
            self.gather.add(view, self.stretch, &builder.finish())?;
        }
        Ok(())
    }
}
