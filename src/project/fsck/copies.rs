//! The archive, as copies of the log's records.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use bytes::Bytes;
use watershed_batch::{ArchiveReader, Manifest, Store};
use watershed_log::check::{CopiedRecord, Copies};

/// The archive's files that are not damaged.
pub(super) struct ArchiveCopies {
    reader: Option<(ArchiveReader, Arc<Manifest>)>,
    damaged: BTreeSet<String>,
}

impl ArchiveCopies {
    pub fn new(store: &Store, newest: Option<&Manifest>, damaged: BTreeSet<String>) -> ArchiveCopies {
        let reader = newest.map(|manifest| {
            let manifest = Arc::new(manifest.clone());
            (ArchiveReader::new(store.clone(), Arc::clone(&manifest)), manifest)
        });
        ArchiveCopies { reader, damaged }
    }
}

impl Copies for ArchiveCopies {
    fn read(&self, source: &str, partition: u32, range: Range<u64>) -> Vec<CopiedRecord> {
        let Some((reader, manifest)) = &self.reader else { return Vec::new() };
        let files = manifest.sources.get(source).and_then(|state| state.archive.get(&partition));
        let file = files.into_iter().flatten().find(|file| file.start <= range.start && range.start < file.end);
        if file.is_none_or(|file| self.damaged.contains(&file.file.path)) {
            return Vec::new();
        }
        match reader.read(source, partition, range.start, range.end) {
            Ok(records) => records
                .iter()
                .map(|record| CopiedRecord {
                    offset: record.offset,
                    append_time_micros: record.append_time_micros,
                    key: record.key.map(Bytes::copy_from_slice),
                    payload: Bytes::copy_from_slice(record.payload),
                })
                .collect(),
            Err(error) => {
                tracing::warn!(source, partition, %error, "a file of the archive could not be read");
                Vec::new()
            }
        }
    }
}
