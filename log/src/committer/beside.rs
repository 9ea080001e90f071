//! Syncs of level `os` beside the rounds: nobody waits for them, so rounds go on meanwhile.
//!
//! What has been written when one begins is durable when it ends; what is written meanwhile waits for the next. A round that syncs
//! waits for the one under way first: the operating system tells of a failure once, and whoever syncs next is told that all is well.

use std::sync::{Arc, OnceLock};

use super::Rounds;
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
    UnderWay(Outcome),
}

/// How a sync ended, once it has.
type Outcome = Arc<OnceLock<Result<()>>>;

/// Files to be synced, and up to where their records are durable then.
pub(super) struct Syncing {
    pool: SyncPool,
    files: Vec<(usize, Arc<Segment>, Offset)>,
    outcome: Outcome,
}

impl Beside {
    pub fn with_threads(sync_threads: usize) -> Self {
        Self::Ready(SyncPool::new(sync_threads))
    }

    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Begun(_) | Self::UnderWay(_))
    }
}

impl Syncing {
    pub fn run(&mut self) {
        let segments = self.files.iter().map(|(_, segment, _)| segment.clone()).collect();
        let outcome = self.pool.sync_all(segments).map_err(|(path, error)| LogError::stopped(&path)(error));
        let _ = self.outcome.set(outcome);
    }
}

impl Drop for Syncing {
    /// Nobody waits for ever for a thread that panicked.
    fn drop(&mut self) {
        let _ = self.outcome.set(Err(LogError::Closed));
    }
}

impl Rounds {
    /// Syncs what is due: beside the rounds, where that can be.
    pub(super) fn sync_due(&mut self) -> Result<()> {
        if let Beside::Ready(pool) = &mut self.beside {
            let pool = std::mem::take(pool);
            let files = self.dirty().into_iter().map(|slot| {
                let PartitionWriter { active, next_offset, .. } = &self.log.writers[slot];
                (slot, active.clone(), *next_offset)
            });
            self.beside = Beside::Begun(Syncing { pool, files: files.collect(), outcome: Outcome::default() });
            (self.sync_due, self.unsynced_bytes) = (None, 0);
            return Ok(());
        }
        self.sync_dirty()
    }

    /// The sync that is to begin beside the rounds, if one is.
    pub(super) fn begun_sync(&mut self) -> Option<Syncing> {
        let Beside::Begun(Syncing { outcome, .. }) = &self.beside else { return None };
        let under_way = Beside::UnderWay(outcome.clone());
        match std::mem::replace(&mut self.beside, under_way) {
            Beside::Begun(syncing) => Some(syncing),
            _ => None,
        }
    }

    /// Waits for the end of the sync under way, if one is; fails if that did.
    pub(super) fn wait_for_sync_beside(&self) -> Result<()> {
        if let Beside::UnderWay(outcome) = &self.beside { outcome.wait().clone() } else { Ok(()) }
    }

    /// Takes note of a sync that could not begin, and of all later ones.
    pub(super) fn never_sync_beside(&mut self, error: &std::io::Error) {
        tracing::warn!(%error, "no thread could be started that syncs beside appends; they wait for syncs from now on");
        self.beside = Beside::Never;
        self.sync_due = Some(self.now());
    }

    /// Publishes what a sync made durable.
    pub(super) fn synced_beside(&mut self, mut syncing: Syncing) {
        self.beside = Beside::Ready(std::mem::take(&mut syncing.pool));
        if self.stopped.is_some() {
            return;
        }
        let outcome = syncing.outcome.wait().clone();
        if let Err(error) = outcome.and_then(|()| self.publish_synced(&syncing.files)) {
            self.stop(error);
        } else if self.sync_is_due() {
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
