//! The embedded event log: append-only, partitioned, durable.
//!
//! Kafka's ideas at the size of a library. A *source* has partitions; a partition is a sequence of *records* with dense
//! offsets, kept in *segments* of checksummed record batches. One process writes; any number, in any process, read from any
//! offset or time while it does. An acknowledged record is on stable storage, and no reader sees one that is not.
//!
//! It is not a broker (nothing listens on a network), keeps no offsets for its readers (they carry a [`Position`]), does not
//! look into payloads, and has no transactions across calls.
//!
//! ```
//! use std::sync::Arc;
//! use watershed_log::{Append, EventLog, FileLog, Options, SystemClock};
//!
//! # fn main() -> watershed_log::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let log = FileLog::open_writer(dir.path(), Options::default(), Arc::new(SystemClock))?;
//! log.create_source("payments", 4)?;
//! let appended = log.append("payments", vec![Append::new(2, r#"{"amount": 12}"#).with_key("card-7")])?;
//! assert_eq!(appended.records, [(2, 0)]);
//!
//! let head = log.head()?;
//! let chunk = log.read("payments", 2, 0, head.partition("payments", 2), 1 << 20)?;
//! for record in &chunk {
//!     assert_eq!(record.payload, br#"{"amount": 12}"#);
//! }
//! assert_eq!(chunk.next_offset(), 1);
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! | module | subject |
//! | --- | --- |
//! | [`EventLog`] | the trait all else is written against; [`contract`] is what its implementations must keep |
//! | [`FileLog`] | the log in a directory: writer or reader |
//! | [`MemoryLog`] | the same contract without a disk, for tests |
//! | [`Position`] | for each partition of each source, the next offset |
//! | [`Append`], [`Record`], [`RecordChunk`] | records going in and coming out |
//! | [`ProducerId`], [`Numbering`] | producers that number their records and may send them again |
//! | [`RecoveryReport`] | what opening for writing had to mend |
//! | [`check`](mod@check) | whether every file is what was written, and mending those that are not |
//! | [`lock_holder`] | which process writes |
//! | [`FileSystem`] | the files below it all, and the disk that [`simulation`] puts in their place |
//! | [`format`](mod@format) | the bytes on disk |

mod append_queue;
mod attribution;
pub mod check;
mod clock;
mod commands;
mod committer;
pub mod contract;
mod error;
mod event_log;
mod fields;
mod file_log;
mod file_system;
mod files;
mod follow;
mod forgotten;
pub mod format;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod index;
mod known;
mod lock;
mod lost;
mod memory_log;
mod options;
mod partition;
mod partition_writer;
mod places;
mod position;
mod producer;
mod producers;
mod ranges;
mod read_buffer;
mod record;
mod recovery;
mod retention;
mod segment;
pub mod simulation;
mod sources;
mod sync_pool;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{LogError, Result};
pub use event_log::{AppendFuture, Deleted, EventLog, NumberedFuture};
pub use file_log::FileLog;
pub use file_system::{FileHandle, FileInfo, FileSystem, OpenMode, OperatingSystem};
pub use lock::{LockHolder, lock_holder, lock_holder_on};
pub use memory_log::MemoryLog;
pub use options::{LogStats, Options};
pub use position::Position;
pub use producer::{Numbered, Numbering, Place, ProducerId};
pub use record::{Append, Appended, Durability, Record, RecordChunk, Records};
pub use recovery::{RecoveryReport, TornTail};

/// The number of a record in its partition: dense, from 0.
pub type Offset = u64;
