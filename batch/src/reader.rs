//! Reading views at one manifest.

use std::sync::Arc;

use polars::prelude::DataFrame;
use rayon::prelude::*;
use watershed_pipelines::{
    decode::ColumnSet,
    error::PipelineError,
    key::{KeyBound, KeyFilter},
    partial::{CoreKernel, Partials, TableLayout},
    source::ViewCounts,
    tail::{Budget, Take, Taken, below, frame_bytes},
};

use crate::{
    columns,
    error::{BatchError, Result},
    manifest::{Manifest, PartitionState, StoredFile, ViewState},
    store::Store,
    table::{
        groups::{self, Needed},
        prune::Wanted,
        read,
    },
};

/// What is asked of a view.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The view.
    pub view: &'a str,
    /// Its core.
    pub kernel: &'a CoreKernel,
    /// Which columns of the finished rows are needed.
    pub columns: &'a ColumnSet,
    /// What answering may take.
    pub budget: &'a Budget<'a>,
}

/// Reads views as a pinned manifest names them. Cheap to clone.
///
/// The files of a manifest that is no longer kept may be gone: an error for which [`BatchError::is_gone`] is true asks to pin
/// a newer manifest.
#[derive(Clone, Debug)]
pub struct ViewReader {
    store: Store,
    manifest: Arc<Manifest>,
}

impl ViewReader {
    /// A reader of this manifest.
    pub fn new(store: Store, manifest: Arc<Manifest>) -> ViewReader {
        ViewReader { store, manifest }
    }

    /// A reader of the newest manifest; `None` before the first batch run.
    pub fn pin(store: &Store) -> Result<Option<ViewReader>> {
        Ok(store.latest_manifest()?.map(|manifest| ViewReader::new(store.clone(), Arc::new(manifest))))
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The state of a view that was built from the definition with this fingerprint.
    pub fn state(&self, view: &str, fingerprint: &str) -> Result<&ViewState> {
        let manifest = self.manifest.number;
        match self.manifest.views.get(view) {
            Some(state) if state.fingerprint == fingerprint => Ok(state),
            Some(_) => Err(BatchError::OtherDefinition { view: view.to_owned(), manifest }),
            None => Err(BatchError::UnknownView { view: view.to_owned(), manifest }),
        }
    }

    /// The partials that a query with `filter` (of the finished rows' keys) needs: those of every wanted key are there, others
    /// may be. Counts are those of the whole view; rejected records are left out (see [`ViewReader::rejected`]).
    pub fn read(&self, view: &str, fingerprint: &str, kernel: &CoreKernel, filter: &KeyFilter) -> Result<Partials> {
        let (columns, budget) = (kernel.all_columns(), Budget::unlimited());
        self.read_within(fingerprint, &Asked { view, kernel, columns: &columns, budget: &budget }, filter)
    }

    /// [`ViewReader::read`] for some columns of the finished rows (the other aggregates are empty), ended where what was read takes more
    /// than the budget.
    pub fn read_within(&self, fingerprint: &str, asked: &Asked<'_>, filter: &KeyFilter) -> Result<Partials> {
        let Asked { view, kernel, columns, budget } = *asked;
        let state = self.state(view, fingerprint)?;
        let filter = kernel.partials_filter(filter);
        let partitions = kernel.partitions_of(&filter);
        let wanted: Vec<(&String, &PartitionState)> =
            state.partitions.iter().filter(|(name, _)| partitions.matches(name)).collect();
        let read = |(_, partition): (&String, &PartitionState)| {
            let exceeded = BatchError::pipeline(view);
            budget.check().map_err(&exceeded)?;
            let partials = read_files_of(&self.store, view, kernel, partition, &filter, columns)?;
            let partials = if filter.is_all() { partials } else { kernel.select(&partials, &filter) };
            let taken = budget.take(partials.memory_bytes() as u64).map_err(&exceeded)?;
            Ok((partials, taken))
        };
        let parts: Vec<(Partials, Taken<'_>)> = match wanted.as_slice() {
            // A lookup: no other thread has to be woken.
            [one] => vec![read(*one)?],
            _ => wanted.into_par_iter().map(read).collect::<Result<_>>()?,
        };
        // Merged, they take as much again.
        let (parts, taken): (Vec<Partials>, Vec<Taken<'_>>) = parts.into_iter().unzip();
        let all = parts.iter().map(|partials| partials.memory_bytes() as u64).sum();
        let _merged = budget.take(if parts.len() > 1 { all } else { 0 }).map_err(BatchError::pipeline(view))?;
        let mut partials = merge(view, kernel, parts)?;
        drop(taken);
        partials.counts = state.counts;
        Ok(partials)
    }

    /// What these columns of the finished rows are made of, together with the partials `others`: rows that are finished as they are stored,
    /// with those columns, in any order, and the partials of the rest, among them those of every key in `others`. Counts are zero.
    /// Ended as [`ViewReader::read_within`] is.
    pub fn read_beside(
        &self,
        fingerprint: &str,
        asked: &Asked<'_>,
        others: &Partials,
    ) -> Result<(Option<DataFrame>, Partials)> {
        if !asked.kernel.stores_finished() {
            return Ok((None, self.read_within(fingerprint, asked, &KeyFilter::all())?));
        }
        let keep = |part: DataFrame| Ok((asked.budget.take(frame_bytes(&part))?, part));
        let (parts, partials) = self.divide(fingerprint, asked, others, keep)?;
        let mut rows: Option<DataFrame> = None;
        let mut taken = Vec::new();
        for (of_part, part) in parts {
            taken.push(of_part);
            rows = Some(match rows {
                Some(rows) => below(rows, part).map_err(BatchError::pipeline(asked.view))?,
                None => part,
            });
        }
        Ok((rows, partials))
    }

    /// [`ViewReader::read_beside`], the rows given to `take` in parts while others are read, from several threads.
    pub fn read_parts_beside(
        &self,
        fingerprint: &str,
        asked: &Asked<'_>,
        others: &Partials,
        take: Take<'_>,
    ) -> Result<Partials> {
        match asked.kernel.stores_finished() {
            true => Ok(self.divide(fingerprint, asked, others, take)?.1),
            false => self.read_within(fingerprint, asked, &KeyFilter::all()),
        }
    }

    /// What `of` makes of stretches of rows that are finished as they are stored, in order, and the partials of the rest.
    fn divide<T: Send>(
        &self,
        fingerprint: &str,
        asked: &Asked<'_>,
        others: &Partials,
        of: impl Fn(DataFrame) -> Result<T, PipelineError> + Sync,
    ) -> Result<(Vec<T>, Partials)> {
        let Asked { view, kernel, columns, budget } = *asked;
        let needed = Needed { columns: kernel.stored_columns(columns), merging: !others.is_empty() };
        let failed = BatchError::pipeline(view);
        let divide = |frame: DataFrame| {
            budget.check().map_err(&failed)?;
            let _taken = budget.take(frame_bytes(&frame)).map_err(&failed)?;
            let (rows, partials) = kernel.divide_stored(frame, columns, others).map_err(&failed)?;
            let apart = budget.take(partials.memory_bytes() as u64).map_err(&failed)?;
            Ok((of(rows).map_err(&failed)?, partials, apart))
        };
        let partitions: Vec<&PartitionState> = self.state(view, fingerprint)?.partitions.values().collect();
        let divided: Vec<Vec<(T, Partials, Taken<'_>)>> = partitions
            .into_par_iter()
            .map(|partition| groups::map(&self.store, only_file(view, partition)?, &needed, divide))
            .collect::<Result<_>>()?;
        let (mut made, mut partials, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (of_rows, apart, of_apart) in divided.into_iter().flatten() {
            made.push(of_rows);
            if !apart.is_empty() {
                partials.push(apart);
                taken.push(of_apart);
            }
        }
        Ok((made, merge(view, kernel, partials)?))
    }

    /// The partials of one partition of a view, whole and verified. Counts are zero.
    pub fn read_partition(&self, view: &str, fingerprint: &str, kernel: &CoreKernel, name: &str) -> Result<Partials> {
        match self.state(view, fingerprint)?.partitions.get(name) {
            Some(partition) => read_files(&self.store, view, kernel, partition, &KeyFilter::all()),
            None => Ok(kernel.empty()),
        }
    }

    /// The view's rejected records: `_partition`, `_offset`, `column`, `reason`.
    pub fn rejected(&self, view: &str) -> Result<DataFrame> {
        let manifest = self.manifest.number;
        let state = self.manifest.views.get(view);
        let state = state.ok_or_else(|| BatchError::UnknownView { view: view.to_owned(), manifest })?;
        let mut batches = Vec::new();
        for file in &state.rejected {
            for batch in read::batches(file, read::fetch(&self.store, file)?, None)? {
                batches.push(batch?);
            }
        }
        if batches.is_empty() {
            batches.push(arrow_array::RecordBatch::new_empty(crate::run::rejected::schema()));
        }
        columns::from_arrow(&batches)
    }
}

/// The file of a partition that has one table.
fn only_file<'a>(view: &str, partition: &'a PartitionState) -> Result<&'a StoredFile> {
    match partition.files.as_slice() {
        [file] => Ok(file),
        files => {
            let reason = format!("the manifest names {} tables, the view has 1", files.len());
            Err(BatchError::damaged(files.first().map_or(view, |file| &file.path), reason))
        }
    }
}

/// Merges partials; one is given back as it is.
fn merge(view: &str, kernel: &CoreKernel, mut parts: Vec<Partials>) -> Result<Partials> {
    match parts.len() {
        0 => Ok(kernel.empty()),
        1 => Ok(parts.remove(0)),
        _ => kernel.merge(&parts.iter().collect::<Vec<_>>()).map_err(BatchError::pipeline(view)),
    }
}

/// The partials in a partition's files; with a filter, at least those of the wanted keys.
pub(crate) fn read_files(
    store: &Store,
    view: &str,
    kernel: &CoreKernel,
    partition: &PartitionState,
    filter: &KeyFilter,
) -> Result<Partials> {
    read_files_of(store, view, kernel, partition, filter, &kernel.all_columns())
}

/// [`read_files`] for some columns of the finished rows: the other aggregates are empty.
fn read_files_of(
    store: &Store,
    view: &str,
    kernel: &CoreKernel,
    partition: &PartitionState,
    filter: &KeyFilter,
    columns: &ColumnSet,
) -> Result<Partials> {
    let tables = kernel.tables();
    if tables.len() != partition.files.len() {
        let object = partition.files.first().map_or(view, |file| &file.path);
        return Err(BatchError::damaged(
            object,
            format!("the manifest names {} tables, the view has {}", partition.files.len(), tables.len()),
        ));
    }
    let mut frames = Vec::with_capacity(tables.len());
    let of_groups = kernel.stored_columns(columns);
    for (number, (layout, file)) in tables.iter().zip(&partition.files).enumerate() {
        let read = || read::read_wanted(store, file, &wanted(layout, filter), (number == 0).then_some(&of_groups));
        frames.push(match kernel.needs_table(number, columns) {
            true => kernel.stretch(read()?, filter).map_err(BatchError::pipeline(view))?,
            false => DataFrame::default(),
        });
    }
    kernel.from_frames_of(frames, ViewCounts::default(), columns).map_err(BatchError::pipeline(view))
}

/// The filter's bounds with the names of the columns in the file.
fn wanted(layout: &TableLayout, filter: &KeyFilter) -> Vec<Wanted> {
    layout.schema.fields[..layout.key_columns]
        .iter()
        .zip(&filter.columns)
        .filter(|(_, bound)| !matches!(bound, KeyBound::Any))
        .map(|(field, bound)| Wanted { column: field.name.clone(), bound: bound.clone() })
        .collect()
}
