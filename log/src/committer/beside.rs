//! Syncs of level `os` beside the rounds: nobody waits for them, so rounds go on meanwhile.
//!
//! What has been written when one begins is durable when it ends; what is written meanwhile waits for the next.

use std::sync::Arc;

use super::{OS_SYNC_BYTES, Rounds};
use crate::partition_writer::PartitionWriter;
use crate::producers::Producers;
use crate::segment::Segment;
use crate::sync_pool::SyncPool;
use crate::{LogError, Offset, Result};

/// What does them.
pub(super) enum Beside {
    /// Rounds sync, too.
    Never,
    Ready(SyncPool),
    /// One is to begin.
    Begun(Syncing),
    UnderWay,
}

/// Files to be synced, and up to where their records are durable then.
pub(super) struct Syncing {
    pool: SyncPool,
    files: Vec<(usize, Arc<Segment>, Offset)>,
}

impl Beside {
    pub fn with_threads(sync_threads: usize) -> Self {
        Self::Ready(SyncPool::new(sync_threads))
    }

    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Begun(_) | Self::UnderWay)
    }
}

impl Syncing {
    pub fn run(&mut self) -> Result<()> {
        let segments = self.files.iter().map(|(_, segment, _)| segment.clone()).collect();
        self.pool.sync_all(segments).map_err(|(path, error)| LogError::stopped(&path)(error))
    }
}

impl Rounds {
    /// Syncs what is due: beside the rounds, where that can be.
    pub(super) fn sync_due(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.beside, Beside::UnderWay) {
            Beside::Ready(pool) => {
                let files = self.dirty().into_iter().map(|slot| {
                    let PartitionWriter { active, next_offset, .. } = &self.log.writers[slot];
                    (slot, active.clone(), *next_offset)
                });
                self.beside = Beside::Begun(Syncing { pool, files: files.collect() });
                (self.sync_due, self.unsynced_bytes) = (None, 0);
                Ok(())
            }
            other => {
                self.beside = other;
                self.sync_dirty()
            }
        }
    }

    /// The sync that is to begin beside the rounds, if one is.
    pub(super) fn begun_sync(&mut self) -> Option<Syncing> {
        match std::mem::replace(&mut self.beside, Beside::UnderWay) {
            Beside::Begun(sync) => Some(sync),
            other => {
                self.beside = other;
                None
            }
        }
    }

    /// Takes note of a sync that could not begin, and of all later ones.
    pub(super) fn never_sync_beside(&mut self, error: &std::io::Error) {
        tracing::warn!(%error, "no thread could be started that syncs beside appends; they wait for syncs from now on");
        self.beside = Beside::Never;
        self.sync_due = Some(self.now());
    }

    /// Publishes what a sync made durable.
    pub(super) fn synced_beside(&mut self, sync: Syncing, outcome: Result<()>) {
        let published =
            outcome.and_then(|()| if self.stopped.is_none() { self.publish_synced(&sync.files) } else { Ok(()) });
        self.beside = Beside::Ready(sync.pool);
        if let Err(error) = published {
            self.stop(error);
        } else if self.sync_is_due() || self.unsynced_bytes >= OS_SYNC_BYTES {
            self.round();
        }
    }

    fn publish_synced(&mut self, files: &[(usize, Arc<Segment>, Offset)]) -> Result<()> {
        // A segment sealed meanwhile, or synced for an append that waits for it, is durable already.
        let is_news = |(slot, segment, end): &&(usize, Arc<Segment>, Offset)| {
            let writer = &self.log.writers[*slot];
            Arc::ptr_eq(&writer.active, segment) && *end > writer.durable_offset
        };
        let ends: Vec<_> = files.iter().filter(is_news).map(|&(slot, _, end)| (slot, end)).collect();
        if !ends.is_empty() {
            self.publish(&ends)?;
        }
        if !self.log.writers.iter().any(PartitionWriter::is_dirty) {
            self.log.producers.values_mut().for_each(Producers::synced);
        }
        Ok(())
    }
}
