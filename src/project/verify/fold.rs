//! Batch only: records folded straight from log and archive, in batches of changing sizes.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};
use watershed_log::Position;
use watershed_pipelines::{
    decode::{ColumnSet, Decoder},
    partial::{CoreKernel, Partials, PartialsBuilder},
    source::Source,
};

use crate::{error::Error, project::history::History};

/// Bytes of one batch: at least, at most.
const BATCH_BYTES: std::ops::RangeInclusive<usize> = 1..=4 << 20;

/// Folds one source's records for some of its views.
pub(super) struct Folder<'a> {
    history: &'a History,
    source: &'a Source,
    decoder: Decoder,
    needed: ColumnSet,
    kernels: Vec<CoreKernel>,
    sizes: Mutex<StdRng>,
}

impl<'a> Folder<'a> {
    pub fn new(
        history: &'a History,
        source: Option<&'a Arc<Source>>,
        kernels: Vec<CoreKernel>,
        seed: u64,
    ) -> Result<Folder<'a>, Error> {
        let source = source.ok_or_else(|| Error::Internal("a view's source is not in the catalog".to_owned()))?;
        let mut needed = ColumnSet::default();
        for kernel in &kernels {
            needed.union(&kernel.columns_needed());
        }
        let sizes = Mutex::new(StdRng::seed_from_u64(seed));
        Ok(Folder { history, source, decoder: Decoder::new(source), needed, kernels, sizes })
    }

    /// The partials of the records from `low` up to `high`, one per kernel.
    pub fn fold(&self, low: &Position, high: &Position) -> Result<Vec<Partials>, Error> {
        let mut builders: Vec<PartialsBuilder> = self.kernels.iter().map(CoreKernel::builder).collect();
        let name = &self.source.name;
        for partition in 0..self.source.partitions {
            let (mut from, to) = (low.partition(name, partition), high.partition(name, partition));
            while from < to {
                let stretch = self.history.read(name, partition, from, to, self.next_size())?;
                from = stretch.next_offset();
                let decoded = self.decoder.decode(partition, stretch.iter(), &self.needed);
                for builder in &mut builders {
                    builder.push(&decoded.batch)?;
                }
            }
        }
        Ok(builders.into_iter().map(PartialsBuilder::finish).collect())
    }

    /// Small batches are rare, so that verifying does not take forever.
    fn next_size(&self) -> usize {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.random_range(0..8) == 0 { sizes.random_range(1..=4096) } else { sizes.random_range(BATCH_BYTES) }
    }
}
