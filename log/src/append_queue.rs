//! The way of an append to the committer: encoded by the caller's thread, bounded in bytes, answered once.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::format::{FRAME_PREFIX_BYTES, encode_frame};
use crate::{Append, AppendFuture, Appended, Durability, LogError, Offset, Options, Position, Result};

/// Charged for each append on top of its records, so that a flood of empty records is bounded too.
const APPEND_BYTES: u64 = 128;

/// Encoded records of one partition that go into one batch.
pub(crate) struct Frames {
    pub bytes: Vec<u8>,
    pub record_count: u32,
}

/// The records of an append that go to one partition, in order.
pub(crate) struct Run {
    pub partition: u32,
    pub frames: Vec<Frames>,
}

/// One append on its way.
pub(crate) struct Request {
    /// Index of the source's first partition among all that the committer writes.
    pub first_slot: usize,
    pub runs: Vec<Run>,
    pub durability: Durability,
    pub reply: oneshot::Sender<Result<Vec<(u32, Offset)>>>,
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What the committer is asked to do.
pub(crate) enum Command {
    Append(Request),
    CreateSource { name: String, partitions: u32, reply: oneshot::Sender<Result<()>> },
    Seal { slots: std::ops::Range<usize>, reply: oneshot::Sender<Result<()>> },
    Retain { below: Position, appended_before_micros: i64, reply: oneshot::Sender<Result<Vec<crate::Deleted>>> },
    Close { reply: oneshot::Sender<Result<()>> },
}

/// The bounded queue.
#[derive(Clone)]
pub(crate) struct AppendQueue {
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    queue_bytes_max: u64,
    record_bytes_max: u64,
    batch_bytes_max: u64,
    durability: Durability,
}

impl AppendQueue {
    pub fn new(commands: mpsc::Sender<Command>, options: &Options) -> Self {
        Self {
            commands,
            room: Arc::new(Semaphore::new(options.queue_bytes_max as usize)),
            queue_bytes_max: options.queue_bytes_max,
            record_bytes_max: options.record_bytes_max,
            batch_bytes_max: options.batch_bytes_max,
            durability: options.durability,
        }
    }

    /// Sends a command that is not an append. Returns where the answer will arrive.
    pub fn send<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| LogError::Closed)?;
        Ok(answer)
    }

    /// Queues an append, at once if there is room.
    pub fn submit(
        &self,
        source: &str,
        partitions: u32,
        first_slot: usize,
        records: Vec<Append>,
        durability: Option<Durability>,
    ) -> AppendFuture {
        if let Err(error) = self.check(source, partitions, &records) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if records.is_empty() {
            return Box::pin(std::future::ready(Ok(Appended::default())));
        }
        let (reply, answer) = oneshot::channel();
        let (runs, bytes) = encode(&records, partitions, self.batch_bytes_max);
        let order: Vec<u32> = records.iter().map(|record| record.partition).collect();
        drop(records);
        let durability = durability.unwrap_or(self.durability);
        let mut request = Request { first_slot, runs, durability, reply, permit: None };
        // A larger append than the whole queue is let in alone.
        let share = (bytes + APPEND_BYTES).min(self.queue_bytes_max) as u32;
        match self.room.clone().try_acquire_many_owned(share) {
            Ok(permit) => {
                request.permit = Some(permit);
                let sent = self.commands.send(Command::Append(request));
                Box::pin(async move {
                    sent.map_err(|_| LogError::Closed)?;
                    acknowledged(answer, &order, partitions).await
                })
            }
            Err(_) => {
                let queue = self.clone();
                Box::pin(async move {
                    let permit = queue.room.acquire_many_owned(share).await;
                    request.permit = Some(permit.map_err(|_| LogError::Closed)?);
                    queue.commands.send(Command::Append(request)).map_err(|_| LogError::Closed)?;
                    acknowledged(answer, &order, partitions).await
                })
            }
        }
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

/// Waits for the answer and gives every record its offset.
async fn acknowledged(
    answer: oneshot::Receiver<Result<Vec<(u32, Offset)>>>,
    order: &[u32],
    partitions: u32,
) -> Result<Appended> {
    let bases = answer.await.unwrap_or(Err(LogError::Closed))?;
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

/// Encodes records by partition, in pieces that fit a batch. Returns the bytes of all pieces, too.
pub(crate) fn encode(records: &[Append], partitions: u32, batch_bytes_max: u64) -> (Vec<Run>, u64) {
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
    for record in records {
        let at = run_of[record.partition as usize];
        let (frames, frame) = (&mut runs[at].frames, frame_bytes(record));
        let fits = |last: &Frames| last.bytes.len() as u64 + frame <= batch_bytes_max;
        if !frames.last().is_some_and(fits) {
            let capacity = left[at].min(batch_bytes_max).max(frame) as usize;
            frames.push(Frames { bytes: Vec::with_capacity(capacity), record_count: 0 });
        }
        if let Some(last) = frames.last_mut() {
            encode_frame(&mut last.bytes, record.key.as_deref(), &record.payload);
            last.record_count += 1;
        }
        left[at] -= frame;
    }
    (runs, bytes)
}

fn frame_bytes(record: &Append) -> u64 {
    (FRAME_PREFIX_BYTES + record.bytes()) as u64
}
