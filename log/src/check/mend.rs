//! Mending what a check finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::hands::Hands;
use super::partition::{head_state, inspect, known};
use super::{Expected, LogDamage, LogFinding, rebuild, source};
use crate::files::Disk;
use crate::format::encode_source;
use crate::head::HeadFile;
use crate::lock::WriterLock;
use crate::recovery::PartitionPlace;
use crate::sources::SOURCE_FILE;
use crate::{FileSystem, LogError, Offset, OperatingSystem, RecoveryReport, Result, files, lost, recovery, retention};

/// A record that someone has a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its append time, microseconds since the Unix epoch.
    pub append_time_micros: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its payload.
    pub payload: Bytes,
}

/// Where copies of a log's records are: the archive.
pub trait Copies {
    /// Consecutive records of a partition that begin with `range.start`, as many as there are at once, none at or above
    /// `range.end`. None if there is no copy of the first.
    fn read(&self, source: &str, partition: u32, range: std::ops::Range<Offset>) -> Vec<CopiedRecord>;
}

/// There is no copy of anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCopies;

impl Copies for NoCopies {
    fn read(&self, _: &str, _: u32, _: std::ops::Range<Offset>) -> Vec<CopiedRecord> {
        Vec::new()
    }
}

/// How to mend.
#[derive(Clone, Copy, Debug, Default)]
pub struct MendOptions {
    /// The time, for new files.
    pub now_micros: i64,
    /// Stops, as if killed, before so many and one changes of files: for tests.
    pub stop_after: Option<u64>,
}

/// Something that was mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The file.
    pub path: PathBuf,
    /// What was done.
    pub done: String,
}

/// Mends the log in `dir`, as its only writer. What cannot be made anew becomes a marked hole, which a check then reports as
/// lost. Doing it again does nothing.
///
/// # Errors
/// [`LogError::Locked`] while a process writes to the log; those of the operating system.
pub fn mend(
    dir: impl AsRef<Path>,
    expected: &Expected,
    copies: &dyn Copies,
    options: MendOptions,
) -> Result<Vec<Mended>> {
    mend_on(&(Arc::new(OperatingSystem) as Disk), dir, expected, copies, options)
}

/// The same, of a log whose files are elsewhere than with the operating system.
pub fn mend_on(
    disk: &Arc<dyn FileSystem>,
    dir: impl AsRef<Path>,
    expected: &Expected,
    copies: &dyn Copies,
    options: MendOptions,
) -> Result<Vec<Mended>> {
    let dir = dir.as_ref();
    files::create_dir(disk, dir)?;
    let _lock = WriterLock::take(disk, dir, None)?;
    let found = super::check_held(disk, dir, expected)?;
    let mut hands = Hands::new(disk, options.stop_after);
    for source in source::names(disk, dir, expected)? {
        mend_source(dir, &source, &found.findings, expected, copies, options.now_micros, &mut hands)?;
    }
    Ok(hands.mended)
}

fn mend_source(
    log_dir: &Path,
    source: &str,
    findings: &[LogFinding],
    expected: &Expected,
    copies: &dyn Copies,
    now_micros: i64,
    hands: &mut Hands,
) -> Result<()> {
    let dir = log_dir.join(source);
    let path = dir.join(SOURCE_FILE);
    let of_source = |finding: &&LogFinding| finding.source == source;
    let rewritten = findings.iter().filter(of_source).find_map(|finding| match finding.damage {
        LogDamage::Source { partitions } => Some(partitions),
        _ => None,
    });
    let partitions = match rewritten {
        Some(partitions) => partitions,
        // A source whose creation was not finished is left to those who create it.
        None if !files::exists(&hands.disk, &path)? => return Ok(()),
        None => crate::sources::partitions(&hands.disk, log_dir, source)?.unwrap_or(0),
    };
    hands.create_dir(&dir)?;
    for partition in 0..partitions {
        let of_partition = |finding: &&LogFinding| of_source(finding) && finding.partition == Some(partition);
        let findings: Vec<&LogFinding> = findings.iter().filter(of_partition).collect();
        let place = Part { dir: dir.join(partition.to_string()), source, partition, partitions, now_micros };
        if findings.iter().any(|finding| finding.damage != LogDamage::Leftover) {
            place.mend(&findings, expected, copies, hands)?;
        }
    }
    // Last, as when a source is created: with this file, the source is there.
    if let Some(partitions) = rewritten {
        hands.set_aside_copy(&path)?;
        hands.create(&path, &encode_source(source, partitions), &format!("written anew: {partitions} partitions"))?;
        hands.sync_dir(&dir)?;
        hands.sync_dir(log_dir)?;
    }
    Ok(())
}

/// A partition that is mended.
pub(super) struct Part<'a> {
    pub dir: PathBuf,
    pub source: &'a str,
    pub partition: u32,
    /// How many the source has.
    pub partitions: u32,
    pub now_micros: i64,
}

impl Part<'_> {
    fn mend(
        &self,
        findings: &[&LogFinding],
        expected: &Expected,
        copies: &dyn Copies,
        hands: &mut Hands,
    ) -> Result<()> {
        hands.create_dir(&self.dir)?;
        for finding in findings.iter().filter(|finding| finding.damage == LogDamage::LostMark) {
            hands.set_aside(&finding.path)?;
        }
        let head = head_state(&hands.disk, &self.dir)?;
        let known = known(expected, self.source, self.partition, head.offset, false);
        let found = inspect(&hands.disk, &self.dir, self.source, self.partition, known)?;
        rebuild::records(self, &found, copies, hands)?;
        let end = found.kept.end;
        for mark in lost::list(&hands.disk, &self.dir)? {
            // What an earlier mending could not make anew, this one has.
            let found = inspect(&hands.disk, &self.dir, self.source, self.partition, known)?;
            if !found.is_hole(&mark) && mark.end > found.kept.start {
                hands.set_aside(&lost::path(&self.dir, &mark))?;
            }
        }
        for finding in findings {
            match finding.damage {
                LogDamage::Index => hands.set_aside(&finding.path)?,
                LogDamage::LastTime => self.last_time(end, copies, hands)?,
                _ => {}
            }
        }
        if head.problem.is_some() || head.offset.is_some_and(|offset| offset < end) {
            self.head(end, hands)?;
        }
        hands.sync_dir(&self.dir)?;
        // Everything else is what every writer does when it opens the log.
        let mut report = RecoveryReport::default();
        let &Part { source, partition, partitions, now_micros, .. } = self;
        let place = PartitionPlace { disk: &hands.disk, dir: &self.dir, source, partition, partitions, now_micros };
        recovery::open_partition(&place, &mut report)?;
        for path in report.rebuilt {
            hands.note(&path, "made anew from the segments");
        }
        for torn in report.torn {
            hands.note(&torn.segment, &format!("its torn tail was set aside in {}", torn.kept_in.display()));
        }
        Ok(())
    }

    /// A head file that says at least what is known; the writer's recovery raises it to what the segments have.
    fn head(&self, durable: Offset, hands: &mut Hands) -> Result<()> {
        let path = HeadFile::path_in(&self.dir);
        if !files::exists(&hands.disk, &path)? {
            hands.step()?;
            HeadFile::create(&hands.disk, &self.dir, durable)?;
            hands.note(&path, "made anew from the segments");
            return Ok(());
        }
        hands.set_aside_copy(&path)?;
        hands.step()?;
        // Written in place: readers in other processes have it open.
        let mut file = HeadFile::open_to_write(&hands.disk, &self.dir)?;
        file.write(durable)?;
        file.sync()?;
        file.write(durable)?;
        file.sync()?;
        hands.note(&path, "made anew from the segments");
        Ok(())
    }

    /// The last append time is needed only where no record tells it.
    fn last_time(&self, end: Offset, copies: &dyn Copies, hands: &mut Hands) -> Result<()> {
        let path = retention::last_time_path(&self.dir);
        hands.set_aside_copy(&path)?;
        let last = end.checked_sub(1).and_then(|last| copies.read(self.source, self.partition, last..end).pop());
        let micros = last.as_ref().map_or(i64::MIN, |record| record.append_time_micros);
        hands.step()?;
        retention::note_last_time(&hands.disk, &self.dir, micros)?;
        hands.note(&path, if last.is_some() { "made anew from a copy of the last record" } else { "emptied" });
        Ok(())
    }
}

/// The error of a mending that a test stops.
pub(super) fn stopped() -> LogError {
    LogError::Closed
}
