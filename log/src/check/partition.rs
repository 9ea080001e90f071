//! Checking one partition: its segments, their indexes, its head.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::salvage::{Bad, Place, Salvage, other_version, salvage};
use super::source::leftover;
use super::{Expected, LogCheck, LogDamage, list};
use crate::files::Disk;
use crate::head::HeadFile;
use crate::{LogError, Offset, Result, files, head, lost, retention};

/// A segment as a check found it.
pub(super) struct Checked {
    pub base: Offset,
    /// Where the next one begins; `None` for the last.
    pub next: Option<Offset>,
    pub path: PathBuf,
    pub salvage: Salvage,
    pub bytes: u64,
}

impl Checked {
    /// The offset after the last good batch.
    pub fn end(&self) -> Offset {
        self.salvage.end(self.base)
    }

    /// What of a partition that must hold everything in `kept` this segment's part is.
    fn area(&self, kept: &Range<Offset>) -> Range<Offset> {
        self.base..self.next.unwrap_or_else(|| kept.end.max(self.end()))
    }
}

/// A partition as a check found it.
pub(super) struct Inspected {
    pub segments: Vec<Checked>,
    /// The records that must be there.
    pub kept: Range<Offset>,
    /// Holes that are marked.
    pub lost: Vec<Range<Offset>>,
    /// Stretches that must be there and are not, ascending, the marked holes among them.
    pub gaps: Vec<Range<Offset>>,
}

impl Inspected {
    /// Bad places that are no torn tail: a bad end of the last segment that nobody knew to be durable.
    pub fn bad<'a>(&'a self, segment: &'a Checked) -> impl Iterator<Item = &'a Bad> {
        let torn = |bad: &Bad| self.is_torn(segment, bad);
        segment.salvage.bad.iter().filter(move |bad| !torn(bad))
    }

    fn is_torn(&self, segment: &Checked, bad: &Bad) -> bool {
        segment.next.is_none() && bad.at > 0 && bad.offset >= self.kept.end
    }

    /// The append times of the readable records before and after these.
    fn appended_around(&self, ranges: &[Range<Offset>]) -> (Option<i64>, Option<i64>) {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return (None, None) };
        let headers = || self.segments.iter().flat_map(|segment| &segment.salvage.pieces).map(|piece| &piece.header);
        let before = headers().rfind(|header| header.end_offset() <= first.start);
        let after = headers().find(|header| header.base_offset >= last.end);
        (before.map(|header| header.append_time_micros), after.map(|header| header.append_time_micros))
    }

    /// Gaps that are not marked holes.
    pub fn unmarked(&self) -> impl Iterator<Item = Range<Offset>> {
        self.gaps.iter().flat_map(|gap| lost::outside(&self.lost, gap))
    }

    /// Whether none of `range` is there.
    pub fn is_hole(&self, range: &Range<Offset>) -> bool {
        lost::outside(&self.gaps, range).is_empty()
    }
}

/// What is known of a partition besides its segments.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Every record below it was durable once.
    pub durable: Offset,
    /// Retention has deleted nothing at or above it, if that is known.
    pub kept_from: Option<Offset>,
    /// Whether a process writes to the log, and so may delete its oldest segments at any time.
    pub written: bool,
}

/// Reads all segments of a partition.
pub(super) fn inspect(disk: &Disk, dir: &Path, source: &str, partition: u32, known: Known) -> Result<Inspected> {
    let bases = match files::list_bases(disk, dir, files::SEGMENT) {
        Err(error) if error.is_not_found() => Vec::new(),
        bases => bases?,
    };
    let mut segments = Vec::with_capacity(bases.len());
    for (index, &base) in bases.iter().enumerate() {
        let path = files::base_path(dir, base, files::SEGMENT);
        let Some(bytes) = files::read(disk, &path)? else { continue };
        if let Some(reason) = other_version(&bytes) {
            return Err(LogError::damaged(&path, 8, reason));
        }
        let salvage = salvage(&bytes, Place { source, partition, base });
        segments.push(Checked { base, next: bases.get(index + 1).copied(), path, salvage, bytes: bytes.len() as u64 });
    }
    let claimed = segments.iter().map(|segment| segment.salvage.claimed.max(segment.base)).max().unwrap_or(0);
    let start = match segments.first() {
        Some(first) if known.written => first.base,
        Some(first) => first.base.min(known.kept_from.unwrap_or(first.base)),
        None => known.kept_from.unwrap_or(0),
    };
    let kept = start..known.durable.max(claimed).max(start);
    let lost = lost::list(disk, dir).unwrap_or_default();
    let gaps = gaps(&segments, &kept);
    Ok(Inspected { segments, kept, lost, gaps })
}

/// What of `kept` is in no segment: ascending, and divided where segments begin.
fn gaps(segments: &[Checked], kept: &Range<Offset>) -> Vec<Range<Offset>> {
    let first = segments.first().map_or(kept.end, |first| first.base);
    let before_all: Range<Offset> = kept.start..first;
    let mut gaps = vec![before_all];
    for segment in segments {
        let area = segment.area(kept);
        let mut at = area.start;
        for piece in &segment.salvage.pieces {
            gaps.push(at..piece.header.base_offset.min(area.end));
            at = at.max(piece.header.end_offset());
        }
        gaps.push(at..area.end);
    }
    for gap in &mut gaps {
        gap.end = gap.end.min(kept.end);
    }
    gaps.retain(|gap| gap.start < gap.end);
    gaps
}

pub(super) fn check(
    disk: &Disk,
    dir: &Path,
    source: &str,
    partition: u32,
    expected: &Expected,
    written: bool,
    check: &mut LogCheck,
) -> Result<()> {
    let of = (source, Some(partition));
    // Before the segments: what a writer appends meanwhile lies above it.
    let head = head_state(disk, dir)?;
    let known = known(expected, source, partition, head.offset, written);
    let found = inspect(disk, dir, source, partition, known)?;
    check.start.set(source, partition, found.kept.start);
    check.end.set(source, partition, found.kept.end);
    for segment in &found.segments {
        check.files += 1;
        check.segments += 1;
        check.bytes += segment.bytes;
        check.batches += segment.salvage.pieces.len() as u64;
        check.records += segment.salvage.pieces.iter().map(|piece| u64::from(piece.header.record_count)).sum::<u64>();
    }
    let before = check.findings.len();
    find_records(dir, of, &found, written, check);
    find_lost(disk, dir, of, &found, check)?;
    for finding in &mut check.findings[before..] {
        finding.appended_micros = match &finding.damage {
            LogDamage::Records { unreadable } => found.appended_around(unreadable),
            LogDamage::Lost { records } => found.appended_around(std::slice::from_ref(records)),
            _ => (None, None),
        };
    }
    find_indexes(disk, dir, of, &found, written, check)?;
    find_head(dir, of, head, &found, written, check);
    find_last_time(disk, dir, of, &found, check);
    find_leftovers(disk, dir, of, &found, written, check)
}

/// What others and the head file know.
pub(super) fn known(expected: &Expected, source: &str, partition: u32, head: Option<Offset>, written: bool) -> Known {
    let durable = head.unwrap_or(0).max(expected.durable.partition(source, partition));
    let kept_from = expected.kept_from.as_ref().map(|position| position.partition(source, partition));
    Known { durable, kept_from, written }
}

/// What the head file says.
pub(super) struct HeadState {
    pub offset: Option<Offset>,
    pub problem: Option<String>,
}

pub(super) fn head_state(disk: &Disk, dir: &Path) -> Result<HeadState> {
    let file = match HeadFile::open(disk, dir) {
        Ok(file) => file,
        Err(LogError::StaleHead { reason, .. }) => return Ok(HeadState { offset: None, problem: Some(reason) }),
        Err(error) => return Err(error),
    };
    match file.read() {
        Ok(offset) => Ok(HeadState { offset: Some(offset), problem: None }),
        Err(LogError::StaleHead { reason, .. }) => {
            Ok(HeadState { offset: file.read_if_good()?, problem: Some(reason) })
        }
        Err(error) => Err(error),
    }
}

/// Damage of segments, one finding for each, and segments that are missing.
fn find_records(dir: &Path, of: (&str, Option<u32>), found: &Inspected, written: bool, check: &mut LogCheck) {
    let mut open: Vec<Range<Offset>> = found.unmarked().collect();
    for segment in &found.segments {
        let area = segment.area(&found.kept);
        let within = |gap: &Range<Offset>| area.start <= gap.start && gap.start < area.end;
        let unreadable: Vec<_> = open.iter().filter(|gap| within(gap)).cloned().collect();
        // A gap that begins where a whole segment ends is the next segment's, which is missing.
        let first = found.bad(segment).next();
        if let Some(first) = first {
            open.retain(|gap| !within(gap));
            check.find(of, &segment.path, first.at, LogDamage::Records { unreadable }, first.reason.as_str());
        }
        for bad in segment.salvage.bad.iter().filter(|bad| found.is_torn(segment, bad)).take(usize::from(!written)) {
            let reason = format!("a torn tail, which the next writer sets aside ({})", bad.reason);
            check.find(of, &segment.path, bad.at, LogDamage::Leftover, reason);
        }
    }
    for gap in open {
        let path = files::base_path(dir, gap.start, files::SEGMENT);
        let (from, to) = (gap.start, gap.end);
        let reason =
            format!("records {from} to {to} were durable, but no segment has them: it is missing, or one is cut off");
        check.find(of, &path, 0, LogDamage::Records { unreadable: vec![gap] }, reason);
    }
    if found.segments.is_empty() && found.kept.is_empty() {
        let path = files::base_path(dir, found.kept.start, files::SEGMENT);
        check.find(of, &path, 0, LogDamage::Records { unreadable: vec![] }, "the partition has no segment");
    }
}

fn find_lost(disk: &Disk, dir: &Path, of: (&str, Option<u32>), found: &Inspected, check: &mut LogCheck) -> Result<()> {
    if let Err(LogError::Damaged { path, reason, .. }) = lost::list(disk, dir) {
        check.find(of, &path, 0, LogDamage::LostMark, reason);
        return Ok(());
    }
    for range in &found.lost {
        let path = lost::path(dir, range);
        if found.is_hole(range) || range.end <= found.kept.start {
            let reason = format!("records {} to {} were lost to damage", range.start, range.end);
            check.find(of, &path, 0, LogDamage::Lost { records: range.clone() }, reason);
        } else {
            check.find(of, &path, 0, LogDamage::LostMark, "marks a hole where there is none");
        }
    }
    Ok(())
}

/// Indexes of sealed segments must say what their segment does.
fn find_indexes(
    disk: &Disk,
    dir: &Path,
    of: (&str, Option<u32>),
    found: &Inspected,
    written: bool,
    check: &mut LogCheck,
) -> Result<()> {
    let sealed = found.segments.iter().filter(|segment| segment.next.is_some());
    // A writer that is there may just have sealed the newest one: its indexes are what it writes next.
    let unfinished = sealed.clone().map(|segment| segment.base).max().filter(|_| written);
    for segment in sealed.filter(|segment| Some(segment.base) != unfinished) {
        for extension in [files::INDEX, files::TIME_INDEX] {
            let path = files::base_path(dir, segment.base, extension);
            check.files += 1;
            check.bytes += files::read(disk, &path)?.map_or(0, |bytes| bytes.len() as u64);
        }
        // Of a damaged segment it is made anew with the segment.
        if !segment.salvage.bad.is_empty() {
            continue;
        }
        for (path, reason) in segment.salvage.index.problems(disk, dir, segment.base, segment.salvage.salt)? {
            check.find(of, &path, 0, LogDamage::Index, reason);
        }
    }
    Ok(())
}

fn find_head(
    dir: &Path,
    of: (&str, Option<u32>),
    head: HeadState,
    found: &Inspected,
    written: bool,
    check: &mut LogCheck,
) {
    let path = HeadFile::path_in(dir);
    check.files += 1;
    check.bytes += head::FILE_BYTES as u64;
    let problem = match (head.problem, head.offset) {
        (Some(problem), _) => Some(problem),
        // A writer that is there has moved on since the head was read.
        (None, Some(offset)) if offset < found.kept.end && !written => {
            Some(format!("it says {offset}, but records up to {} were durable", found.kept.end))
        }
        _ => None,
    };
    if let Some(problem) = problem {
        check.find(of, &path, 0, LogDamage::Head, problem);
    }
}

fn find_last_time(disk: &Disk, dir: &Path, of: (&str, Option<u32>), found: &Inspected, check: &mut LogCheck) {
    let path = retention::last_time_path(dir);
    let has_records = found.segments.iter().any(|segment| !segment.salvage.pieces.is_empty());
    match retention::noted_last_time(disk, dir) {
        Err(error) => check.find(of, &path, 0, LogDamage::LastTime, error.reason()),
        Ok(None) if !has_records && found.kept.start > 0 && found.gaps.is_empty() => {
            check.find(of, &path, 0, LogDamage::LastTime, "the file is missing, and no record is left");
        }
        Ok(_) => {}
    }
}

fn find_leftovers(
    disk: &Disk,
    dir: &Path,
    of: (&str, Option<u32>),
    found: &Inspected,
    written: bool,
    check: &mut LogCheck,
) -> Result<()> {
    let own = |name: &str| {
        let based = |extension| files::base_of(name, extension);
        let indexed = based(files::INDEX).or(based(files::TIME_INDEX));
        let has_segment = |base| found.segments.iter().any(|segment| segment.base == base);
        name == "head"
            || name == "lasttime"
            || name.ends_with(".lost")
            || based(files::SEGMENT).is_some()
            || indexed.is_some_and(has_segment)
    };
    for name in list(disk, dir)?.into_iter().filter(|name| !own(name)) {
        // Files under way and deleted ones of a writer that is there.
        if written && !name.contains(".damaged") && !name.ends_with(".torn") {
            continue;
        }
        check.find(of, &dir.join(&name), 0, LogDamage::Leftover, leftover(&name));
    }
    Ok(())
}
