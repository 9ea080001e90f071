//! The rows that a plan is run over: what the two sides have of a view, merged.

use std::sync::Arc;

use polars::prelude::DataFrame;
use watershed_batch::{Asked, BatchError, Manifest};
use watershed_pipelines::{
    core::Window,
    decode::ColumnSet,
    error::PipelineError,
    key::KeyFilter,
    partial::{CoreKernel, Partials},
    tail::{BoxError, Budget, Relations, Take, Taken, below, frame_bytes},
};

use crate::{
    error::{Result, ServingError},
    pin::Pin,
    serving::Serving,
};

/// The relations of one query.
pub(crate) struct Rows<'a> {
    pub serving: &'a Serving,
    pub pin: &'a Pin,
    /// Instead of the scan's own filter, whose condition the plan checks anyway.
    pub filter: Option<&'a KeyFilter>,
    pub budget: &'a Budget<'a>,
}

impl Rows<'_> {
    fn asked<'r>(&'r self, view: &'r str, columns: &'r ColumnSet) -> Asked<'r> {
        Asked { view, kernel: &self.serving.kernels[view], columns, budget: self.budget }
    }
}

impl Relations for Rows<'_> {
    fn scan(&self, view: &str, keys: &KeyFilter, columns: &ColumnSet) -> Result<DataFrame, BoxError> {
        let asked = self.asked(view, columns);
        self.serving.rows(self.pin, self.filter.unwrap_or(keys), &asked).map_err(of_limits)
    }

    fn scan_parts(&self, view: &str, keys: &KeyFilter, columns: &ColumnSet, take: Take<'_>) -> Result<(), BoxError> {
        let asked = self.asked(view, columns);
        self.serving.parts(self.pin, self.filter.unwrap_or(keys), &asked, take).map_err(of_limits)
    }
}

/// The limits, as the plan's own steps tell of them.
fn of_limits(error: ServingError) -> BoxError {
    match error {
        ServingError::Pipeline(error @ PipelineError::Exceeded(_))
        | ServingError::Batch(BatchError::Pipeline { cause: error @ PipelineError::Exceeded(_), .. }) => error.into(),
        error => error.into(),
    }
}

impl Serving {
    /// Those columns of the finished core rows of a materialized view whose keys lie in `filter`.
    fn rows(&self, pin: &Pin, filter: &KeyFilter, asked: &Asked<'_>) -> Result<DataFrame> {
        let Asked { view, kernel, columns, budget } = *asked;
        let stored = self.stored(pin, view);
        let live = pin.snapshot.view(view, stored.map(|_| &pin.low), pin.high.as_ref())?;
        let live: Vec<&Partials> = live.iter().map(|partials| &**partials).collect();
        match stored {
            Some(manifest) if filter.is_all() => {
                // What is compressed takes no less when it is read.
                if *columns == kernel.all_columns() {
                    drop(budget.take(manifest.views[view].files().map(|file| file.bytes).sum())?);
                }
                let (several, mut taken) = merged(kernel, &live, budget)?;
                let live = several.as_ref().unwrap_or_else(|| live[0]);
                let (rows, partials) = self.batch.read_beside(manifest, asked, live)?;
                taken.grow(rows.as_ref().map_or(0, frame_bytes))?;
                let merged = finished(kernel, &[&partials, live], columns, budget)?;
                Ok(match rows {
                    Some(rows) => below(rows, merged)?,
                    None => merged,
                })
            }
            Some(manifest) => {
                let stored = self.batch.read(manifest, asked, filter)?;
                wanted_rows(kernel, [&stored].into_iter().chain(live), filter, columns, budget)
            }
            None if filter.is_all() => finished(kernel, &live, columns, budget),
            None => wanted_rows(kernel, live.into_iter(), filter, columns, budget),
        }
    }

    /// [`Serving::rows`] given to `take`; where they are all rows of a view that a run has built, in parts, while others are read. Only
    /// where the live part has the same key are the two sides' partials merged.
    fn parts(&self, pin: &Pin, filter: &KeyFilter, asked: &Asked<'_>, take: Take<'_>) -> Result<()> {
        let Asked { view, kernel, columns, budget } = *asked;
        let Some(manifest) = self.stored(pin, view).filter(|_| filter.is_all()) else {
            return Ok(take(self.rows(pin, filter, asked)?)?);
        };
        let live = pin.snapshot.view(view, Some(&pin.low), pin.high.as_ref())?;
        let live: Vec<&Partials> = live.iter().map(|partials| &**partials).collect();
        let (several, _taken) = merged(kernel, &live, budget)?;
        let live = several.as_ref().unwrap_or_else(|| live[0]);
        let partials = self.batch.read_parts_beside(manifest, asked, live, take)?;
        Ok(take(finished(kernel, &[&partials, live], columns, budget)?)?)
    }

    /// The manifest that has a view as it is defined now.
    fn stored<'p>(&self, pin: &'p Pin, view: &str) -> Option<&'p Arc<Manifest>> {
        pin.manifest.as_ref().filter(|manifest| self.is_built(manifest, view))
    }
}

/// These partials as one, counted; `None` where they are one.
fn merged<'b>(
    kernel: &CoreKernel,
    parts: &[&Partials],
    budget: &'b Budget<'_>,
) -> Result<(Option<Partials>, Taken<'b>)> {
    let mut taken = budget.take(0)?;
    parts.iter().try_for_each(|partials| taken.grow(partials.memory_bytes() as u64))?;
    let merged = if parts.len() == 1 { None } else { Some(kernel.merge(parts)?) };
    taken.grow(merged.as_ref().map_or(0, |merged| merged.memory_bytes() as u64))?;
    Ok((merged, taken))
}

/// The rows of all these partials, finished.
fn finished(kernel: &CoreKernel, parts: &[&Partials], columns: &ColumnSet, budget: &Budget<'_>) -> Result<DataFrame> {
    let mut taken = budget.take(0)?;
    let mut count = |partials: &Partials| -> Result<()> {
        budget.check()?;
        Ok(taken.grow(partials.memory_bytes() as u64)?)
    };
    parts.iter().try_for_each(|partials| count(partials))?;
    let filter = KeyFilter::all();
    Ok(match parts {
        [one] => kernel.finish_within_budget(one, &filter, columns, budget)?,
        parts => {
            // Merged, they take as much again.
            parts.iter().try_for_each(|partials| count(partials))?;
            kernel.finish_within_budget(&kernel.merge(parts)?, &filter, columns, budget)?
        }
    })
}

/// Those rows of all these partials whose keys lie in `filter`, finished.
fn wanted_rows<'a>(
    kernel: &CoreKernel,
    parts: impl Iterator<Item = &'a Partials>,
    filter: &KeyFilter,
    columns: &ColumnSet,
    budget: &Budget<'_>,
) -> Result<DataFrame> {
    let (selection, all) = (kernel.selection(&kernel.partials_filter(filter)), KeyFilter::all());
    // Only hopping windows have other keys than their panes: else what is selected is what is wanted.
    let is_hopping = kernel.core().window.as_ref().is_some_and(Window::is_hopping);
    let filter = if is_hopping { filter } else { &all };
    let mut taken = budget.take(0)?;
    let mut count = |partials: &Partials| -> Result<()> {
        budget.check()?;
        Ok(taken.grow(partials.memory_bytes() as u64)?)
    };
    let mut selected = Vec::new();
    for partials in parts {
        budget.check()?;
        if let Some(rows) = selection.rows(partials) {
            count(&rows)?;
            selected.push(rows);
        }
    }
    Ok(match selected.as_slice() {
        [one] => kernel.finish_within_budget(one, filter, columns, budget)?,
        parts => {
            parts.iter().try_for_each(&mut count)?;
            kernel.finish_within_budget(&kernel.merge(&parts.iter().collect::<Vec<_>>())?, filter, columns, budget)?
        }
    })
}
