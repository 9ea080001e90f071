//! Opening a partition for writing: what a process that died left behind, and whether all that was durable is still there.
//!
//! The active segment is read: of batches that the head file says are durable only the headers, for their bodies were synced before
//! that was written (who reads them checks them), unless they speak of producers; the rest whole. When a batch in it is bad, the question is whether its records may have been
//! acknowledged. They may not if nothing says that they were durable: neither the head file nor a good batch further on, whose
//! header names the durable offset that its writer knew. A batch written at level `fsync` has nothing unsynced before it, so
//! any good batch behind a bad one proves damage. Only then is the rest of the file a *torn tail*, which is set aside. (At
//! level `os` several batches may be unsynced when the machine loses power, and the disk may have kept a later one but not an
//! earlier: the later one's header does not claim the earlier, and they are set aside together.) Nothing but zeros is no tail: a writer
//! fills the file with them ahead of the records, and they are cut off.
//!
//! The same walk finds out what the partition knows about producers; what the partitions of a source know together is what its
//! producers are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::attribution::{self, Attribution};
use crate::file_log::Shared;
use crate::file_system::{FileHandle, read_exact, read_fully};
use crate::files::Disk;
use crate::format::{BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, SEGMENT_VERSION};
use crate::head::HeadFile;
use crate::index::{Place, SegmentIndex, Summary};
use crate::known::Known;
use crate::partition::Partition;
use crate::partition_writer::{PartitionWriter, create_segment};
use crate::places::{PlacedRun, RecentPlaces};
use crate::producers::Producers;
use crate::segment::Segment;
use crate::{LogError, Offset, OpenMode, Result, files, lost, retention, sources};

/// How much of a segment is in memory at a time, unless a batch is larger.
const WINDOW_BYTES: u64 = 1024 * 1024;
/// From what size on the body of a batch is not read where only its header is needed.
const PASSED_BYTES_LARGE: u64 = 16 * 1024;

/// What opening a log for writing had to mend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Tails that were being written when the process or the machine died.
    pub torn: Vec<TornTail>,
    /// Index and head files that were missing or damaged and have been made anew.
    pub rebuilt: Vec<PathBuf>,
}

/// Bytes at the end of a segment that are no good record batch and were never acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The source.
    pub source: String,
    /// The partition.
    pub partition: u32,
    /// The segment they were cut off.
    pub segment: PathBuf,
    /// Where in the segment they began.
    pub byte_offset: u64,
    /// How many there were.
    pub bytes: u64,
    /// The offset their first record would have had; the next record appended gets it.
    pub offset: Offset,
    /// The file they were set aside in.
    pub kept_in: PathBuf,
    /// What is wrong with them.
    pub reason: String,
}

/// Opens all partitions of all sources for writing.
///
/// What a process wrote before it died is there, but need not be durable: nothing may be built on it before it is. So every
/// directory is synced.
///
/// Up to `threads` partitions of a source are checked at a time.
pub(crate) fn open_all(shared: &Shared, producers_max: usize, now_micros: i64, threads: usize) -> Result<Recovered> {
    let Shared { disk, dir, .. } = shared;
    for name in files::list(disk, dir)?.into_iter().filter(|name| files::check_source_name(name).is_ok()) {
        sources::refuse_headless(disk, &dir.join(name))?;
    }
    let found = sources::list(disk, dir)?;
    if found.is_empty() {
        // The log may be new. Once it has a source, this has been done.
        files::sync_above(disk, dir)?;
    }
    files::sync_dir(disk, dir)?;
    let (mut writers, mut producers, mut report) = (Vec::new(), BTreeMap::new(), RecoveryReport::default());
    for (name, partitions) in found {
        let (first, dir) = (writers.len(), dir.join(&name));
        files::sync_dir(disk, &dir)?;
        let dirs: Vec<PathBuf> = (0..partitions).map(|partition| dir.join(partition.to_string())).collect();
        let places: Vec<PartitionPlace<'_>> = (0..)
            .zip(&dirs)
            .map(|(partition, dir)| PartitionPlace { disk, dir, source: &name, partition, partitions, now_micros })
            .collect();
        let mut known = Known::default();
        for opened in open_partitions(&places, threads)? {
            writers.push(opened.writer);
            known.merge(opened.known);
            report.torn.extend(opened.report.torn);
            report.rebuilt.extend(opened.report.rebuilt);
        }
        if !known.is_empty() {
            producers.insert(name.clone(), Producers::recovered(&name, producers_max, known));
        }
        shared.add_source(&name, first, writers[first..].iter().map(|writer| writer.shared.clone()).collect());
    }
    Ok(Recovered { writers, producers, report })
}

/// All that opening a log for writing found.
pub(crate) struct Recovered {
    pub writers: Vec<PartitionWriter>,
    /// By source, where there are any.
    pub producers: BTreeMap<String, Producers>,
    pub report: RecoveryReport,
}

/// One partition, opened.
struct Opened {
    writer: PartitionWriter,
    known: Known,
    report: RecoveryReport,
}

/// Opens partitions, up to `threads` at a time; in their order. The error is that of the first one that has one.
fn open_partitions(places: &[PartitionPlace<'_>], threads: usize) -> Result<Vec<Opened>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let open_some = || {
        let mut opened = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = places.get(index) else { break };
            let mut report = RecoveryReport::default();
            let result = open_partition(place, &mut report);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            opened.push((index, result.map(|(writer, known)| Opened { writer, known, report })));
        }
        opened
    };
    let mut opened = std::thread::scope(|scope| {
        // If a thread cannot be had, the others do its part.
        let helpers: Vec<_> = (1..threads.min(places.len()))
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, open_some).ok())
            .collect();
        let mut opened = open_some();
        for helper in helpers {
            opened.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        opened
    });
    opened.sort_by_key(|(index, _)| *index);
    opened.into_iter().map(|(_, opened)| opened).collect()
}

/// Which partition is opened.
pub(crate) struct PartitionPlace<'a> {
    pub disk: &'a Disk,
    pub dir: &'a Path,
    pub source: &'a str,
    pub partition: u32,
    /// How many the source has.
    pub partitions: u32,
    pub now_micros: i64,
}

/// Opens one partition for writing. Returns what it knows about producers, too.
pub(crate) fn open_partition(
    place: &PartitionPlace<'_>,
    report: &mut RecoveryReport,
) -> Result<(PartitionWriter, Known)> {
    let &PartitionPlace { disk, dir, source, partition, partitions, now_micros } = place;
    remove_unfinished(disk, dir)?;
    files::sync_dir(disk, dir)?;
    let mut bases = files::list_bases(disk, dir, files::SEGMENT)?;
    let Some(&last) = bases.last() else {
        return Err(LogError::damaged(dir, 0, "the partition has no segment"));
    };
    let noted = retention::noted_last_time(disk, dir)?;
    let mut last_time_micros = noted.unwrap_or(i64::MIN);
    let holes = lost::list(disk, dir)?;
    for pair in bases.windows(2) {
        let end = lost::end_before(&holes, pair[1]);
        last_time_micros = last_time_micros.max(check_sealed(disk, dir, source, partition, pair[0], end, report)?);
    }
    let active = Segment::open(disk, dir, last, source, partition, false, OpenMode::Write)?;
    let (mut head_file, durable) = open_head(disk, dir, report)?;
    let (mut known, mut recent) = (active.known()?, RecentPlaces::of(partitions));
    let mut learn = |header: &BatchHeader, attribution: Attribution| {
        known.note(&attribution, header.append_time_micros);
        let base_offset = header.base_offset + u64::from(attribution.first_record);
        recent.push(
            attribution.producer,
            PlacedRun { partition, base_offset, numbers: attribution.numbers, repeated: true },
        );
    };
    if let Some(torn) = scan_active(disk, &active, source, partition, durable, &mut learn)? {
        tracing::warn!(
            source, partition, segment = %torn.segment.display(), byte_offset = torn.byte_offset, bytes = torn.bytes,
            kept_in = %torn.kept_in.display(), reason = torn.reason, "set a torn tail aside"
        );
        report.torn.push(torn);
    }
    let SegmentIndex { end, times, .. } = active.index().clone();
    if end.offset < durable {
        let reason = format!("the segment ends with offset {}, but records up to {durable} were durable", end.offset);
        return Err(active.damaged(end.at, &reason));
    }
    if noted.is_none() && bases.len() == 1 && last > 0 && end.offset == last {
        let reason = "the file is missing, and no record is left to tell the last append time";
        return Err(LogError::damaged(&retention::last_time_path(dir), 0, reason));
    }
    make_durable(&active, durable, end)?;
    active.file.seek(end.at).map_err(LogError::io("seek in", &active.path))?;
    head_file.write(end.offset)?;
    head_file.sync()?;
    head_file.write(end.offset)?;
    let active = if active.version == SEGMENT_VERSION {
        active
    } else {
        // An earlier version's segment gets no batch of this one.
        let next = create_segment(disk, dir, source, partition, end.offset, now_micros, &known)?;
        files::sync_dir(disk, dir)?;
        if end.offset > last {
            active.index().save(disk, dir, last, active.salt)?;
            bases.push(end.offset);
        }
        next
    };
    let active = Arc::new(active);
    let (disk, name, dir) = (disk.clone(), source.to_owned(), dir.to_owned());
    let writer = PartitionWriter {
        shared: Arc::new(Partition::written_here(disk, name, partition, dir, bases, active.clone(), end.offset)),
        active,
        head_file,
        next_offset: end.offset,
        durable_offset: end.offset,
        last_time_micros: times.map_or(last_time_micros, |(_, last)| last),
        pending: Default::default(),
        reserved: 0,
        recent,
    };
    Ok((writer, known))
}

/// Removes what a dead writer had not finished making, and indexes whose segment retention has deleted.
fn remove_unfinished(disk: &Disk, dir: &Path) -> Result<()> {
    for name in files::list(disk, dir)? {
        if name.ends_with(".tmp") {
            files::remove_if_there(disk, &dir.join(name))?;
        }
    }
    for extension in [files::INDEX, files::TIME_INDEX] {
        for base in files::list_bases(disk, dir, extension)? {
            if !files::exists(disk, &files::base_path(dir, base, files::SEGMENT))? {
                files::remove_if_there(disk, &files::base_path(dir, base, extension))?;
            }
        }
    }
    Ok(())
}

/// Checks that a sealed segment reaches to `next`, and that it has indexes. Returns its last append time.
fn check_sealed(
    disk: &Disk,
    dir: &Path,
    source: &str,
    partition: u32,
    base: Offset,
    next: Offset,
    report: &mut RecoveryReport,
) -> Result<i64> {
    let segment = Segment::open(disk, dir, base, source, partition, false, OpenMode::Read)?;
    let summary = Summary::load(disk, dir, base, segment.file_bytes()?, segment.salt)?;
    if let Some(summary) = summary.filter(|summary| summary.end_offset == next) {
        return Ok(summary.last_time);
    }
    if let Some((place, reason)) = scan(&segment, 0, &mut |_, _| {})? {
        if last_written(&segment, place)? > place.at {
            return Err(segment.damaged(place.at, &reason));
        }
        let file = files::open(disk, &segment.path, OpenMode::Write)?;
        cut(&*file, &segment.path, place)?;
    }
    let index = segment.index();
    if index.end.offset != next {
        let reason = format!("the segment ends with offset {}, but the next begins with {next}", index.end.offset);
        return Err(segment.damaged(index.end.at, &reason));
    }
    match index.save(disk, dir, base, segment.salt) {
        Ok(()) => {
            report.rebuilt.push(files::base_path(dir, base, files::INDEX));
            report.rebuilt.push(files::base_path(dir, base, files::TIME_INDEX));
        }
        // On a full disk the log must open, so that what is old can be deleted.
        Err(error) => tracing::warn!(%error, "could not write the index of a sealed segment; readers scan it instead"),
    }
    Ok(index.times.map_or(i64::MIN, |(_, last)| last))
}

/// The head file, for writing, and what it says; 0 if it has to be made anew.
fn open_head(disk: &Disk, dir: &Path, report: &mut RecoveryReport) -> Result<(HeadFile, Offset)> {
    let path = HeadFile::path_in(dir);
    if !files::exists(disk, &path)? {
        report.rebuilt.push(path);
        let made = HeadFile::create(disk, dir, 0)?;
        files::sync_dir(disk, dir)?;
        return Ok((made, 0));
    }
    // Written in place, not replaced: readers in other processes have it open.
    let head_file = HeadFile::open_to_write(disk, dir)?;
    let durable = head_file.read_if_good()?;
    if durable.is_none() {
        report.rebuilt.push(path);
    }
    Ok((head_file, durable.unwrap_or(0)))
}

/// Scans the active segment into its index and cuts off a torn tail.
fn scan_active(
    disk: &Disk,
    segment: &Segment,
    source: &str,
    partition: u32,
    durable: Offset,
    learn: &mut dyn FnMut(&BatchHeader, Attribution),
) -> Result<Option<TornTail>> {
    let Some((place, reason)) = scan(segment, durable, learn)? else { return Ok(None) };
    if durable > place.offset {
        return Err(segment.damaged(place.at, &format!("{reason}; its records were durable (the head is {durable})")));
    }
    let written = last_written(segment, place)?;
    if written == place.at {
        // Zeros ahead of the records.
        cut(&*segment.file, &segment.path, place)?;
        return Ok(None);
    }
    if let Some((follower, durable)) = claim_after(segment, place)? {
        let reason = format!("{reason}; its records were durable (the batch at byte {follower} knew {durable} to be)");
        return Err(segment.damaged(place.at, &reason));
    }
    set_aside(disk, segment, source, partition, place, written - place.at, reason).map(Some)
}

/// Where what is not zero ends, behind `place`.
fn last_written(segment: &Segment, place: Place) -> Result<u64> {
    let mut window = Window::new(segment)?;
    let (mut at, mut written) = (place.at, place.at);
    while at < window.file_bytes {
        let bytes = window.get(at, 1)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            written = at + last as u64 + 1;
        }
        at += bytes.len().max(1) as u64;
    }
    Ok(written)
}

/// Checks every batch of a segment and extends its index over them; `learn` is told which records are whose. Of batches below
/// `durable` that no producer numbered, the bodies are passed over. Returns where the first bad one begins and what is wrong with it.
fn scan(
    segment: &Segment,
    durable: Offset,
    learn: &mut dyn FnMut(&BatchHeader, Attribution),
) -> Result<Option<(Place, String)>> {
    let mut window = Window::new(segment)?;
    loop {
        let place = segment.index().end;
        if place.at == window.file_bytes {
            return Ok(None);
        }
        let needs_body = |header: &BatchHeader| header.end_offset() > durable || header.attribution_bytes > 0;
        match window.batch(place.at, needs_body)? {
            Ok((header, attributed)) if header.base_offset == place.offset => {
                let Some(attributed) = attribution::decode(attributed, header.record_count) else {
                    let reason = "what the batch says about producers contradicts itself";
                    return Ok(Some((place, reason.to_owned())));
                };
                attributed.into_iter().for_each(|attribution| learn(&header, attribution));
                segment.index().push(&header);
            }
            Ok((header, _)) => {
                let reason = format!("a batch begins with offset {}, expected {}", header.base_offset, place.offset);
                return Ok(Some((place, reason)));
            }
            Err(reason) => return Ok(Some((place, reason.to_owned()))),
        }
    }
}

/// Looks behind a bad batch for a good one that knew its records to be durable. Returns where it is and what it knew.
fn claim_after(segment: &Segment, bad: Place) -> Result<Option<(u64, Offset)>> {
    let mut window = Window::new(segment)?;
    let mut at = bad.at;
    while at + BATCH_HEADER_BYTES as u64 <= window.file_bytes {
        let bytes = window.get(at, BATCH_HEADER_BYTES as u64)?;
        let Some(skip) = bytes.windows(BATCH_MAGIC.len()).position(|candidate| candidate == BATCH_MAGIC) else {
            at += (bytes.len() - BATCH_MAGIC.len() + 1) as u64;
            continue;
        };
        at += skip as u64;
        match window.batch(at, |_| true)? {
            Ok((header, _)) if header.base_offset >= bad.offset => {
                if header.durable_offset > bad.offset {
                    return Ok(Some((at, header.durable_offset)));
                }
                at += u64::from(header.bytes);
            }
            _ => at += 1,
        }
    }
    Ok(None)
}

/// Copies so many bytes from `place` on into a file of its own, durably, and cuts the segment off there.
fn set_aside(
    disk: &Disk,
    segment: &Segment,
    source: &str,
    partition: u32,
    place: Place,
    bytes: u64,
    reason: String,
) -> Result<TornTail> {
    let dir = segment.path.parent().unwrap_or(Path::new("."));
    let name = |again: u32| {
        let suffix = if again == 0 { String::new() } else { format!("-{again}") };
        dir.join(format!("{:020}-{}{suffix}.{}", segment.base, place.at, files::TORN))
    };
    let mut again = 0;
    while files::exists(disk, &name(again))? {
        again += 1;
    }
    let kept_in = name(again);
    let mut torn = Vec::new();
    let mut at = place.at;
    let copy = disk.open(&kept_in, OpenMode::CreateNew).map_err(LogError::io("create", &kept_in))?;
    while at < place.at + bytes {
        torn.resize(WINDOW_BYTES.min(place.at + bytes - at) as usize, 0);
        let filled = read_fully(&*segment.file, &mut torn, at).map_err(LogError::io("read", &segment.path))?;
        copy.write_all_at(&torn[..filled], at - place.at).map_err(LogError::io("write", &kept_in))?;
        at += filled.max(1) as u64;
    }
    copy.sync_all().map_err(LogError::io("fsync", &kept_in))?;
    files::sync_dir(disk, dir)?;
    cut(&*segment.file, &segment.path, place)?;
    let (source, segment) = (source.to_owned(), segment.path.clone());
    Ok(TornTail { source, partition, segment, byte_offset: place.at, bytes, offset: place.offset, kept_in, reason })
}

/// Cuts a segment's file off at `place`, durably.
fn cut(file: &dyn FileHandle, path: &Path, place: Place) -> Result<()> {
    file.set_bytes(place.at).map_err(LogError::io("cut", path))?;
    file.sync_all().map_err(LogError::io("fsync", path))
}

/// Makes all batches durable that are not known to be. They are written again first: after a failed `fsync` the operating
/// system may hold pages that it takes for written and the disk does not have.
fn make_durable(segment: &Segment, durable: Offset, end: Place) -> Result<()> {
    if end.offset == durable {
        return Ok(());
    }
    let mut at = if durable < segment.base { segment.begin } else { segment.index().floor(durable).at };
    let mut bytes = Vec::new();
    while at < end.at {
        bytes.resize(WINDOW_BYTES.min(end.at - at) as usize, 0);
        read_exact(&*segment.file, &mut bytes, at).map_err(LogError::io("read", &segment.path))?;
        segment.file.write_all_at(&bytes, at).map_err(LogError::io("write", &segment.path))?;
        at += bytes.len() as u64;
    }
    segment.file.sync_all().map_err(LogError::io("fsync", &segment.path))
}

/// A part of a segment in memory.
struct Window<'a> {
    segment: &'a Segment,
    file_bytes: u64,
    buffer: Vec<u8>,
    at: u64,
    /// Of the last batch, 0 if its body was read; none has been met at first.
    passed_bytes: Option<u64>,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment) -> Result<Self> {
        Ok(Self { segment, file_bytes: segment.file_bytes()?, buffer: Vec::new(), at: 0, passed_bytes: None })
    }

    /// The bytes from `at` on, at least `least` of them if the file has as many.
    fn get(&mut self, at: u64, least: u64) -> Result<&[u8]> {
        self.load(at, least, WINDOW_BYTES)
    }

    /// The same; about `window` bytes are read at once.
    fn load(&mut self, at: u64, least: u64, window: u64) -> Result<&[u8]> {
        let end = (at + least).min(self.file_bytes);
        if at < self.at || end > self.at + self.buffer.len() as u64 {
            self.buffer.resize(least.max(window).min(self.file_bytes - at) as usize, 0);
            let read = read_fully(&*self.segment.file, &mut self.buffer, at);
            let filled = read.map_err(LogError::io("read", &self.segment.path))?;
            self.buffer.truncate(filled);
            self.at = at;
        }
        Ok(&self.buffer[(at - self.at) as usize..])
    }

    /// The header of the good batch at `at` and what it says about producers, or what is wrong with it. The body is checked only
    /// if it is needed.
    fn batch(
        &mut self,
        at: u64,
        needs_body: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Result<(BatchHeader, &[u8]), &'static str>> {
        let (salt, left) = (self.segment.salt, self.file_bytes - at);
        // After a large body that was passed over, the next one likely will be, too; the first one may be large.
        let window = match self.passed_bytes {
            None => PASSED_BYTES_LARGE,
            Some(PASSED_BYTES_LARGE..) => BATCH_HEADER_BYTES as u64,
            Some(_) => WINDOW_BYTES,
        };
        let header = match BatchHeader::decode(self.load(at, BATCH_HEADER_BYTES as u64, window)?, salt) {
            Ok(header) if u64::from(header.bytes) > left => return Ok(Err("the batch is cut off")),
            Ok(header) => header,
            Err(reason) => return Ok(Err(reason)),
        };
        self.passed_bytes = Some(0);
        if !needs_body(&header) {
            self.passed_bytes = Some(u64::from(header.bytes));
            return Ok(Ok((header, &[])));
        }
        let bytes = self.get(at, u64::from(header.bytes))?;
        let body = &bytes[BATCH_HEADER_BYTES..header.bytes as usize];
        Ok(header.check_body(body).map(|()| (header, &body[..header.attribution_bytes as usize])))
    }
}
