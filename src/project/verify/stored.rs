//! What is stored, against what the manifests say of it.

use std::{collections::BTreeSet, sync::Arc};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use watershed_batch::{BatchError, Manifest, PartitionState, ViewReader};

use super::{Checking, compare::stored, result::Verified};
use crate::{error::Error, project::parity::hex};

/// Reads stored partitions, each whole and verified by its checksums, and compares their rows with the manifests' digests: all, or
/// as many as may be read, the newest one and a random sample of the others.
pub(super) fn check(checking: &Checking<'_>, results: &mut [Verified]) -> Result<(), Error> {
    let store = checking.project.store()?;
    let newest = store.latest_manifest()?.map(Arc::new);
    let mut manifests: Vec<Arc<Manifest>> = Vec::new();
    if checking.options.sweeps {
        for number in store.manifest_numbers()? {
            manifests.extend(
                store.manifest(number)?.filter(|m| Some(m.number) < newest.as_ref().map(|n| n.number)).map(Arc::new),
            );
        }
    }
    manifests.extend(newest);
    let mut bytes_left = checking.options.stored_bytes_max;
    let mut seen = BTreeSet::new();
    for manifest in manifests.into_iter().rev() {
        checking.doing(&format!("reading what manifest {} names", manifest.number));
        let reader = ViewReader::new(store.clone(), manifest);
        for (view, verified) in results.iter_mut().enumerate() {
            let share = bytes_left / (checking.kernels.iter().len() - view) as u64;
            bytes_left -= check_view(checking, &reader, view, verified, share, &mut seen)?;
        }
    }
    for verified in results {
        if verified.stored_partitions < verified.stored_partitions_in_all {
            let (some, all) = (verified.stored_partitions, verified.stored_partitions_in_all);
            verified.not_covered.push(format!("{some} of {all} stored partitions were read"));
        }
    }
    Ok(())
}

/// Returns how many bytes were read.
fn check_view(
    checking: &Checking<'_>,
    reader: &ViewReader,
    view: usize,
    verified: &mut Verified,
    bytes_max: u64,
    seen: &mut BTreeSet<String>,
) -> Result<u64, Error> {
    let (name, fingerprint) = {
        let of = &checking.kernels[view].view;
        (of.name.clone(), of.fingerprint.clone())
    };
    let number = reader.manifest().number;
    let Ok(state) = reader.state(&name, &fingerprint) else {
        verified.not_covered.push(format!("manifest {number} does not hold this definition of the view"));
        return Ok(0);
    };
    let mut partitions: Vec<(&String, &PartitionState)> =
        state.partitions.iter().filter(|(_, p)| !p.files.iter().all(|file| seen.contains(&file.path))).collect();
    verified.stored_partitions_in_all += partitions.len() as u64;
    // The last one by name, which of windows is the newest, comes first.
    let last = partitions.pop();
    partitions.shuffle(&mut StdRng::seed_from_u64(checking.options.seed));
    let mut bytes_read = 0;
    for (partition, state) in last.into_iter().chain(partitions) {
        let bytes: u64 = state.files.iter().map(|file| file.bytes).sum();
        if bytes_read + bytes > bytes_max {
            continue;
        }
        bytes_read += bytes;
        seen.extend(state.files.iter().map(|file| file.path.clone()));
        let key = format!("partition {partition}");
        match reader.read_partition(&name, &fingerprint, &checking.kernels[view].kernel, partition) {
            Ok(partials) => {
                let digest = hex(&checking.kernels[view].kernel.digest(&partials));
                let found = (digest, partials.len() as u64);
                verified.compare(&stored(reader.manifest()), &key, &(state.digest.clone(), state.rows), &found);
            }
            Err(error) => failed(checking, reader, verified, &key, error)?,
        }
        verified.stored_partitions += 1;
    }
    check_rejected(checking, reader, verified, state.counts.rejected)?;
    Ok(bytes_read)
}

/// As many rejected records are listed as were counted.
fn check_rejected(
    checking: &Checking<'_>,
    reader: &ViewReader,
    verified: &mut Verified,
    counted: u64,
) -> Result<(), Error> {
    match reader.rejected(&verified.view.clone()) {
        Ok(listed) => {
            let listed = listed.height() as u64;
            verified.compare(&stored(reader.manifest()), "number of rejected records", &counted, &listed);
            Ok(())
        }
        Err(error) => failed(checking, reader, verified, "rejected records", error),
    }
}

/// Damage is a difference. What was forgotten since is not.
fn failed(
    checking: &Checking<'_>,
    reader: &ViewReader,
    verified: &mut Verified,
    key: &str,
    error: BatchError,
) -> Result<(), Error> {
    let number = reader.manifest().number;
    match error {
        BatchError::Gone { .. } if checking.project.store()?.manifest(number)?.is_none() => {
            verified.not_covered.push(format!("manifest {number} was forgotten meanwhile"));
        }
        BatchError::Gone { .. }
        | BatchError::Damaged { .. }
        | BatchError::Pipeline { .. }
        | BatchError::Table { .. } => {
            verified.differ(&stored(reader.manifest()), key, None, Some(error.to_string()));
        }
        error => return Err(error.into()),
    }
    Ok(())
}
