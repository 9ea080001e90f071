//! Checking a log file by file, and mending it.
//!
//! A check reads everything and changes nothing; it runs beside a writer. Mending holds the writer's lock. It makes indexes and
//! heads anew from the segments, and damaged or missing records from what is left of their segment and from copies that the
//! caller has ([`Copies`]: the archive). What is damaged is set aside beside its place, as `<name>.damaged`, never deleted. A
//! mending that is killed is done again: nothing is taken away before what replaces it is durable.
//!
//! Records that are nowhere any more become a marked hole: what needs them fails and says so, all else goes on.

mod hands;
mod mend;
mod partition;
mod rebuild;
mod salvage;
mod source;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::mend::{CopiedRecord, Copies, MendOptions, Mended, NoCopies, mend, mend_on};
use crate::files::Disk;
use crate::lock::lock_holder_on;
use crate::{FileSystem, Offset, OperatingSystem, Position, Result, files};

/// What others know of a log: epochs and manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The number of partitions of sources that have been in the log.
    pub partitions: BTreeMap<String, u32>,
    /// Every record below it was durable once.
    pub durable: Position,
    /// Retention has deleted nothing at or above it; `None` if that is not known.
    pub kept_from: Option<Position>,
}

/// What is wrong with a file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDamage {
    /// The `source` file is missing or damaged. It is made anew with this number of partitions.
    Source {
        /// As many as others know, or as there are directories.
        partitions: u32,
    },
    /// The head file is missing, damaged or behind. It is made anew from the segments.
    Head,
    /// An index file of a sealed segment is missing, damaged or another's. It is made anew from the segment.
    Index,
    /// The note of the last append time is missing or damaged while no record is left to tell it.
    LastTime,
    /// A segment is missing, damaged or has surplus bytes. Batches that are good are kept.
    Records {
        /// The records that cannot be read from it, ascending; none if only something around them is damaged.
        unreadable: Vec<Range<Offset>>,
    },
    /// A marked hole: records that an earlier mending could not make anew.
    Lost {
        /// The records.
        records: Range<Offset>,
    },
    /// The mark of a hole that is damaged, or where there is no hole.
    LostMark,
    /// No damage: a torn tail, what a dead writer had not finished, originals that were set aside, files that are not the log's.
    Leftover,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFinding {
    /// The file, or where it should be.
    pub path: PathBuf,
    /// Where in the file it is no longer what was written; 0 if as a whole.
    pub byte_offset: u64,
    /// The source.
    pub source: String,
    /// The partition; `None` for what belongs to the whole source.
    pub partition: Option<u32>,
    /// What kind of damage it is.
    pub damage: LogDamage,
    /// What was found there.
    pub reason: String,
    /// Of damaged records: the append times of the readable records before and after, microseconds since the Unix epoch.
    pub appended_micros: (Option<i64>, Option<i64>),
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCheck {
    /// Damage and leftovers.
    pub findings: Vec<LogFinding>,
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments among them.
    pub segments: u64,
    /// Good record batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Where each partition begins.
    pub start: Position,
    /// Up to where each partition must reach: what its files and others know to have been durable.
    pub end: Position,
}

/// Checks every file of the log in `dir`, whether or not a process writes to it. Changes nothing.
///
/// # Errors
/// Those of the operating system. Damage is no error but a finding, also if there is no log where others know of one.
pub fn check(dir: impl AsRef<Path>, expected: &Expected) -> Result<LogCheck> {
    check_on(&(Arc::new(OperatingSystem) as Disk), dir, expected)
}

/// The same, of a log whose files are elsewhere than with the operating system.
pub fn check_on(files: &Arc<dyn FileSystem>, dir: impl AsRef<Path>, expected: &Expected) -> Result<LogCheck> {
    let dir = dir.as_ref();
    // Asked first: what a writer that is there now does meanwhile is not taken for damage.
    let written = lock_holder_on(files, dir).map_or(true, |holder| holder.is_some());
    check_all(files, dir, expected, written)
}

/// The check of the process that holds the writer's lock and does not write.
fn check_held(disk: &Disk, dir: &Path, expected: &Expected) -> Result<LogCheck> {
    check_all(disk, dir, expected, false)
}

fn check_all(disk: &Disk, dir: &Path, expected: &Expected, written: bool) -> Result<LogCheck> {
    let mut check = LogCheck::default();
    for source in source::names(disk, dir, expected)? {
        source::check(disk, dir, &source, expected, written, &mut check)?;
    }
    Ok(check)
}

impl LogCheck {
    fn find(
        &mut self,
        (source, partition): (&str, Option<u32>),
        path: &Path,
        byte_offset: u64,
        damage: LogDamage,
        reason: impl Into<String>,
    ) {
        let (path, source, reason) = (path.to_owned(), source.to_owned(), reason.into());
        let appended_micros = (None, None);
        self.findings.push(LogFinding { path, byte_offset, source, partition, damage, reason, appended_micros });
    }
}

/// The names in a directory, in order; none if it is missing.
fn list(disk: &Disk, dir: &Path) -> Result<Vec<String>> {
    match files::list(disk, dir) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        listed => listed.map(|mut names| {
            names.sort();
            names
        }),
    }
}
