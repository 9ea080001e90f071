//! Garbage collection: what no kept manifest names, and no run can still publish, is deleted.
//!
//! Kept are the last K manifests, and every manifest that was the newest at some moment of the last G minutes (a reader may
//! have pinned it then). A file lives as long as a kept manifest names it. A file of attempt N that no kept manifest names is
//! garbage once manifest N exists, or once N lies below the newest manifest: such an attempt can no longer be published.
//! Files of an attempt above the newest manifest are left alone, whatever their age: a run may be about to publish them; if
//! it died, they become garbage when the next run publishes that number.

use std::{collections::BTreeSet, path::Path};

use crate::{
    error::Result,
    manifest::Manifest,
    store::{
        Store,
        layout::{ARCHIVE, DATA, EPOCHS, MANIFESTS, attempt_number_of, number_of, numbered},
    },
};

/// What to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// The last so many manifests; at least 1.
    pub manifests: usize,
    /// Every manifest that was the newest within the last so many minutes.
    pub minutes: u32,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { manifests: 8, minutes: 60 }
    }
}

/// What a collection deleted and kept.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Collected {
    /// Manifests deleted.
    pub manifests: u64,
    /// Epochs deleted: those below the cut of the oldest kept manifest.
    pub epochs: u64,
    /// Files deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The numbers of the manifests that are kept.
    pub kept: Vec<u64>,
}

impl Store {
    /// Deletes what [`Retention`] does not keep. Safe at any time, beside readers, runs and other collections.
    pub fn collect_garbage(&self, retention: Retention, now_micros: i64) -> Result<Collected> {
        let mut manifests = self.chain()?.collect::<Result<Vec<Manifest>>>()?;
        manifests.reverse();
        let Some(newest) = manifests.last().map(|manifest| manifest.number) else { return Ok(Collected::default()) };
        let kept = kept(&manifests, retention, now_micros);
        let mut collected = Collected { kept: kept.iter().copied().collect(), ..Collected::default() };

        // Manifests go first: a reader that finds one can rely on its files until it is superseded and gone. With them go ghosts,
        // which are not in the chain. What lies above is being published just now.
        let over = |number: &u64| *number <= newest && !kept.contains(number);
        let gone: Vec<String> =
            self.manifest_numbers()?.into_iter().filter(over).map(|number| numbered(MANIFESTS, number)).collect();
        collected.manifests = gone.len() as u64;
        self.delete(gone)?;
        // After a power failure no manifest may be back whose files are gone.
        self.sync_names(MANIFESTS)?;

        let live: BTreeSet<&str> = manifests
            .iter()
            .filter(|manifest| kept.contains(&manifest.number))
            .flat_map(Manifest::files)
            .map(|file| file.path.as_str())
            .collect();
        for folder in [DATA, ARCHIVE] {
            let mut garbage = Vec::new();
            for (path, bytes) in self.list(folder)? {
                let over = attempt_number_of(&path).is_some_and(|number| number <= newest);
                if over && !live.contains(path.as_str()) {
                    collected.files += 1;
                    collected.bytes += bytes;
                    garbage.push(path);
                }
            }
            self.delete(garbage)?;
            if let Some(directory) = self.directory() {
                sweep_directory(&directory.join(folder), newest);
            }
        }

        let oldest_epoch = manifests.iter().filter(|m| kept.contains(&m.number)).map(|m| m.epoch).min().unwrap_or(0);
        let epochs: Vec<String> = self
            .epoch_numbers()?
            .into_iter()
            .filter(|&number| number < oldest_epoch)
            .map(|number| numbered(EPOCHS, number))
            .collect();
        collected.epochs = epochs.len() as u64;
        self.delete(epochs)?;
        if let Some(directory) = self.directory() {
            sweep_numbered(directory, MANIFESTS, newest);
            sweep_numbered(directory, EPOCHS, self.epoch_numbers()?.last().copied().unwrap_or(0));
        }
        Ok(collected)
    }
}

/// The numbers of the manifests to keep.
fn kept(manifests: &[Manifest], retention: Retention, now_micros: i64) -> BTreeSet<u64> {
    let horizon = now_micros.saturating_sub(i64::from(retention.minutes) * 60_000_000);
    let last = manifests.len().saturating_sub(retention.manifests.max(1));
    let superseded_at = |i: usize| manifests.get(i + 1).map_or(i64::MAX, |next| next.created_at_micros);
    (0..manifests.len()).filter(|&i| i >= last || superseded_at(i) > horizon).map(|i| manifests[i].number).collect()
}

/// In a local store, what a killed process leaves besides objects: half-written uploads (`<name>#<n>`, which listings do not
/// show) of attempts that are over, and empty directories. Only tidying: what cannot be deleted stays for the next time.
fn sweep_directory(folder: &Path, newest: u64) {
    let Ok(attempts) = std::fs::read_dir(folder) else { return };
    for attempt in attempts.flatten() {
        let name = attempt.file_name();
        let number = name.to_str().and_then(|name| name.split('-').next()?.parse::<u64>().ok());
        if number.is_some_and(|number| number <= newest) {
            sweep_attempt(&attempt.path());
        }
    }
}

fn sweep_attempt(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_attempt(&path);
        } else if entry.file_name().to_str().is_some_and(is_staged) {
            let _ = std::fs::remove_file(&path);
        }
    }
    // Fails, as it should, where something is left.
    let _ = std::fs::remove_dir(directory);
}

/// The same for manifests and epochs: half-written ones whose number has been taken. A writer that is late with it loses either
/// way.
fn sweep_numbered(directory: &Path, folder: &str, newest: u64) {
    let Ok(entries) = std::fs::read_dir(directory.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let staged = name.to_str().filter(|name| is_staged(name)).and_then(|name| name.rsplit_once('#'));
        let number = staged.and_then(|(name, _)| number_of(folder, &format!("{folder}/{name}")));
        if number.is_some_and(|number| number <= newest) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a file name is that of an upload under way.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}
