//! The way of an append to the committer: encoded by the caller's thread, bounded in bytes, answered once.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::commands::{Command, Commands};
use crate::committer::Turns;
use crate::format::{FRAME_PREFIX_BYTES, encode_frame, frame_at};
use crate::places::{PlacedRun, place};
use crate::{
    Append, AppendFuture, Appended, Durability, LogError, Numbered, NumberedFuture, Numbering, Offset, Options, Result,
};

/// Charged for each append on top of its records, so that a flood of empty records is bounded too.
const APPEND_BYTES: u64 = 128;

/// Encoded records of one partition that go into one batch.
#[derive(Default)]
pub(crate) struct Frames {
    pub bytes: Vec<u8>,
    pub record_count: u32,
    /// The producer's numbers of the records, ascending, if it numbers them.
    pub numbers: Option<Arc<Vec<u64>>>,
}

impl Frames {
    /// Leaves the records out whose numbers are in none of `ranges`, which ascend.
    pub fn keep(&mut self, ranges: &[Range<u64>]) {
        let Some(numbers) = &self.numbers else { return };
        let (mut kept, mut kept_numbers, mut at) = (Vec::new(), Vec::new(), 0);
        for &number in &**numbers {
            let end = at + frame_at(&self.bytes[at..]).bytes;
            let next = ranges.partition_point(|range| range.end <= number);
            if ranges.get(next).is_some_and(|range| range.contains(&number)) {
                kept.extend_from_slice(&self.bytes[at..end]);
                kept_numbers.push(number);
            }
            at = end;
        }
        let record_count = kept_numbers.len() as u32;
        *self = Self { bytes: kept, record_count, numbers: Some(Arc::new(kept_numbers)) };
    }
}

/// The records of an append that go to one partition, in order.
pub(crate) struct Run {
    pub partition: u32,
    pub frames: Vec<Frames>,
}

/// One append on its way.
pub(crate) struct Request {
    /// The source's partitions among all that the committer writes.
    pub slots: Range<usize>,
    pub runs: Vec<Run>,
    pub record_count: u64,
    pub durability: Durability,
    /// Who numbers the records, and how, if anyone does.
    pub numbering: Option<Numbering>,
    pub reply: oneshot::Sender<Result<Placed>>,
    pub permit: Option<OwnedSemaphorePermit>,
}

/// Where the records of an append are.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// The first offset in each partition, if nobody numbers them.
    pub bases: Vec<(u32, Offset)>,
    /// As far as known, if someone does.
    pub runs: Vec<PlacedRun>,
}

/// What the queue is given.
pub(crate) struct Submitted<'a> {
    pub source: &'a str,
    /// The source's partitions among all that the committer writes.
    pub slots: Range<usize>,
    pub records: Vec<Append>,
    pub durability: Option<Durability>,
}

/// The bounded queue.
#[derive(Clone)]
pub(crate) struct AppendQueue {
    commands: Commands,
    turns: Arc<Turns>,
    room: Arc<Semaphore>,
    queue_bytes_max: u64,
    record_bytes_max: u64,
    batch_bytes_max: u64,
    durability: Durability,
    /// Numbered appends that wait for room. While there are any, later ones wait behind them: a number that overtook those before
    /// it would leave a gap.
    waiting: Arc<AtomicUsize>,
}

/// A numbered append that waits for room, until this is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AppendQueue {
    pub fn new(commands: Commands, turns: Arc<Turns>, options: &Options) -> Self {
        Self {
            commands,
            turns,
            room: Arc::new(Semaphore::new(options.queue_bytes_max as usize)),
            queue_bytes_max: options.queue_bytes_max,
            record_bytes_max: options.record_bytes_max,
            batch_bytes_max: options.batch_bytes_max,
            durability: options.durability,
            waiting: Arc::default(),
        }
    }

    /// Sends a command that is not an append. Returns where the answer will arrive.
    pub fn send<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply))?;
        Ok(answer)
    }

    /// Queues an append, at once if there is room. The committer is not called.
    pub fn submit(&self, submitted: Submitted<'_>) -> AppendFuture {
        let partitions = submitted.slots.len() as u32;
        if let Err(error) = self.check(submitted.source, partitions, &submitted.records) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if submitted.records.is_empty() {
            return Box::pin(std::future::ready(Ok(Appended::default())));
        }
        let order: Vec<u32> = submitted.records.iter().map(|record| record.partition).collect();
        let (request, share, answer) = self.request(submitted, None);
        match self.enter(request, share) {
            Ok(sent) => Box::pin(async move {
                sent?;
                acknowledged(answer.await.unwrap_or(Err(LogError::Closed))?, &order, partitions)
            }),
            Err(request) => {
                let queue = self.clone();
                Box::pin(async move {
                    queue.wait_and_enter(request, share).await?;
                    acknowledged(answer.await.unwrap_or(Err(LogError::Closed))?, &order, partitions)
                })
            }
        }
    }

    /// Queues an append whose records are numbered, at once if there is room and none waits for it. The committer is not called.
    pub fn submit_numbered(&self, submitted: Submitted<'_>, numbering: Numbering) -> NumberedFuture {
        let (first, count) = (numbering.first, submitted.records.len());
        let checked = self.check(submitted.source, submitted.slots.len() as u32, &submitted.records);
        if let Err(error) = checked.and_then(|()| numbering.end(count as u64)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if count == 0 {
            return Box::pin(std::future::ready(Ok(Numbered::default())));
        }
        let (request, share, answer) = self.request(submitted, Some(numbering));
        let placed = move |placed: Placed| Numbered { records: place(first, count, &placed.runs) };
        let none_waits = self.waiting.load(Ordering::SeqCst) == 0;
        match if none_waits { self.enter(request, share) } else { Err(request) } {
            Ok(sent) => Box::pin(async move {
                sent?;
                answer.await.unwrap_or(Err(LogError::Closed)).map(placed)
            }),
            Err(request) => {
                let (queue, waiting) = (self.clone(), Waiting::new(&self.waiting));
                Box::pin(async move {
                    queue.wait_and_enter(request, share).await?;
                    drop(waiting);
                    answer.await.unwrap_or(Err(LogError::Closed)).map(placed)
                })
            }
        }
    }

    /// What the committer is given, how much room it takes, and where the answer will arrive.
    fn request(
        &self,
        submitted: Submitted<'_>,
        numbering: Option<Numbering>,
    ) -> (Request, u32, oneshot::Receiver<Result<Placed>>) {
        let Submitted { slots, records, durability, .. } = submitted;
        let (reply, answer) = oneshot::channel();
        let first = numbering.as_ref().map(|numbering| numbering.first);
        let (runs, bytes) = encode(&records, slots.len() as u32, self.batch_bytes_max, first);
        let (record_count, durability) = (records.len() as u64, durability.unwrap_or(self.durability));
        let request = Request { slots, runs, record_count, durability, numbering, reply, permit: None };
        // A larger append than the whole queue is let in alone.
        let share = (bytes + APPEND_BYTES).min(self.queue_bytes_max) as u32;
        (request, share, answer)
    }

    /// Sends an append to the committer if there is room for it, else gives it back.
    fn enter(&self, mut request: Request, share: u32) -> Result<Result<()>, Request> {
        match self.room.clone().try_acquire_many_owned(share) {
            Ok(permit) => {
                request.permit = Some(permit);
                Ok(self.commands.send(Command::Append(request)))
            }
            Err(_) => Err(request),
        }
    }

    async fn wait_and_enter(&self, mut request: Request, share: u32) -> Result<()> {
        let permit = self.room.clone().acquire_many_owned(share).await;
        request.permit = Some(permit.map_err(|_| LogError::Closed)?);
        self.commands.send(Command::Append(request))?;
        // Whoever waits for it may have done its rounds already.
        self.turns.call();
        Ok(())
    }

    fn check(&self, source: &str, partitions: u32, records: &[Append]) -> Result<()> {
        for record in records {
            if record.partition >= partitions {
                let (name, partition) = (source.to_owned(), record.partition);
                return Err(LogError::UnknownPartition { name, partition, partitions });
            }
            let bytes = record.bytes() as u64;
            if bytes > self.record_bytes_max {
                return Err(LogError::RecordTooLarge { bytes, bytes_max: self.record_bytes_max });
            }
        }
        Ok(())
    }
}

/// Gives every record its offset.
fn acknowledged(placed: Placed, order: &[u32], partitions: u32) -> Result<Appended> {
    let bases = placed.bases;
    if let [(_, base)] = bases[..] {
        return Ok(Appended { records: (base..).zip(order).map(|(offset, &partition)| (partition, offset)).collect() });
    }
    let mut next = vec![0; partitions as usize];
    for (partition, base) in bases {
        next[partition as usize] = base;
    }
    let mut place = |partition: u32| {
        let offset = next[partition as usize];
        next[partition as usize] += 1;
        (partition, offset)
    };
    Ok(Appended { records: order.iter().map(|&partition| place(partition)).collect() })
}

/// Encodes records by partition, in pieces that fit a batch; numbered from `first` on, if that is given. Returns the bytes of all
/// pieces, too.
pub(crate) fn encode(records: &[Append], partitions: u32, batch_bytes_max: u64, first: Option<u64>) -> (Vec<Run>, u64) {
    let mut run_of = vec![usize::MAX; partitions as usize];
    let mut left: Vec<u64> = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for record in records {
        let slot = &mut run_of[record.partition as usize];
        if *slot == usize::MAX {
            *slot = runs.len();
            runs.push(Run { partition: record.partition, frames: Vec::with_capacity(1) });
            left.push(0);
        }
        left[*slot] += frame_bytes(record);
    }
    let bytes = left.iter().sum();
    for (number, record) in (first.unwrap_or(0)..).zip(records) {
        let at = run_of[record.partition as usize];
        let (frames, frame) = (&mut runs[at].frames, frame_bytes(record));
        let fits = |last: &Frames| last.bytes.len() as u64 + frame <= batch_bytes_max;
        if !frames.last().is_some_and(fits) {
            let capacity = left[at].min(batch_bytes_max).max(frame) as usize;
            let numbers = first.map(|_| Arc::default());
            frames.push(Frames { bytes: Vec::with_capacity(capacity), record_count: 0, numbers });
        }
        if let Some(last) = frames.last_mut() {
            encode_frame(&mut last.bytes, record.key.as_deref(), &record.payload);
            last.record_count += 1;
            if let Some(numbers) = last.numbers.as_mut().and_then(Arc::get_mut) {
                numbers.push(number);
            }
        }
        left[at] -= frame;
    }
    (runs, bytes)
}

fn frame_bytes(record: &Append) -> u64 {
    (FRAME_PREFIX_BYTES + record.bytes()) as u64
}
