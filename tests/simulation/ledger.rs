//! What the bucket has seen: every manifest and epoch that was ever there, and whether anything happened to objects that must
//! not happen.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use watershed_batch::{Epoch, Manifest};

/// The history of the bucket's objects.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The commits by number, also those that have been forgotten since.
    pub commits: BTreeMap<u64, Manifest>,
    /// The numbers of those that are there.
    pub kept: BTreeSet<u64>,
    /// Manifests that a writer created that had slept while its number was published and forgotten: no commits, and to be
    /// deleted by their writer at once. By number.
    pub ghosts: BTreeMap<u64, Manifest>,
    /// The epochs by number, also those that have been forgotten since.
    pub epochs: BTreeMap<u64, Epoch>,
    /// All that there have been.
    pub ghosts_ever: Vec<Manifest>,
    /// The objects that are there.
    objects: BTreeSet<String>,
    /// What must not happen and did.
    pub violations: Vec<String>,
}

/// The body of a sealed object.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut sealed: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_json::from_value(sealed.get_mut("body")?.take()).ok()
}

fn number_of(path: &str, folder: &str) -> Option<u64> {
    path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok()
}

impl Ledger {
    fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The newest commit.
    pub fn newest(&self) -> Option<&Manifest> {
        self.commits.last_key_value().map(|(_, manifest)| manifest)
    }

    /// The manifests that there have been under a number: its commit first, then ghosts of it.
    pub fn manifests(&self, number: u64) -> impl Iterator<Item = &Manifest> {
        self.commits.get(&number).into_iter().chain(self.ghosts_ever.iter().filter(move |ghost| ghost.number == number))
    }

    /// An object was written.
    pub fn written(&mut self, path: &str, before: Option<&[u8]>, bytes: &[u8]) {
        if before.is_some_and(|before| before != bytes) {
            self.wrong(format!("{path} was overwritten with other bytes"));
        }
        self.objects.insert(path.to_owned());
        if let Some(number) = number_of(path, "manifests") {
            match body::<Manifest>(bytes) {
                Some(manifest) if manifest.number == number => self.manifest(manifest),
                _ => self.wrong(format!("{path} does not hold manifest {number}")),
            }
        }
        if let Some(number) = number_of(path, "epochs") {
            match body::<Epoch>(bytes) {
                Some(epoch) if epoch.number == number => self.epoch(epoch),
                _ => self.wrong(format!("{path} does not hold epoch {number}")),
            }
        }
    }

    /// Manifests are created, numbered without gaps, and each follows from the one before it.
    fn manifest(&mut self, manifest: Manifest) {
        let number = manifest.number;
        let last = self.commits.keys().next_back().copied().unwrap_or(0);
        if number <= last {
            if self.kept.contains(&number) {
                self.wrong(format!("manifest {number} was created twice"));
            }
            self.ghosts_ever.push(manifest.clone());
            self.ghosts.insert(number, manifest);
            return;
        }
        if number > last + 1 {
            self.wrong(format!("manifest {number} follows {last}"));
        }
        for file in manifest.files() {
            if !self.objects.contains(&file.path) {
                self.violations.push(format!("manifest {number} names {}, which is not there", file.path));
            }
        }
        match (self.commits.get(&last), &manifest.previous) {
            (None, None) => {}
            (Some(before), Some(previous)) => {
                if (previous.number, &previous.writer) != (last, &before.writer) {
                    self.violations.push(format!("manifest {number} was made from {previous:?}, not from {last}"));
                }
                if !before.cut.le(&manifest.cut) {
                    self.violations.push(format!("the cut of manifest {number} moved back"));
                }
            }
            (before, previous) => {
                let before = before.map(|before| before.number);
                self.violations.push(format!("manifest {number} was made from {previous:?}, not from {before:?}"));
            }
        }
        match self.epochs.get(&manifest.epoch) {
            Some(epoch) if epoch.position.le(&manifest.cut) => {}
            epoch => {
                self.violations.push(format!("manifest {number} is cut at {:?}, its epoch is {epoch:?}", manifest.cut));
            }
        }
        self.kept.insert(number);
        self.commits.insert(number, manifest);
    }

    /// Epochs are created and form a chain.
    fn epoch(&mut self, epoch: Epoch) {
        let number = epoch.number;
        if let Some((last, before)) = self.epochs.last_key_value() {
            // One whose number was recorded and forgotten while it was under way lies below all that are kept.
            if number > last + 1 {
                self.violations.push(format!("epoch {number} follows {last}"));
            }
            if number == last + 1 && !before.position.le(&epoch.position) {
                self.violations.push(format!("epoch {number} lies below epoch {last}"));
            }
            if number <= *last {
                return;
            }
        }
        self.epochs.insert(number, epoch);
    }

    /// An object was deleted.
    pub fn deleted(&mut self, path: &str) {
        self.objects.remove(path);
        if let Some(number) = number_of(path, "manifests") {
            if self.ghosts.remove(&number).is_some() {
                return;
            }
            let newest = self.commits.keys().next_back().copied();
            if self.kept.remove(&number) && newest == Some(number) {
                self.wrong(format!("manifest {number}, the newest, was deleted"));
            }
        }
        let naming =
            self.kept.iter().find(|number| self.commits[number].files().any(|file| file.path == path)).copied();
        if let Some(number) = naming {
            self.wrong(format!("{path} was deleted, and manifest {number}, which is kept, names it"));
        }
    }
}
