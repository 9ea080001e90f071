//! Manifests: the commits of a project. Each is created once and never changed; publishing one moves the cut.

use std::{collections::BTreeMap, sync::PoisonError};

use serde::{Deserialize, Serialize};
use watershed_log::Position;
use watershed_pipelines::source::{Source, SourceCounts, ViewCounts};

use crate::{
    error::{BatchError, Result},
    run::plan::declaration,
    store::{
        Created, Store, WriterId,
        layout::{MANIFESTS, numbered},
    },
};

/// The format of manifest objects.
pub(crate) const FORMAT: &str = "watershed.manifest/1";

/// One commit: the cut, and every file of the answer at the cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// The manifest that it was made from.
    pub previous: Option<Previous>,
    /// Who published it.
    pub writer: WriterId,
    /// When it was published, in microseconds since 1970-01-01 UTC.
    pub created_at_micros: i64,
    /// The number of the epoch that is the cut.
    pub epoch: u64,
    /// The cut: the views answer for exactly the records below it.
    pub cut: Position,
    /// The views by name.
    pub views: BTreeMap<String, ViewState>,
    /// The sources by name.
    pub sources: BTreeMap<String, SourceState>,
}

/// The manifest that another was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Previous {
    /// Its number.
    pub number: u64,
    /// Its writer.
    pub writer: WriterId,
}

/// The stored partials of one view, for the records below the cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewState {
    /// What the partials depend on.
    pub fingerprint: String,
    /// The source it reads.
    pub source: String,
    /// The view's partitions by name.
    pub partitions: BTreeMap<String, PartitionState>,
    /// What happened to the source's accepted records.
    pub counts: ViewCounts,
    /// Files with rejected records: `_partition`, `_offset`, `column`, `reason`.
    pub rejected: Vec<StoredFile>,
}

impl ViewState {
    /// Rows of the view's main table.
    pub fn rows(&self) -> u64 {
        self.partitions.values().map(|partition| partition.rows).sum()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &StoredFile> {
        self.partitions.values().flat_map(|partition| &partition.files).chain(&self.rejected)
    }
}

/// One partition of a view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionState {
    /// One file per table, in the order of the kernel's tables.
    pub files: Vec<StoredFile>,
    /// Hash of the canonical rows (hex), the same whatever way they were computed.
    pub digest: String,
    /// Rows of the main table.
    pub rows: u64,
}

/// An immutable file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its path in the store.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// blake3 of the whole file (hex).
    pub checksum: String,
    /// How many bytes at its end hold the page indexes and the footer.
    pub tail_bytes: u64,
    /// blake3 of those bytes (hex). They hold checksums of everything before them.
    pub tail_checksum: String,
}

/// One source.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// Hash of what the counts depend on: the source's declaration (hex).
    pub declaration: String,
    /// Its log partitions.
    pub partitions: u32,
    /// What happened to its records below the cut.
    pub counts: SourceCounts,
    /// The archive's files of each log partition, ascending and without gaps; empty if the archive is off.
    pub archive: BTreeMap<u32, Vec<ArchiveFile>>,
}

impl SourceState {
    /// The offset after the last archived record of a log partition.
    pub fn archive_end(&self, partition: u32) -> u64 {
        self.archive.get(&partition).and_then(|files| files.last()).map_or(0, |file| file.end)
    }
}

/// A file of the archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveFile {
    /// Its first record's offset.
    pub start: u64,
    /// The offset after its last record.
    pub end: u64,
    /// The file.
    pub file: StoredFile,
}

/// Partitions of a source at most: those of a log.
const PARTITIONS_MAX: u32 = 4096;
/// What bytes and rows of one manifest's files add up to at most: no sum of them overflows.
const SUM_MAX: u64 = 1 << 56;

impl Manifest {
    /// What a checksum does not say: that its numbers are such as a run writes. What works with them relies on it.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, source) in &self.sources {
            let last = source.archive.keys().next_back();
            if source.partitions > PARTITIONS_MAX || last.is_some_and(|&last| last >= source.partitions) {
                return Err(format!("the source {name:?} cannot have so many partitions"));
            }
        }
        let partitions = self.views.values().flat_map(|view| view.partitions.values());
        let rows = partitions.map(|partition| partition.rows);
        let numbers = self.files().flat_map(|file| [file.bytes, file.rows]).chain(rows);
        let sum = numbers.fold(0u64, u64::saturating_add);
        if sum > SUM_MAX || self.files().any(|file| file.tail_bytes > file.bytes) {
            return Err("the sizes of its files cannot be".to_owned());
        }
        Ok(())
    }

    /// Every data file it names.
    pub fn files(&self) -> impl Iterator<Item = &StoredFile> {
        let archive = self.sources.values().flat_map(|source| source.archive.values().flatten().map(|file| &file.file));
        self.views.values().flat_map(ViewState::files).chain(archive)
    }

    /// The position up to which the archive holds every record.
    pub fn archived(&self) -> Position {
        let mut position = Position::new();
        for (name, source) in &self.sources {
            for partition in 0..source.partitions {
                position.set(name, partition, source.archive_end(partition));
            }
        }
        position
    }

    /// What happened to a table's records below the cut, as the table is declared now. `None` if that is not known: it was
    /// declared otherwise then, or not at all, and no batch run has counted its records anew yet.
    pub fn source_counts(&self, source: &Source) -> Option<SourceCounts> {
        let none_below = self.cut.get(&source.name).is_none_or(|offsets| offsets.iter().all(|offset| *offset == 0));
        match self.sources.get(&source.name) {
            Some(state) if state.declaration == declaration(source) => Some(state.counts),
            _ => none_below.then(SourceCounts::default),
        }
    }

    /// The position below which the log's records are needed no more: the archive holds them, the views answer for them, and a
    /// speed layer that keeps what lies above `live_cut` has gone past them (it may follow a manifest later than others do).
    pub fn log_needless_below(&self, live_cut: &Position) -> Position {
        self.archived().min(&self.cut).min(live_cut)
    }
}

impl Store {
    /// The numbers of the manifests that are kept, ascending.
    pub fn manifest_numbers(&self) -> Result<Vec<u64>> {
        self.numbers(MANIFESTS, 0)
    }

    /// The manifest of this number, if it is kept.
    pub fn manifest(&self, number: u64) -> Result<Option<Manifest>> {
        let path = numbered(MANIFESTS, number);
        let Some(manifest) = self.get_sealed::<Manifest>(&path, FORMAT)? else { return Ok(None) };
        manifest.check().map_err(|reason| BatchError::damaged(&path, reason))?;
        if manifest.number != number {
            return Err(BatchError::damaged(&path, format!("holds manifest {}", manifest.number)));
        }
        Ok(Some(manifest))
    }

    /// The newest manifest.
    pub fn latest_manifest(&self) -> Result<Option<Manifest>> {
        self.latest_manifest_above(0)
    }

    /// The newest manifest, if its number is above `number`: what a reader asks that holds one already.
    pub fn latest_manifest_above(&self, number: u64) -> Result<Option<Manifest>> {
        self.newest(MANIFESTS, number, |number| self.manifest(number))
    }

    /// The newest manifest and those before it, newest first, as far as they are kept. Each is the one that the next was made
    /// from, so a ghost ([`Store::publish`]) is not among them.
    pub(crate) fn chain(&self) -> Result<impl Iterator<Item = Result<Manifest>>> {
        let before = |manifest: &Manifest| -> Result<Option<Manifest>> {
            let Some(previous) = &manifest.previous else { return Ok(None) };
            // One that is gone is not kept.
            Ok(self.manifest(previous.number)?.filter(|found| found.writer == previous.writer))
        };
        let newest = self.latest_manifest()?;
        Ok(std::iter::successors(newest.map(Ok), move |last| before(last.as_ref().ok()?).transpose()))
    }

    /// The number of the epoch that is the newest manifest's cut; 0 if there is no manifest. A manifest is read once.
    pub(crate) fn cut_epoch(&self) -> Result<u64> {
        let known = *self.newest_cut().lock().unwrap_or_else(PoisonError::into_inner);
        let Some(manifest) = self.latest_manifest_above(known.0)? else { return Ok(known.1) };
        *self.newest_cut().lock().unwrap_or_else(PoisonError::into_inner) = (manifest.number, manifest.epoch);
        Ok(manifest.epoch)
    }

    /// The newest kept manifest whose cut is the epoch `epoch` or one before it.
    pub fn manifest_at_or_below_epoch(&self, epoch: u64) -> Result<Option<Manifest>> {
        for manifest in self.chain()? {
            let manifest = manifest?;
            if manifest.epoch <= epoch {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// Publishes a manifest: the commit point of a run. Whoever creates the number first wins.
    ///
    /// A writer that slept while others published this number and more, and while the number was forgotten again, creates a
    /// ghost: not the newest, and not what the next one was made from. It is taken away here, or by garbage collection.
    pub(crate) fn publish(&self, manifest: &Manifest) -> Result<()> {
        let path = numbered(MANIFESTS, manifest.number);
        if self.create_sealed(&path, FORMAT, manifest)? == Created::Theirs {
            return Err(self.lost(manifest.number)?);
        }
        let number = manifest.number;
        let later = match self.manifest(number + 1)? {
            Some(next) => Some(next),
            None => self.latest_manifest_above(number)?,
        };
        let made_from_this = |previous: &Previous| previous.number == number && previous.writer == manifest.writer;
        match later {
            None => return Ok(()),
            Some(later) if later.previous.as_ref().is_some_and(made_from_this) => return Ok(()),
            Some(_) => {}
        }
        self.delete(vec![path])?;
        Err(BatchError::LostRace { number, winner: "later manifests".to_owned() })
    }

    /// What a writer of the manifest `number` is told that another has published.
    pub(crate) fn lost(&self, number: u64) -> Result<BatchError> {
        let winner = self.manifest(number)?.map_or_else(|| "another writer".to_owned(), |m| m.writer.to_string());
        Ok(BatchError::LostRace { number, winner })
    }
}
