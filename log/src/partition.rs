//! The reading side of one partition: which segments there are, and which of them holds an offset.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::files::Disk;
use crate::head::HeadFile;
use crate::segment::{Found, Segment};
use crate::{LogError, Offset, OpenMode, RecordChunk, Result, files, lost};

/// Sealed segments kept open per partition.
const OPEN_SEGMENTS_MAX: usize = 16;
/// Retention in another process may delete segments while a reader looks for one; each look at the directory is newer.
const LOOKS_MAX: usize = 16;

/// Where the head of a partition comes from.
#[derive(Debug)]
pub(crate) enum Head {
    /// This process writes it.
    Own(AtomicU64),
    /// Another process may: its head file is looked at each time.
    File {
        file: HeadFile,
        /// Whether what lies above the head has been looked at, once: it may show that the file lags behind.
        compared: AtomicBool,
    },
}

/// One partition, as readers see it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub disk: Disk,
    pub source: String,
    pub partition: u32,
    pub dir: PathBuf,
    head: Head,
    segments: RwLock<Segments>,
    /// Sealed segments lately used, the latest first.
    open: Mutex<Vec<Arc<Segment>>>,
}

#[derive(Debug, Default)]
struct Segments {
    /// Ascending; never empty once known.
    bases: Vec<Offset>,
    /// The segment being written, if this process writes it.
    active: Option<Arc<Segment>>,
}

impl Partition {
    /// A partition that this process writes.
    pub fn written_here(
        disk: Disk,
        source: String,
        partition: u32,
        dir: PathBuf,
        bases: Vec<Offset>,
        active: Arc<Segment>,
        head: Offset,
    ) -> Self {
        let segments = RwLock::new(Segments { bases, active: Some(active) });
        Self { disk, source, partition, dir, head: Head::Own(head.into()), segments, open: Mutex::default() }
    }

    /// A partition that another process may be writing.
    pub fn written_elsewhere(disk: Disk, source: String, partition: u32, dir: PathBuf) -> Result<Self> {
        let head = Head::File { file: HeadFile::open(&disk, &dir)?, compared: AtomicBool::new(false) };
        let (segments, open) = (RwLock::default(), Mutex::default());
        let found = Self { disk, source, partition, dir, head, segments, open };
        found.look()?;
        let newest = found.bases().last().copied().unwrap_or(0);
        // A segment begins when all before it is durable.
        found.check_head(newest)?;
        Ok(found)
    }

    /// The same partition for one who only reads, whoever writes it. Segments stay open.
    pub fn reader(&self) -> Result<Self> {
        let (disk, source, dir) = (self.disk.clone(), self.source.clone(), self.dir.clone());
        let reader = Self::written_elsewhere(disk, source, self.partition, dir)?;
        if reader.bases() == self.bases() {
            let active = self.segments.read().unwrap_or_else(PoisonError::into_inner).active.clone();
            let sealed = self.open_segments().clone();
            let known = active.into_iter().chain(sealed);
            *reader.open_segments() = known.take(OPEN_SEGMENTS_MAX).collect();
        }
        Ok(reader)
    }

    pub fn head(&self) -> Result<Offset> {
        match &self.head {
            Head::Own(head) => Ok(head.load(Ordering::Acquire)),
            Head::File { file, .. } => file.read(),
        }
    }

    /// Checks that the head is not below an offset that a segment knows to have been durable.
    fn check_head(&self, known: Offset) -> Result<()> {
        let Head::File { file, .. } = &self.head else { return Ok(()) };
        // A writer moves the head before it writes what knows of it: a head read after that is not below.
        let head = file.read()?;
        if head >= known {
            return Ok(());
        }
        let reason = format!("it says {head}, but records up to {known} were durable");
        Err(LogError::StaleHead { path: HeadFile::path_in(&self.dir), reason })
    }

    /// Publishes a new head. Its records must be durable and in the active segment's index.
    pub fn set_head(&self, offset: Offset) {
        if let Head::Own(head) = &self.head {
            head.store(offset, Ordering::Release);
        }
    }

    pub fn start(&self) -> Result<Offset> {
        if matches!(self.head, Head::File { .. }) {
            self.look()?;
        }
        Ok(self.bases()[0])
    }

    pub fn bases(&self) -> Vec<Offset> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).bases.clone()
    }

    /// Adds the segment that is now being written.
    pub fn begin_segment(&self, active: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.bases.push(active.base);
        let sealed = segments.active.replace(active);
        self.open_segments().splice(0..0, sealed);
    }

    /// Forgets the oldest segment, which is about to be deleted.
    pub fn forget_oldest(&self) {
        let base = self.segments.write().unwrap_or_else(PoisonError::into_inner).bases.remove(0);
        self.open_segments().retain(|segment| segment.base != base);
    }

    /// Takes back that the oldest segment is about to be deleted.
    pub fn remember_oldest(&self, base: Offset) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).bases.insert(0, base);
    }

    fn open_segments(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Segment>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the segments are no longer those, after a look.
    fn are_not(&self, bases: &[Offset]) -> Result<bool> {
        self.look()?;
        Ok(self.bases() != bases)
    }

    /// Looks in the directory which segments there are now.
    fn look(&self) -> Result<()> {
        if matches!(self.head, Head::Own(_)) {
            return Ok(());
        }
        let bases = files::list_bases(&self.disk, &self.dir, files::SEGMENT)?;
        if bases.is_empty() {
            return Err(LogError::damaged(&self.dir, 0, "the partition has no segment"));
        }
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if segments.bases != bases {
            // A segment that was being written when it was opened has no index from disk: let it be opened again.
            self.open_segments().clear();
            segments.bases = bases;
        }
        Ok(())
    }

    /// Whether another file has taken a segment's place: a writer of this version begins the empty one of an earlier version
    /// anew.
    fn was_replaced(&self, segment: &Segment) -> Result<bool> {
        if matches!(self.head, Head::Own(_)) {
            return Ok(false);
        }
        let (source, base) = (&self.source, segment.base);
        let now = Segment::open(&self.disk, &self.dir, base, source, self.partition, false, OpenMode::Read)?;
        if now.salt != segment.salt {
            self.open_segments().retain(|open| open.base != base);
        }
        Ok(now.salt != segment.salt)
    }

    fn segment(&self, base: Offset) -> Result<Arc<Segment>> {
        let sealed = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(active) = segments.active.as_ref().filter(|active| active.base == base) {
                return Ok(active.clone());
            }
            segments.bases.last() != Some(&base)
        };
        {
            let mut open = self.open_segments();
            if let Some(at) = open.iter().position(|segment| segment.base == base) {
                open[..=at].rotate_right(1);
                return Ok(open[0].clone());
            }
        }
        let (source, partition) = (&self.source, self.partition);
        let segment = Segment::open(&self.disk, &self.dir, base, source, partition, sealed, OpenMode::Read)?;
        let segment = Arc::new(segment);
        let mut open = self.open_segments();
        open.truncate(OPEN_SEGMENTS_MAX - 1);
        open.insert(0, segment.clone());
        Ok(segment)
    }

    pub fn read(&self, from: Offset, to: Offset, bytes_max: usize) -> Result<RecordChunk> {
        let head = self.head()?;
        if from > head {
            return Err(LogError::AboveHead {
                name: self.source.clone(),
                partition: self.partition,
                offset: from,
                head,
            });
        }
        let to = to.min(head);
        if from >= to {
            // A position below the start is an error even when nothing is asked for: the reader would go on from there.
            return self.check_start(from).map(|()| RecordChunk::empty(self.partition, from));
        }
        let chunk = self.looking(from, |segment| {
            Ok(match segment.read(from, to, bytes_max)? {
                Found::Batches(batches) => Ok(RecordChunk::new(self.partition, from, to, batches)),
                Found::EndsAt(end) => Err(end),
            })
        })?;
        if let Head::File { compared, .. } = &self.head
            && chunk.next_offset() == head
            && !compared.swap(true, Ordering::Relaxed)
        {
            self.looking(head - 1, |segment| Ok(Ok(self.check_head(segment.claimed_above(head)?)?)))?;
        }
        Ok(chunk)
    }

    /// Where the batch with `offset` begins, if that is easily told; else `offset`.
    pub fn divide(&self, offset: Offset) -> Result<Offset> {
        if offset >= self.head()? || offset <= self.bases()[0] {
            return Ok(offset);
        }
        self.looking(offset, |segment| segment.divide(offset))
    }

    fn check_start(&self, from: Offset) -> Result<()> {
        // Retention is rare: the segments known already are enough unless they say "deleted".
        if from < self.bases()[0] { Err(self.below_start(from)?) } else { Ok(()) }
    }

    /// The error of an offset in a marked hole, if it lies in one.
    fn lost_at(&self, offset: Offset) -> Result<Option<LogError>> {
        let hole = lost::list(&self.disk, &self.dir)?.into_iter().find(|hole| hole.contains(&offset));
        let (name, partition) = (self.source.clone(), self.partition);
        Ok(hole.map(|hole| LogError::Lost { name, partition, from: hole.start, to: hole.end }))
    }

    fn below_start(&self, offset: Offset) -> Result<LogError> {
        if let Some(lost) = self.lost_at(offset)? {
            return Ok(lost);
        }
        let start = self.start()?;
        Ok(LogError::BelowStart { name: self.source.clone(), partition: self.partition, offset, start })
    }

    /// Applies `action` to the segment with `offset`, which lies below the head. `action` may answer with the offset at which
    /// the segment ends when `offset` is not in it: another process has begun a new segment since the last look.
    fn looking<T>(
        &self,
        offset: Offset,
        action: impl Fn(&Segment) -> Result<std::result::Result<T, Offset>>,
    ) -> Result<T> {
        for _ in 0..LOOKS_MAX {
            let bases = self.bases();
            let after = bases.partition_point(|&base| base <= offset);
            let Some(base) = after.checked_sub(1).map(|at| bases[at]) else {
                return Err(self.below_start(offset)?);
            };
            let segment = match self.segment(base) {
                Err(error) if error.is_not_found() && self.are_not(&bases)? => continue,
                segment => segment?,
            };
            match action(&segment)? {
                Ok(done) => return Ok(done),
                Err(_) if self.are_not(&bases)? || self.was_replaced(&segment)? => {}
                Err(end) => {
                    if let Some(lost) = self.lost_at(offset)? {
                        return Err(lost);
                    }
                    let at = segment.file_bytes()?;
                    let reason = format!("the segment ends with offset {end}, but {offset} was durable");
                    return Err(segment.damaged(at, &reason));
                }
            }
        }
        Err(LogError::damaged(&self.dir, 0, "its segments change faster than they can be listed"))
    }

    /// The first offset whose append time is `micros` or later; the head if there is none.
    pub fn offset_at_time(&self, micros: i64) -> Result<Offset> {
        'look: for _ in 0..LOOKS_MAX {
            self.look()?;
            let (head, bases) = (self.head()?, self.bases());
            // Binary search for the first segment that begins at `micros` or later; the answer is there or just before.
            let (mut low, mut high) = (0, bases.len());
            while low < high {
                let middle = low + (high - low) / 2;
                let begins_late = match self.first_time(bases[middle], head) {
                    Err(error) if error.is_not_found() => continue 'look,
                    time => time?.is_none_or(|time| time >= micros),
                };
                if begins_late { high = middle } else { low = middle + 1 }
            }
            if let Some(before) = low.checked_sub(1) {
                let segment = match self.segment(bases[before]) {
                    Err(error) if error.is_not_found() => continue 'look,
                    segment => segment?,
                };
                let to = bases.get(low).map_or(head, |&base| base.min(head));
                match segment.offset_at_time(micros, to)? {
                    Ok(Some(offset)) => return Ok(offset),
                    Ok(None) => {}
                    Err(_) if self.are_not(&bases)? || self.was_replaced(&segment)? => continue 'look,
                    // What is lost there has no time; what comes after it does.
                    Err(end) if self.lost_at(end)?.is_some() => {}
                    Err(end) => {
                        let at = segment.file_bytes()?;
                        let reason = format!("the segment ends with offset {end}, but those up to {to} were durable");
                        return Err(segment.damaged(at, &reason));
                    }
                }
            }
            return Ok(bases.get(low).map_or(head, |&base| base.min(head)));
        }
        Err(LogError::damaged(&self.dir, 0, "its segments change faster than they can be listed"))
    }

    /// The append time of a segment's first record, or `None` if it has no durable one.
    fn first_time(&self, base: Offset, head: Offset) -> Result<Option<i64>> {
        if base >= head { Ok(None) } else { self.segment(base)?.first_time().map(Some) }
    }
}
