//! Merging what was built with what was stored, one partition of a view at a time, and writing what changed.

use std::collections::BTreeMap;

use rayon::prelude::*;
use watershed_pipelines::{
    key::KeyFilter,
    partial::{CoreKernel, Partials, TableLayout},
};

use super::{
    options::BatchRun,
    parity::Gate,
    plan::{Job, Purpose},
    scan::Part,
};
use crate::{
    columns,
    error::{BatchError, Result},
    manifest::PartitionState,
    reader::read_files,
    store::layout::segment,
    table::write::{EncodedTable, TableSpec},
};

/// A partition of a job with the parts that were built for it.
struct Work<'a> {
    job: usize,
    of: &'a Job,
    partition: String,
    parts: Vec<Part>,
}

/// What merging gave one job.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// All its partitions, those that no record touched included.
    pub partitions: BTreeMap<String, PartitionState>,
    /// Those that were written.
    pub written: Vec<String>,
}

/// Merges the parts of all publishing jobs; as many partitions at a time as the pool has threads.
pub(super) fn publishing(
    run: &BatchRun<'_>,
    pool: &rayon::ThreadPool,
    attempt: &str,
    jobs: &[Job],
    parts: &mut [BTreeMap<String, Vec<Part>>],
    gate: Option<&Gate<'_>>,
) -> Result<Vec<Merged>> {
    let mut merged: Vec<Merged> = jobs
        .iter()
        .map(|job| Merged {
            partitions: job.base.as_ref().map(|base| base.partitions.clone()).unwrap_or_default(),
            written: Vec::new(),
        })
        .collect();
    let work = work(jobs, parts, |job| job.purpose != Purpose::Check);
    run.options.progress.partitions_planned(work.len() as u64);
    let done: Vec<(usize, String, Option<PartitionState>)> = pool.install(|| {
        work.into_par_iter()
            .map(|work| {
                let (job, name) = (work.job, work.partition.clone());
                let view = &work.of.view;
                let state = publish_one(run, attempt, work, gate)?;
                run.options.progress.partition_merged(view, &name, state.is_some());
                Ok((job, name, state))
            })
            .collect::<Result<_>>()
    })?;
    for (job, name, state) in done {
        let Some(state) = state else { continue };
        if jobs[job].sound.get(&name) != Some(&state) {
            merged[job].written.push(name.clone());
        }
        merged[job].partitions.insert(name, state);
    }
    merged.iter_mut().for_each(|merged| merged.written.sort());
    Ok(merged)
}

/// How the recomputation of one view compares with what is published.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The partitions that differ, with what the recomputation gave, if that is to be published; `None` for one that should
    /// not be there.
    pub differing: BTreeMap<String, Option<PartitionState>>,
}

/// Compares the partitions of all checking jobs with `published`, by view.
pub(super) fn checking(
    run: &BatchRun<'_>,
    pool: &rayon::ThreadPool,
    attempt: &str,
    jobs: &[Job],
    parts: &mut [BTreeMap<String, Vec<Part>>],
    published: &BTreeMap<&str, BTreeMap<String, PartitionState>>,
) -> Result<BTreeMap<String, Checked>> {
    let mut checked: BTreeMap<String, Checked> = BTreeMap::new();
    for (job, parts) in jobs.iter().zip(parts.iter()).filter(|(job, _)| job.purpose == Purpose::Check) {
        let of_view = checked.entry(job.view.clone()).or_default();
        let names = published.get(job.view.as_str()).into_iter().flat_map(BTreeMap::keys);
        of_view.differing = names.filter(|name| !parts.contains_key(*name)).map(|name| (name.clone(), None)).collect();
    }
    let work = work(jobs, parts, |job| job.purpose == Purpose::Check);
    let done: Vec<(usize, String, Option<PartitionState>)> = pool.install(|| {
        work.into_par_iter()
            .map(|work| {
                let Work { job, of, partition, parts } = work;
                let stored = published.get(of.view.as_str()).and_then(|partitions| partitions.get(&partition));
                let partials = merge(run, of, None, parts)?;
                let digest = hex(&of.kernel.digest(&partials));
                if stored.is_some_and(|stored| stored.digest == digest) {
                    return Ok((job, partition, None));
                }
                // Beside what this run may have written for the same partition.
                let folder = format!("{attempt}/{}/recomputed", segment(&of.view));
                let state = match run.options.repair {
                    true => put(run, &folder, &partition, &encode(of, &partials)?, partials.len() as u64, digest)?,
                    false => PartitionState { files: Vec::new(), digest, rows: partials.len() as u64 },
                };
                Ok((job, partition, Some(state)))
            })
            .collect::<Result<_>>()
    })?;
    for (job, name, state) in done {
        if let Some(state) = state {
            checked.entry(jobs[job].view.clone()).or_default().differing.insert(name, Some(state));
        }
    }
    Ok(checked)
}

fn work<'a>(
    jobs: &'a [Job],
    parts: &mut [BTreeMap<String, Vec<Part>>],
    wanted: impl Fn(&Job) -> bool,
) -> Vec<Work<'a>> {
    let mut work = Vec::new();
    for (job, (of, parts)) in jobs.iter().zip(parts).enumerate() {
        if wanted(of) {
            let parts = std::mem::take(parts);
            work.extend(parts.into_iter().map(|(partition, parts)| Work { job, of, partition, parts }));
        }
    }
    work
}

/// Merges and writes one partition; `None` if it is as it was.
fn publish_one(
    run: &BatchRun<'_>,
    attempt: &str,
    work: Work<'_>,
    gate: Option<&Gate<'_>>,
) -> Result<Option<PartitionState>> {
    let Work { of, partition, mut parts, .. } = work;
    let stored = of.base.as_ref().and_then(|base| base.partitions.get(&partition));
    if let Some(gate) = gate.filter(|gate| gate.compares(of)) {
        // The new records alone, before what is stored is merged with them.
        let fresh = merge(run, of, None, parts)?;
        gate.compare(of, &partition, &fresh)?;
        parts = vec![Part::Memory(Box::new(fresh))];
    }
    let partials = merge(run, of, stored, parts)?;
    // A partition that got records has nearly always changed: the files are made while its digest is.
    let (digest, tables) = rayon::join(|| hex(&of.kernel.digest(&partials)), || encode(of, &partials));
    if stored.is_some_and(|stored| stored.digest == digest) {
        return Ok(None);
    }
    if let Some(sound) = of.sound.get(&partition).filter(|sound| sound.digest == digest) {
        return Ok(Some(sound.clone()));
    }
    let folder = format!("{attempt}/{}", segment(&of.view));
    let (rows, tables) = (partials.len() as u64, tables?);
    let state = put(run, &folder, &partition, &tables, rows, digest)?;
    // Giving much memory back takes its time: whichever thread has nothing better to do does it.
    rayon::spawn(move || drop((partials, tables)));
    Ok(Some(state))
}

/// The parts and what is stored, as one.
fn merge(run: &BatchRun<'_>, of: &Job, stored: Option<&PartitionState>, parts: Vec<Part>) -> Result<Partials> {
    if run.options.stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(BatchError::Stopped);
    }
    let Job { kernel, view, .. } = of;
    let mut inputs = Vec::with_capacity(parts.len() + 1);
    if let Some(stored) = stored {
        inputs.push(read_files(run.store, view, kernel, stored, &KeyFilter::all())?);
    }
    for part in parts {
        inputs.push(match part {
            Part::Memory(partials) => *partials,
            Part::Scratch(spilled) => spilled.read(kernel, view)?,
        });
    }
    if inputs.len() == 1 {
        return Ok(inputs.remove(0));
    }
    merge_all(kernel, view, &inputs)
}

fn merge_all(kernel: &CoreKernel, view: &str, inputs: &[Partials]) -> Result<Partials> {
    kernel.merge(&inputs.iter().collect::<Vec<_>>()).map_err(BatchError::pipeline(view))
}

/// The files of a partition, with the names of their tables.
fn encode(of: &Job, partials: &Partials) -> Result<Vec<(String, EncodedTable)>> {
    let tables: Vec<(usize, TableLayout)> = of.kernel.tables().into_iter().enumerate().collect();
    let encode = |(i, layout): (usize, TableLayout)| {
        let frame = of.kernel.to_frame(i, partials).map_err(BatchError::pipeline(&of.view))?;
        let spec = TableSpec {
            name: format!("{}/{}", of.view, layout.name),
            fingerprint: of.fingerprint.clone(),
            key_columns: layout.key_columns,
        };
        Ok((layout.name, EncodedTable::encode(&spec, &columns::to_arrow(&frame)?)?))
    };
    tables.into_par_iter().map(encode).collect()
}

/// Writes the files of a partition below `folder`.
fn put(
    run: &BatchRun<'_>,
    folder: &str,
    partition: &str,
    tables: &[(String, EncodedTable)],
    rows: u64,
    digest: String,
) -> Result<PartitionState> {
    let mut files = Vec::with_capacity(tables.len());
    for (name, table) in tables {
        let file = table.put(run.store, format!("{folder}/{}/{}.parquet", segment(name), segment(partition)))?;
        run.options.progress.file_written(&file.path, file.bytes);
        files.push(file);
    }
    Ok(PartitionState { files, digest, rows })
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}
