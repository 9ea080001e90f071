//! Folding records into partials: each is decoded once, for all views of its source.

use std::sync::Arc;

use rayon::prelude::*;
use watershed_log::RecordChunk;
use watershed_pipelines::{
    decode::{Batch, ColumnSet, Decoder, RawRecord},
    error::PipelineError,
    partial::{CoreKernel, Partials},
    source::{Source, SourceCounts},
};

use crate::run::Run;

/// From this many bytes on, chunks are folded by all threads.
const PARALLEL_BYTES: usize = 512 << 10;

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

    /// Folds `chunks` for the views of which `wanted` is true.
    pub fn fold(&self, chunks: &[RecordChunk], wanted: &[bool]) -> Folded {
        let threads = rayon::current_num_threads();
        let bytes: usize = chunks.iter().map(RecordChunk::bytes).sum();
        if bytes < PARALLEL_BYTES || chunks.len() == 1 || threads == 1 {
            return self.fold_here(chunks, wanted);
        }
        let parts: Vec<Folded> =
            chunks.par_chunks(chunks.len().div_ceil(threads)).map(|chunks| self.fold_here(chunks, wanted)).collect();
        self.merge(parts)
    }

    fn fold_here(&self, chunks: &[RecordChunk], wanted: &[bool]) -> Folded {
        let mut folded = Folded::default();
        let mut batches = Vec::with_capacity(chunks.len());
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let records = chunk.iter().map(|record| RawRecord {
                offset: record.offset,
                append_time_micros: record.append_time_micros,
                payload: record.payload,
            });
            let decoded = self.decoder.decode(chunk.partition(), records, &self.needed);
            folded.counts.merge(&decoded.counts);
            batches.push(decoded.batch);
        }
        folded.views = self
            .kernels
            .iter()
            .zip(wanted)
            .map(|(kernel, wanted)| wanted.then(|| fold_view(kernel, &batches)))
            .collect();
        folded
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

fn fold_view(kernel: &CoreKernel, batches: &[Batch]) -> Result<Partials, PipelineError> {
    let mut builder = kernel.builder();
    for batch in batches {
        builder.push(batch)?;
    }
    Ok(builder.finish())
}
