//! What can go wrong, and what the user should do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Offset, ProducerId};

/// The result of every call of this crate.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// Why a call failed. Cloneable, because appends that share one `fsync` share its error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused an operation outside the append path. Look at the cause (permissions, disk space,
    /// number of open files); the call can be repeated once that is mended.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Bytes that were durable are no longer what was written. Nothing of them is served. Restore the file from a copy or
    /// from the archive; do not cut it by hand while records above it matter.
    #[error("{} is damaged at byte {byte_offset}: {reason}", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where in that file the damaged thing begins.
        byte_offset: u64,
        /// What does not fit.
        reason: String,
    },

    /// A write or an `fsync` failed, so the log can no longer say what is durable and takes no further append. Mend the
    /// disk, then open the log again: recovery decides which records exist. Appends answered with this error may or may not
    /// be in the log afterwards.
    #[error("the log has stopped: writing {} failed: {cause}", path.display())]
    Stopped {
        /// The file whose write or `fsync` failed.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        cause: Arc<io::Error>,
    },

    /// A partition's head file is missing, damaged or behind the partition's segments, so that a reader might not see all
    /// acknowledged records. The next writer makes it anew: open the log for writing once.
    #[error("the head file {} cannot be relied on ({reason}); the next writer makes it anew", path.display())]
    StaleHead {
        /// The head file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Records were lost to damage, as an earlier mending of the log has marked. Put the segment that was set aside back from a
    /// copy, if there is one, and mend again.
    #[error("records {from} to {to} of {name:?}/{partition} were lost to damage")]
    Lost {
        /// The source.
        name: String,
        /// The partition.
        partition: u32,
        /// The first record that is lost.
        from: Offset,
        /// The offset after the last that is lost.
        to: Offset,
    },

    /// Another handle, usually in another process, writes to this log. Talk to it through its control socket, or stop it.
    #[error("the log in {} is being written by {}", dir.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// The process that holds the lock, where the lock file says so.
        pid: Option<u32>,
    },

    /// There is no log in this directory. Check the path, or let a writer create the log first.
    #[error("there is no log in {}", dir.display())]
    NotALog {
        /// The directory.
        dir: PathBuf,
    },

    /// This handle cannot write. Open the log with [`FileLog::open_writer`](crate::FileLog::open_writer).
    #[error("the log in {} is open for reading only", dir.display())]
    ReadOnly {
        /// The log's directory.
        dir: PathBuf,
    },

    /// The log was closed. Appends answered with this error may or may not be in the log.
    #[error("the log is closed")]
    Closed,

    /// No source of this name exists. Create it, or correct the name.
    #[error("there is no source {name:?}")]
    UnknownSource {
        /// The name asked for.
        name: String,
    },

    /// The source has fewer partitions than that.
    #[error("source {name:?} has {partitions} partitions, there is no partition {partition}")]
    UnknownPartition {
        /// The source.
        name: String,
        /// The partition asked for.
        partition: u32,
        /// How many the source has.
        partitions: u32,
    },

    /// The source exists with another number of partitions, which cannot change: offsets would lose their meaning. Create a
    /// new source.
    #[error("source {name:?} has {partitions} partitions; that cannot be changed to {asked}")]
    PartitionsFixed {
        /// The source.
        name: String,
        /// How many it has.
        partitions: u32,
        /// How many were asked for.
        asked: u32,
    },

    /// An argument or an option is outside what the log accepts. Correct it; nothing was written.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// Which argument or option.
        what: &'static str,
        /// What is wrong with it, and what is accepted.
        reason: String,
    },

    /// The record is larger than the log accepts. Store the body elsewhere and append a reference, or raise
    /// `record_bytes_max`. Nothing of the append was written.
    #[error("a record of {bytes} bytes is larger than the limit of {bytes_max} bytes")]
    RecordTooLarge {
        /// Key and payload together.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },

    /// The producer skipped numbers of its own: what lies between was not appended, or was lost with a crash before it was
    /// acknowledged. Send again from `expected`. Nothing of the append was written.
    #[error(
        "producer {producer} appends number {number} to {name:?}, but its next one is {expected}: send again from there"
    )]
    NumberGap {
        /// The source.
        name: String,
        /// The producer.
        producer: ProducerId,
        /// The number that came.
        number: u64,
        /// The first number that the log does not have.
        expected: u64,
    },

    /// So many other producers have come since that this one was forgotten, or (rarely) its name cannot be told from that of
    /// one that was. What it appended is in the log, but which records those were is no longer known. Go on under another
    /// name, numbering from 0 what was not appended. Nothing was written.
    #[error(
        "producer {producer} of {name:?} was forgotten: which of its records are in the log is no longer known; use another name"
    )]
    ProducerForgotten {
        /// The source.
        name: String,
        /// The producer.
        producer: ProducerId,
    },

    /// As many producers as are remembered, and the one to be forgotten next is just appending. Try again. Nothing was written.
    #[error("{name:?} has {producers_max} producers that are appending; try again")]
    TooManyProducers {
        /// The source.
        name: String,
        /// How many are remembered.
        producers_max: usize,
    },

    /// The records were deleted by retention. Read them from the archive, or begin at `start`.
    #[error("offset {offset} of {name:?}/{partition} is no longer in the log, which begins at {start}")]
    BelowStart {
        /// The source.
        name: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: Offset,
        /// The earliest offset that is still there.
        start: Offset,
    },

    /// The offset has not been reached. A position that was read from this log never lies above its head, so the position
    /// belongs to another log, or this log was replaced.
    #[error("offset {offset} of {name:?}/{partition} lies above the head, {head}")]
    AboveHead {
        /// The source.
        name: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: Offset,
        /// The partition's head.
        head: Offset,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_owned(), cause: Arc::new(cause) }
    }

    pub(crate) fn stopped(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Stopped { path: path.to_owned(), cause: Arc::new(cause) }
    }

    pub(crate) fn damaged(path: &Path, byte_offset: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), byte_offset, reason: reason.into() }
    }

    /// Turns an error of a file operation into the one that stops the log.
    pub(crate) fn into_stopped(self) -> Self {
        match self {
            Self::Io { path, cause, .. } => Self::Stopped { path, cause },
            other => other,
        }
    }

    /// What is wrong, without the file, where the error has it apart.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Damaged { reason, .. } | Self::StaleHead { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the error is about records of one partition that are damaged or lost, so that other partitions are as they were.
    pub fn is_of_one_partition(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Lost { .. })
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}
