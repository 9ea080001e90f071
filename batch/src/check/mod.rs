//! Checking a store object by object: epochs, manifests and every file they name, byte for byte.
//!
//! A check changes nothing and may run beside runs and collections. What is damaged is made anew elsewhere: an epoch from the
//! manifest that has it as its cut ([`Store::restore_epoch`]), views and archive files by a run that is told not to trust
//! them ([`BatchOptions::damaged`](crate::BatchOptions::damaged)). Before that it is set aside below `damaged/`, under its own
//! path ([`Store::set_aside`]).

mod aside;
mod chain;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use rayon::prelude::*;
use watershed_log::Position;

use self::chain::Chain;
use crate::{
    error::{BatchError, Result},
    manifest::{Manifest, StoredFile},
    store::{
        Store,
        layout::{ARCHIVE, DATA, attempt_number_of},
    },
    table::read,
};

/// What an object is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreDamage {
    /// An epoch.
    Epoch {
        /// Its number.
        number: u64,
    },
    /// A manifest.
    Manifest {
        /// Its number.
        number: u64,
    },
    /// A file of a view.
    View {
        /// The view.
        view: String,
        /// Its partition; `None` for the list of rejected records.
        partition: Option<String>,
    },
    /// A file of the archive.
    Archive {
        /// The source.
        source: String,
        /// Its partition.
        partition: u32,
        /// The records in it.
        records: Range<u64>,
    },
    /// No damage: what no kept manifest names, and what was set aside.
    Leftover,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreFinding {
    /// The object, or where it should be.
    pub object: String,
    /// What kind of object it is.
    pub damage: StoreDamage,
    /// What was found.
    pub reason: String,
    /// Of files: whether the newest manifest names it. Others are history: they are asked only for answers as of old epochs.
    pub is_current: bool,
}

/// What a check found.
#[derive(Clone, Default, Debug)]
pub struct StoreCheck {
    /// Damage and leftovers.
    pub findings: Vec<StoreFinding>,
    /// Epochs read.
    pub epochs: u64,
    /// Manifests read.
    pub manifests: u64,
    /// Files of views and of the archive read.
    pub files: u64,
    /// The bytes of everything read.
    pub bytes: u64,
    /// The newest manifest that can be read.
    pub newest: Option<Manifest>,
    /// Whether a manifest above it is damaged.
    pub newest_is_damaged: bool,
    /// The number of the last epoch, damaged ones included.
    pub last_epoch: u64,
    /// Every record below it was durable in the log: what the epochs and manifests say.
    pub durable: Position,
    /// The partitions of each source that was ever seen.
    pub partitions: BTreeMap<String, u32>,
}

impl StoreCheck {
    /// The paths of damaged or missing files that the newest manifest names.
    pub fn damaged_files(&self) -> BTreeSet<String> {
        let files = self.findings.iter().filter(|finding| finding.is_current);
        let is_file =
            |finding: &&StoreFinding| matches!(finding.damage, StoreDamage::View { .. } | StoreDamage::Archive { .. });
        files.filter(is_file).map(|finding| finding.object.clone()).collect()
    }

    fn find(&mut self, object: impl Into<String>, damage: StoreDamage, reason: impl Into<String>) {
        self.findings.push(StoreFinding { object: object.into(), damage, reason: reason.into(), is_current: true });
    }
}

/// A file and what it is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    path: String,
    checksum: String,
    bytes: u64,
}

impl Store {
    /// Checks every object.
    ///
    /// # Errors
    /// Those of the store. Damage is no error but a finding.
    pub fn check(&self) -> Result<StoreCheck> {
        let mut check = StoreCheck::default();
        let aside = self.aside()?;
        let chain = Chain::read(self, &aside, &mut check)?;
        chain.links(&aside, &mut check);
        self.check_files(&chain, &mut check)?;
        self.check_garbage(&chain, &mut check)?;
        for path in aside.objects {
            check.find(path, StoreDamage::Leftover, "set aside when the store was repaired");
        }
        Ok(check)
    }

    /// The files of a manifest's views that are not what was written, with the reasons.
    pub(crate) fn damaged_view_files(&self, manifest: &Manifest) -> Result<BTreeMap<String, String>> {
        let files: Vec<&StoredFile> = manifest.views.values().flat_map(|view| view.files()).collect();
        let examined: Vec<Option<(String, String)>> = files
            .into_par_iter()
            .map(|file| Ok(self.examine(file)?.map(|reason| (file.path.clone(), reason))))
            .collect::<Result<_>>()?;
        Ok(examined.into_iter().flatten().collect())
    }

    /// What is wrong with a file, if anything is.
    fn examine(&self, file: &StoredFile) -> Result<Option<String>> {
        match read::fetch(self, file) {
            Ok(_) => Ok(None),
            Err(BatchError::Gone { .. }) => Ok(Some("it is missing".to_owned())),
            Err(BatchError::Damaged { reason, .. }) => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }

    fn check_files(&self, chain: &Chain, check: &mut StoreCheck) -> Result<()> {
        let mut named: BTreeMap<Named, (StoredFile, StoreDamage, bool)> = BTreeMap::new();
        for (index, manifest) in chain.manifests.iter().rev().enumerate() {
            for (file, damage) in purposes(manifest) {
                let key = Named { path: file.path.clone(), checksum: file.checksum.clone(), bytes: file.bytes };
                named.entry(key).or_insert((file.clone(), damage, index == 0));
            }
        }
        let files: Vec<(StoredFile, StoreDamage, bool)> = named.into_values().collect();
        check.files = files.len() as u64;
        check.bytes += files.iter().map(|(file, ..)| file.bytes).sum::<u64>();
        let examined: Vec<Option<StoreFinding>> = files
            .into_par_iter()
            .map(|(file, damage, is_current)| {
                let reason = self.examine(&file)?;
                Ok(reason.map(|reason| StoreFinding { object: file.path, damage, reason, is_current }))
            })
            .collect::<Result<_>>()?;
        // A collection may have deleted, since they were listed, what only old manifests name.
        let kept: BTreeSet<u64> = self.manifest_numbers()?.into_iter().collect();
        let lives = |path: &str| {
            let names = |manifest: &&Manifest| manifest.files().any(|file| file.path == path);
            chain.manifests.iter().filter(names).any(|manifest| kept.contains(&manifest.number))
        };
        check.findings.extend(examined.into_iter().flatten().filter(|finding| lives(&finding.object)));
        Ok(())
    }

    /// What no manifest names, one finding for each attempt.
    fn check_garbage(&self, chain: &Chain, check: &mut StoreCheck) -> Result<()> {
        let named: BTreeSet<&str> =
            chain.manifests.iter().flat_map(Manifest::files).map(|file| file.path.as_str()).collect();
        let mut garbage: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for folder in [DATA, ARCHIVE] {
            for (path, bytes) in self.list(folder)?.into_iter().filter(|(path, _)| !named.contains(path.as_str())) {
                let attempt: Vec<&str> = path.split('/').take(2).collect();
                let counts = garbage.entry(attempt.join("/")).or_default();
                (counts.0, counts.1) = (counts.0 + 1, counts.1 + bytes);
            }
        }
        for (attempt, (files, bytes)) in garbage {
            let what = match attempt_number_of(&attempt) {
                _ if chain.is_damaged => "perhaps named by the damaged manifest",
                Some(number) if number <= chain.newest() => {
                    "garbage, which `gc` deletes when no kept manifest needs it"
                }
                Some(_) => "of a run that is under way or was killed",
                None => "not of Watershed",
            };
            let reason = format!("{files} files ({bytes} bytes) that no manifest names: {what}");
            check.find(attempt, StoreDamage::Leftover, reason);
        }
        Ok(())
    }
}

/// The files of a manifest, and what they are for.
fn purposes(manifest: &Manifest) -> impl Iterator<Item = (&StoredFile, StoreDamage)> {
    let views = manifest.views.iter().flat_map(|(view, state)| {
        let of = |partition: Option<&String>| StoreDamage::View { view: view.clone(), partition: partition.cloned() };
        let partitions = state
            .partitions
            .iter()
            .flat_map(move |(name, partition)| partition.files.iter().map(move |file| (file, of(Some(name)))));
        partitions.chain(state.rejected.iter().map(move |file| (file, of(None))))
    });
    let archive = manifest.sources.iter().flat_map(|(source, state)| {
        state.archive.iter().flat_map(move |(&partition, files)| {
            files.iter().map(move |file| {
                let records = file.start..file.end;
                (&file.file, StoreDamage::Archive { source: source.clone(), partition, records })
            })
        })
    });
    views.chain(archive)
}
