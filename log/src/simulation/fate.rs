//! What is asked of a simulated disk, and what becomes of it.

use std::io;
use std::path::PathBuf;

/// One thing that a process asks of its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// How many operations the process had asked for before.
    pub number: u64,
    /// What is asked.
    pub kind: OperationKind,
    /// The file or directory.
    pub path: PathBuf,
    /// How many bytes are to be read or written, or the size to be set; 0 for other operations.
    pub bytes: u64,
}

/// What a process may ask of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// Opening a file that is there.
    Open,
    /// Opening a file that is made or emptied if need be.
    Create,
    /// Looking at a file without opening it.
    LookAt,
    /// Listing a directory.
    List,
    /// Creating a directory and those above it.
    CreateDir,
    /// Renaming a file; the path is the new one.
    Rename,
    /// Giving a file one more name; the path is that one.
    Link,
    /// Removing a file, or a directory that is empty.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Reading from an open file.
    Read,
    /// Writing to an open file.
    Write,
    /// Syncing an open file.
    Sync,
    /// Asking for an open file's size.
    Size,
    /// Cutting or extending an open file.
    SetSize,
    /// Taking or giving up a lock.
    Lock,
}

impl OperationKind {
    /// Whether it makes something durable.
    pub fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }

    /// Whether it changes something.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::LookAt | Self::List | Self::Read | Self::Size)
    }

    /// Whether it can be done in part: of others, [`Effect::Part`] is the same as nothing.
    pub fn has_parts(self) -> bool {
        matches!(self, Self::CreateDir | Self::Read | Self::Write | Self::Sync)
    }
}

/// How much of an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// The first half of the bytes, every second sector of a sync, the uppermost missing directory.
    Part,
    /// All of it.
    Whole,
}

/// What the process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// That it is done; of bytes, how many.
    Done,
    /// An error.
    Failed(Failure),
    /// Nothing: it is killed.
    Killed,
}

/// Errors of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The device fails (`EIO`).
    Io,
    /// The disk is full (`ENOSPC`).
    Full,
    /// The process may not (any more) do this (`EACCES`).
    Permission,
    /// A signal came first (`EINTR`); the same call may be made again.
    Interrupted,
}

impl Failure {
    /// As the operating system gives it.
    pub fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => 5,
            Self::Full => 28,
            Self::Permission => 13,
            Self::Interrupted => 4,
        })
    }
}

/// What becomes of an operation. Of those that only ask, an effect without an answer is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fate {
    /// What is done.
    pub effect: Effect,
    /// What the process is told.
    pub answer: Answer,
}

impl Fate {
    /// It is done.
    pub const DONE: Self = Self { effect: Effect::Whole, answer: Answer::Done };
    /// Fewer bytes than asked for are read or written, which is not an error.
    pub const SHORT: Self = Self { effect: Effect::Part, answer: Answer::Done };
    /// The process is killed just before it.
    pub const KILLED_BEFORE: Self = Self { effect: Effect::Nothing, answer: Answer::Killed };
    /// The process is killed in the middle of it.
    pub const KILLED_WITHIN: Self = Self { effect: Effect::Part, answer: Answer::Killed };
    /// The process is killed just after it.
    pub const KILLED_AFTER: Self = Self { effect: Effect::Whole, answer: Answer::Killed };

    /// It fails, having done this much.
    pub const fn failed(effect: Effect, failure: Failure) -> Self {
        Self { effect, answer: Answer::Failed(failure) }
    }
}
