//! Epochs and manifests: each whole, and each linked to the ones before it.

use std::collections::{BTreeMap, BTreeSet};

use watershed_log::Position;

use super::{StoreCheck, StoreDamage, aside::Aside};
use crate::{
    Epoch,
    error::{BatchError, Result},
    manifest::Manifest,
    store::{
        Store,
        layout::{EPOCHS, MANIFESTS, number_of, numbered},
    },
};

/// All epochs and manifests that can be read.
pub(super) struct Chain {
    pub epochs: Vec<Epoch>,
    pub manifests: Vec<Manifest>,
    /// Whether there are manifests that cannot be read.
    pub is_damaged: bool,
    /// Numbers that are there, readable or not.
    epoch_numbers: BTreeSet<u64>,
    manifest_numbers: BTreeSet<u64>,
}

impl Chain {
    pub fn read(store: &Store, aside: &Aside, check: &mut StoreCheck) -> Result<Chain> {
        // Epochs first: a manifest that is published meanwhile may have an epoch as its cut that is not among them.
        let mut chain = Chain {
            epochs: Vec::new(),
            manifests: Vec::new(),
            is_damaged: false,
            epoch_numbers: BTreeSet::new(),
            manifest_numbers: numbers(store, MANIFESTS, check)?,
        };
        chain.epoch_numbers = numbers(store, EPOCHS, check)?;
        for &number in &chain.manifest_numbers {
            match store.manifest(number) {
                Ok(manifest) => chain.manifests.extend(manifest),
                Err(error) => {
                    chain.is_damaged = true;
                    check.find(numbered(MANIFESTS, number), StoreDamage::Manifest { number }, reason(error)?);
                }
            }
        }
        for &number in &chain.epoch_numbers {
            match store.epoch(number) {
                Ok(epoch) => chain.epochs.extend(epoch),
                Err(error) => {
                    check.find(numbered(EPOCHS, number), StoreDamage::Epoch { number }, reason(error)?);
                }
            }
        }
        check.epochs = chain.epochs.len() as u64;
        check.manifests = chain.manifests.len() as u64;
        check.last_epoch = chain.epoch_numbers.last().copied().unwrap_or(0).max(aside.highest(EPOCHS));
        check.newest = chain.manifests.last().cloned();
        check.newest_is_damaged = chain.manifest_numbers.last() != chain.manifests.last().map(|m| &m.number);
        chain.know(check);
        Ok(chain)
    }

    /// The newest number, readable or not.
    pub fn newest(&self) -> u64 {
        self.manifest_numbers.last().copied().unwrap_or(0)
    }

    /// What the chain knows of the log.
    fn know(&self, check: &mut StoreCheck) {
        let positions = self.epochs.iter().map(|epoch| &epoch.position).chain(self.manifests.iter().map(|m| &m.cut));
        let mut partitions: BTreeMap<String, u32> = BTreeMap::new();
        for position in positions {
            check.durable = check.durable.max(position);
            for source in position.sources() {
                let count = position.get(source).map_or(0, <[u64]>::len) as u32;
                let known = partitions.entry(source.to_owned()).or_default();
                *known = count.max(*known);
            }
        }
        for (source, state) in self.manifests.iter().flat_map(|manifest| &manifest.sources) {
            let known = partitions.entry(source.clone()).or_default();
            *known = state.partitions.max(*known);
        }
        check.partitions = partitions;
    }

    /// Checks that nothing is missing in between, and that each follows from the one before.
    pub fn links(&self, aside: &Aside, check: &mut StoreCheck) {
        let missing = |folder: &'static str, numbers: &BTreeSet<u64>| -> Vec<u64> {
            let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Vec::new() };
            let gone = |number: &u64| !numbers.contains(number) && !aside.has(&numbered(folder, *number));
            (first..last).filter(gone).collect()
        };
        for number in missing(MANIFESTS, &self.manifest_numbers) {
            let reason = "it is missing, and the ones before and after it are there";
            check.find(numbered(MANIFESTS, number), StoreDamage::Manifest { number }, reason);
        }
        let mut gone: BTreeSet<u64> = missing(EPOCHS, &self.epoch_numbers).into_iter().collect();
        // Read again, for epochs may be newer than the listing: only those below the newest manifest's are sure to be listed.
        let cuts = self.manifests.iter().map(|manifest| manifest.epoch);
        gone.extend(cuts.filter(|epoch| !self.epoch_numbers.contains(epoch)));
        for number in gone {
            let names = self.manifests.iter().find(|manifest| manifest.epoch == number);
            let reason = match names {
                Some(manifest) => format!("it is missing, and manifest {} has it as its cut", manifest.number),
                None => "it is missing, and the ones before and after it are there".to_owned(),
            };
            check.find(numbered(EPOCHS, number), StoreDamage::Epoch { number }, reason);
        }
        for pair in self.manifests.windows(2).filter(|pair| pair[0].number + 1 == pair[1].number) {
            let (before, after) = (&pair[0], &pair[1]);
            let links = after
                .previous
                .as_ref()
                .is_some_and(|previous| previous.number == before.number && previous.writer == before.writer);
            if !links || !before.cut.le(&after.cut) || before.epoch > after.epoch {
                let reason = format!("manifest {} was not made from this one", after.number);
                let number = before.number;
                check.find(numbered(MANIFESTS, number), StoreDamage::Manifest { number }, reason);
            }
        }
        for pair in self.epochs.windows(2).filter(|pair| !pair[0].position.le(&pair[1].position)) {
            let reason = format!("epoch {} does not lie above it", pair[1].number);
            check.find(numbered(EPOCHS, pair[0].number), StoreDamage::Epoch { number: pair[0].number }, reason);
        }
        for manifest in &self.manifests {
            let epoch = self.epochs.iter().find(|epoch| epoch.number == manifest.epoch);
            if let Some(epoch) = epoch.filter(|epoch| !epoch.position.le(&manifest.cut)) {
                let reason = format!("manifest {} has it as its cut, but lies below it", manifest.number);
                check.find(numbered(EPOCHS, epoch.number), StoreDamage::Epoch { number: epoch.number }, reason);
            }
        }
    }

    /// The manifest that has an epoch as its cut.
    pub fn with_epoch(&self, number: u64) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.epoch == number)
    }

    /// Up to where the readable epochs reach.
    pub fn highest(&self) -> Position {
        self.epochs.iter().fold(Position::new(), |highest, epoch| highest.max(&epoch.position))
    }
}

/// The numbers in a folder; what has no number is no damage, but told.
fn numbers(store: &Store, folder: &'static str, check: &mut StoreCheck) -> Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for (path, bytes) in store.list(folder)? {
        check.bytes += bytes;
        match number_of(folder, &path) {
            Some(number) => {
                numbers.insert(number);
            }
            None => check.find(path, StoreDamage::Leftover, "not of Watershed"),
        }
    }
    Ok(numbers)
}

/// What is wrong with an object; another error than damage is the store's.
fn reason(error: BatchError) -> Result<String> {
    match error {
        BatchError::Damaged { reason, .. } => Ok(reason),
        other => Err(other),
    }
}
