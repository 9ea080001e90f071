//! The trait that the rest of the system reads and writes through.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::{oneshot, watch};

use crate::{Append, Appended, Durability, LogError, Numbered, Numbering, Offset, Position, RecordChunk, Result};

/// An append under way. Needs no particular runtime. Dropping it does not take the records back.
pub type AppendFuture = Pin<Box<dyn Future<Output = Result<Appended>> + Send + 'static>>;

/// A numbered append under way. Needs no particular runtime. Dropping it does not take the records back.
pub type NumberedFuture = Pin<Box<dyn Future<Output = Result<Numbered>> + Send + 'static>>;

/// Sealed records that retention deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The source.
    pub source: String,
    /// The partition.
    pub partition: u32,
    /// The first offset that was deleted.
    pub from: Offset,
    /// The offset after the last that was deleted.
    pub to: Offset,
    /// How much space that gave back.
    pub bytes: u64,
}

/// A partitioned, append-only log of records.
///
/// Within a partition offsets are dense and append times never decrease. Readers carry their own offsets; there may be any
/// number of them while writing goes on. Nothing that is not durable is visible. What every implementation must keep is
/// written down in [`contract`](crate::contract).
///
/// Architecture invariant: nothing here names a file or a segment, so that a remote log can stand behind it.
pub trait EventLog: Send + Sync {
    /// Creates a source; does nothing if it exists with as many partitions, and is an error if it has another number.
    fn create_source(&self, name: &str, partitions: u32) -> Result<()>;

    /// The names of the sources, in order.
    fn sources(&self) -> Result<Vec<String>>;

    /// The number of partitions of a source.
    fn partitions(&self, source: &str) -> Result<u32>;

    /// The earliest offset still in each partition.
    fn start(&self) -> Result<Position>;

    /// The position up to which the log is durable.
    fn head(&self) -> Result<Position>;

    /// Reads records of one partition, from `from` up to `to` (exclusive) or the head, whichever comes first.
    ///
    /// Stops after about `bytes_max` bytes or wherever it is convenient, but returns at least one record if there is one:
    /// read on from [`RecordChunk::next_offset`]. At the head the chunk is empty. Below the start and above the head are
    /// errors.
    fn read(&self, source: &str, partition: u32, from: Offset, to: Offset, bytes_max: usize) -> Result<RecordChunk>;

    /// A place at or below `offset` at which reading can be divided: a read up to there and another one from there on have nothing to
    /// do twice. `offset` itself where all places are as good, or telling one would take much reading.
    fn divide(&self, _source: &str, _partition: u32, offset: Offset) -> Result<Offset> {
        Ok(offset)
    }

    /// Where a piece of about so many records that begins at `from` ends, at `end` at the latest: where reading can be divided, so that
    /// nothing is read for two pieces, unless that would leave little of it.
    fn end_of_piece(&self, source: &str, partition: u32, from: Offset, end: Offset, records: u64) -> Result<Offset> {
        if end - from <= records {
            return Ok(end);
        }
        let to = from + records;
        let begin = self.divide(source, partition, to)?;
        Ok(if begin > from + records / 2 { begin } else { to })
    }

    /// The first offset of a partition whose append time is `micros` or later; the head if there is none yet.
    fn offset_at_time(&self, source: &str, partition: u32, micros: i64) -> Result<Offset>;

    /// The head as it moves, from the head at the time of the call on. The channel closes when the log does.
    fn watch(&self) -> watch::Receiver<Position>;

    /// Appends records to one source, with the durability given or the log's own.
    ///
    /// The records take their place in the order of the calls, unless the queue is full: then when the future gets its turn.
    /// Records for one partition get consecutive offsets. The call is not one transaction: after a failure, some of its
    /// records may be in the log and others not.
    fn submit(&self, source: &str, records: Vec<Append>, durability: Option<Durability>) -> AppendFuture;

    /// Appends those of a producer's records that the source does not have.
    ///
    /// A producer numbers its records of a source 0, 1, 2, …; this call carries the consecutive ones from `numbering.first` on.
    /// What is in the log is not appended again, so after a lost acknowledgement, a crash of the producer, of this process or of
    /// the machine, the producer sends again what was not acknowledged, or all, in any pieces, and each record is there once,
    /// those of one partition in the order of their numbers. The number decides, not the bytes. A number that was appended stays
    /// so wherever its record is now: in the log, in the archive, or deleted.
    ///
    /// The acknowledgement says where each record is; of a record that was there before, if that is still remembered. It comes
    /// when all of them are durable as asked, the repeated ones too. A producer may have several appends under way. They take their
    /// place in the order of the calls or, while the queue is full, in the order in which their futures are first polled: one
    /// that overtook another would leave a gap and is refused. Like any append it is not one transaction: a crash may leave
    /// some of its records in the log; sending it again appends the others.
    ///
    /// Fails with [`LogError::NumberGap`] if numbers before `numbering.first` are missing. A log remembers a bounded number of
    /// producers per source, those that appended last; one that it has forgotten is refused with
    /// [`LogError::ProducerForgotten`].
    fn submit_numbered(
        &self,
        source: &str,
        numbering: Numbering,
        records: Vec<Append>,
        durability: Option<Durability>,
    ) -> NumberedFuture;

    /// Deletes sealed records that lie below `below` and were appended before `appended_before_micros`, oldest first, as far
    /// as the implementation's units (segments) allow, and says which. At least the newest records stay.
    fn retain(&self, below: &Position, appended_before_micros: i64) -> Result<Vec<Deleted>>;

    /// Appends and waits for the acknowledgement. Blocks the thread.
    fn append(&self, source: &str, records: Vec<Append>) -> Result<Appended> {
        block_on(self.submit(source, records, None))
    }

    /// Appends a producer's records and waits for the acknowledgement. Blocks the thread.
    fn append_numbered(&self, source: &str, numbering: Numbering, records: Vec<Append>) -> Result<Numbered> {
        block_on(self.submit_numbered(source, numbering, records, None))
    }

    /// Appends without blocking the thread.
    fn append_async(&self, source: &str, records: Vec<Append>) -> AppendFuture {
        self.submit(source, records, None)
    }

    /// Deletes what is sealed and lies below `position`, whatever its age.
    fn delete_sealed_below(&self, position: &Position) -> Result<Vec<Deleted>> {
        self.retain(position, i64::MAX)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the committer; it gives none once the log is closed.
pub(crate) fn block_on_answer<T>(answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    block_on(answer).unwrap_or(Err(LogError::Closed))
}

/// Waits for a future on this thread, without a runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
