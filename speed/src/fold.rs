//! Folding records into partials: each is decoded once, for all views of its source.

use std::sync::Arc;

use rayon::prelude::*;
use watershed_pipelines::{
    decode::{Batch, ColumnSet, Decoder, RawRecord},
    error::PipelineError,
    partial::{CoreKernel, Partials, PartialsBuilder},
    source::{Source, SourceCounts},
};

use crate::{error::Result, pieces::Pieces, run::Run};

/// One source's decoder and its views' kernels.
#[derive(Clone)]
pub(crate) struct Folder {
    decoder: Decoder,
    needed: ColumnSet,
    kernels: Vec<CoreKernel>,
}

/// What became of some records.
#[derive(Default)]
pub(crate) struct Folded {
    pub counts: SourceCounts,
    /// One per view; `None` where it was not asked for.
    pub views: Vec<Option<Result<Partials, PipelineError>>>,
}

impl Folder {
    pub fn new(source: &Arc<Source>, kernels: Vec<CoreKernel>) -> Folder {
        let mut needed = ColumnSet::none();
        for kernel in &kernels {
            needed.union(&kernel.columns_needed());
        }
        Folder { decoder: Decoder::new(source), needed, kernels }
    }

    /// The views' kernels.
    pub fn kernels(&self) -> &[CoreKernel] {
        &self.kernels
    }

    /// Folds `pieces` for the views of which `wanted` is true.
    pub fn fold(&self, pieces: &Pieces<'_>, wanted: &[bool]) -> Result<Folded> {
        if pieces.threads == 1 {
            return self.fold_here(pieces, 0, wanted);
        }
        let threads = (0..pieces.threads).into_par_iter().with_max_len(1);
        let parts: Result<Vec<Folded>> = threads.map(|thread| self.fold_here(pieces, thread, wanted)).collect();
        Ok(self.merge(parts?))
    }

    /// Folds pieces while there are any.
    fn fold_here(&self, pieces: &Pieces<'_>, thread: usize, wanted: &[bool]) -> Result<Folded> {
        let builder = |(kernel, wanted): (&CoreKernel, &bool)| wanted.then(|| Ok(kernel.builder()));
        let mut builders: Vec<_> = self.kernels.iter().zip(wanted).map(builder).collect();
        let mut counts = SourceCounts::default();
        while let Some(mut piece) = pieces.next(thread)? {
            while let Some(chunk) = pieces.read(&mut piece)? {
                let records = chunk.iter().map(|record| RawRecord {
                    offset: record.offset,
                    append_time_micros: record.append_time_micros,
                    payload: record.payload,
                });
                let decoded = self.decoder.decode(piece.partition, records, &self.needed);
                counts.merge(&decoded.counts);
                for builder in builders.iter_mut().flatten() {
                    push(builder, &decoded.batch);
                }
            }
        }
        let finish = |builder: Result<PartialsBuilder, PipelineError>| builder.map(PartialsBuilder::finish);
        Ok(Folded { counts, views: builders.into_iter().map(|builder| builder.map(finish)).collect() })
    }

    fn merge(&self, parts: Vec<Folded>) -> Folded {
        let mut all = Folded::default();
        let mut views: Vec<Vec<_>> = self.kernels.iter().map(|_| Vec::new()).collect();
        for part in parts {
            all.counts.merge(&part.counts);
            for (all, one) in views.iter_mut().zip(part.views) {
                all.push(one);
            }
        }
        let merged = self.kernels.par_iter().zip(views).map(|(kernel, parts)| {
            let parts: Option<Result<Vec<Partials>, _>> = parts.into_iter().collect();
            parts.map(|parts| kernel.merge(&parts?.iter().collect::<Vec<_>>()))
        });
        all.views = merged.collect();
        all
    }

    /// What runs that follow each other hold together; `None` for a view that one of them lacks.
    pub fn merge_runs(&self, runs: &[Arc<Run>]) -> Folded {
        let mut all = Folded::default();
        for run in runs {
            all.counts.merge(&run.counts);
        }
        let merged = self.kernels.iter().enumerate().map(|(index, kernel)| {
            let partials = runs.iter().map(|run| run.views[index].as_ref().map(|view| &*view.partials));
            let partials: Option<Vec<&Partials>> = partials.collect();
            partials.map(|partials| kernel.merge(&partials))
        });
        all.views = merged.collect();
        all
    }
}

/// Gives records to a view's builder, unless an earlier failure ended that.
fn push(builder: &mut Result<PartialsBuilder, PipelineError>, batch: &Batch) {
    if let Ok(kept) = builder
        && let Err(error) = kept.push(batch)
    {
        *builder = Err(error);
    }
}
