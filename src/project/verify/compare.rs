//! Comparing gatherings, one partition of a view at a time.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use watershed_batch::{BatchError, Manifest};
use watershed_pipelines::partial::{CoreKernel, Partials, RowDifferences};

use super::{
    Checking, LISTED_MAX,
    cuts::Cut,
    gather::{Books, Gather, Of},
    result::Verified,
};
use crate::{error::Error, project::parity::hex};

/// The ways of one round: batch only at once, batch only between the cuts, speed only between the cuts.
pub(super) struct Ways<'a> {
    pub checking: &'a Checking<'a>,
    pub chain: &'a [Cut],
    pub reference: &'a Gather<'a>,
    pub between: &'a Gather<'a>,
    pub live: &'a Gather<'a>,
}

/// One partition of a view in all ways.
struct Partition<'a> {
    kernel: &'a CoreKernel,
    /// What is stored below where the records begin.
    base: Option<Partials>,
    expected: Partials,
    between: BTreeMap<usize, Partials>,
    live: BTreeMap<usize, Partials>,
}

/// What comparing one partition gave.
struct Compared {
    digest: String,
    rows: u64,
    differences: Vec<(String, RowDifferences)>,
}

impl<'a> Ways<'a> {
    /// The ways by name: how many stretches come from the batch side; the others come from the speed side.
    pub fn names(&self) -> Vec<(usize, String)> {
        let chain = self.chain.iter().enumerate().map(|(i, cut)| (i + 1, format!("merged at {}", cut.name)));
        let mut names: Vec<(usize, String)> = chain.collect();
        names.push((self.chain.len() + 1, "batch only, between the cuts".to_owned()));
        if !self.checking.scope.begins_below_log() {
            names.insert(0, (0, "speed only".to_owned()));
        }
        names
    }

    pub fn compare(&self, round: usize, results: &mut [Verified]) -> Result<(), Error> {
        for (view, verified) in results.iter_mut().enumerate() {
            self.compare_books(view, verified);
            self.compare_rows(view, round, verified)?;
        }
        Ok(())
    }

    fn compare_books(&self, view: usize, verified: &mut Verified) {
        let expected = self.reference.books(view, |_| true);
        verified.counts = expected.counts;
        for (batch, way) in self.names() {
            let below = self.between.books(view, |stretch| stretch < batch);
            let above = self.live.books(view, |stretch| stretch >= batch);
            let found = sum(&below, &above);
            verified.compare(&way, "counts", &expected.counts, &found.counts);
            if expected.counts == found.counts && expected.rejected != found.rejected {
                verified.differ(&way, "rejected records", None, None);
            }
            verified.way(&way);
        }
        for (stretches, manifest) in self.manifests(view) {
            let way = stored(manifest);
            let mut expected = self.between.books(view, |stretch| stretch < stretches).counts;
            if let Some(base) = self.base_state(view) {
                expected.merge(&base.counts);
            }
            verified.compare(&way, "counts", &expected, &manifest.views[&verified.view].counts);
        }
    }

    fn compare_rows(&self, view: usize, round: usize, verified: &mut Verified) -> Result<(), Error> {
        let touched: BTreeSet<String> =
            [self.reference, self.between, self.live].iter().flat_map(|gather| gather.partitions(view)).collect();
        let compared: Vec<(&String, Compared)> = touched
            .par_iter()
            .map(|name| Ok((name, self.partition(view, name)?.compare(self, view, name)?)))
            .collect::<Result<_, Error>>()?;
        let mut digest = blake3::Hasher::new();
        let mut rows = 0;
        for (name, compared) in compared {
            digest.update(name.as_bytes());
            digest.update(compared.digest.as_bytes());
            rows += compared.rows;
            for (way, differences) in compared.differences {
                verified.rows_differ(&way, differences);
            }
        }
        if round == 0 {
            (verified.digest, verified.rows) = (digest.finalize().to_hex().to_string(), rows);
        }
        self.compare_untouched(view, &touched, verified);
        Ok(())
    }

    /// Stored partitions that none of the records belong to: as they are in the base, or not there at all.
    fn compare_untouched(&self, view: usize, touched: &BTreeSet<String>, verified: &mut Verified) {
        let base = self.base_state(view).map(|base| &base.partitions);
        for (_, manifest) in self.manifests(view) {
            let way = stored(manifest);
            let found = &manifest.views[&verified.view].partitions;
            let names: BTreeSet<&String> = found.keys().chain(base.iter().flat_map(|base| base.keys())).collect();
            for name in names.into_iter().filter(|name| !touched.contains(*name)) {
                let digest = |partition: Option<&watershed_batch::PartitionState>| partition.map(|p| p.digest.clone());
                let (expected, found) = (digest(base.and_then(|base| base.get(name))), digest(found.get(name)));
                if expected != found {
                    verified.differ(&way, &format!("partition {name}"), expected, found);
                }
            }
        }
    }

    fn base_state(&self, view: usize) -> Option<&watershed_batch::ViewState> {
        let Of { view, .. } = &self.checking.kernels[view];
        self.checking.scope.base.as_ref()?.state(&view.name, &view.fingerprint).ok()
    }

    /// The manifests that hold this very view and of which everything can be recomputed, with the number of stretches below.
    fn manifests(&self, view: usize) -> impl Iterator<Item = (usize, &'a Manifest)> {
        let Of { view, .. } = &self.checking.kernels[view];
        let complete = self.checking.scope.has_base(view);
        let cuts = self.chain.iter().enumerate().filter_map(|(i, cut)| Some((i + 1, &**cut.manifest.as_ref()?)));
        cuts.filter(move |(_, manifest)| {
            complete && manifest.views.get(&view.name).is_some_and(|stored| stored.fingerprint == view.fingerprint)
        })
    }

    fn partition(&self, view: usize, name: &str) -> Result<Partition<'a>, Error> {
        let Of { view: definition, kernel } = &self.checking.kernels[view];
        let base = match &self.checking.scope.base {
            Some(base) if self.base_state(view).is_some() => {
                Some(base.read_partition(&definition.name, &definition.fingerprint, kernel, name)?)
            }
            _ => None,
        };
        let reference = self.reference.partials(view, name)?;
        let expected = kernel.merge(&base.iter().chain(reference.values()).collect::<Vec<_>>())?;
        let (between, live) = (self.between.partials(view, name)?, self.live.partials(view, name)?);
        Ok(Partition { kernel, base, expected, between, live })
    }

    /// A view's partials of all partitions, with so many stretches from the batch side; of the recomputed records only.
    pub fn whole(&self, view: usize, batch: Option<usize>) -> Result<Partials, Error> {
        let kernel = &self.checking.kernels[view].kernel;
        let names = match batch {
            None => self.reference.partitions(view),
            Some(_) => self.between.partitions(view).into_iter().chain(self.live.partitions(view)).collect(),
        };
        let mut parts = Vec::new();
        for name in &names {
            match batch {
                None => parts.extend(self.reference.partials(view, name)?.into_values()),
                Some(batch) => {
                    parts.extend(
                        self.between.partials(view, name)?.into_iter().filter(|(i, _)| *i < batch).map(|(_, p)| p),
                    );
                    parts.extend(
                        self.live.partials(view, name)?.into_iter().filter(|(i, _)| *i >= batch).map(|(_, p)| p),
                    );
                }
            }
        }
        Ok(kernel.merge(&parts.iter().collect::<Vec<_>>())?)
    }
}

impl Partition<'_> {
    fn compare(&self, ways: &Ways<'_>, view: usize, name: &str) -> Result<Compared, Error> {
        let digest = self.kernel.digest(&self.expected);
        let mut differences = Vec::new();
        for (batch, way) in ways.names() {
            let found = self.merged(|i| i < batch, |i| i >= batch)?;
            if self.kernel.digest(&found) != digest {
                differences.push((way, self.kernel.differences(&self.expected, &found, LISTED_MAX)?));
            }
        }
        for (stretches, manifest) in ways.manifests(view) {
            differences.extend(self.compare_stored(ways, (view, name), stretches, manifest)?);
        }
        Ok(Compared { digest: hex(&digest), rows: self.expected.len() as u64, differences })
    }

    /// What lies below a manifest's cut, against the digest that the manifest says its rows have.
    fn compare_stored(
        &self,
        ways: &Ways<'_>,
        (view, name): (usize, &str),
        stretches: usize,
        manifest: &Manifest,
    ) -> Result<Option<(String, RowDifferences)>, Error> {
        let expected = self.merged(|i| i < stretches, |_| false)?;
        let Of { view: definition, kernel } = &ways.checking.kernels[view];
        let partition = manifest.views[&definition.name].partitions.get(name);
        if partition.map_or(kernel.digest(&kernel.empty()), |p| unhex(&p.digest)) == kernel.digest(&expected) {
            return Ok(None);
        }
        let reader = watershed_batch::ViewReader::new(ways.checking.project.store()?, manifest.clone().into());
        let found = match reader.read_partition(&definition.name, &definition.fingerprint, kernel, name) {
            Ok(found) => found,
            // Forgotten meanwhile, or damaged, which is found where files are read.
            Err(BatchError::Gone { .. } | BatchError::Damaged { .. }) => kernel.empty(),
            Err(error) => return Err(error.into()),
        };
        Ok(Some((stored(manifest), kernel.differences(&expected, &found, LISTED_MAX)?)))
    }

    fn merged(&self, batch: impl Fn(usize) -> bool, speed: impl Fn(usize) -> bool) -> Result<Partials, Error> {
        let below = self.between.iter().filter(|(i, _)| batch(**i)).map(|(_, partials)| partials);
        let above = self.live.iter().filter(|(i, _)| speed(**i)).map(|(_, partials)| partials);
        Ok(self.kernel.merge(&self.base.iter().chain(below).chain(above).collect::<Vec<_>>())?)
    }
}

/// Compares another gathering of the same records with the reference.
pub(super) fn same(
    checking: &Checking<'_>,
    way: &str,
    reference: &Gather<'_>,
    other: &Gather<'_>,
    results: &mut [Verified],
) -> Result<(), Error> {
    for (view, verified) in results.iter_mut().enumerate() {
        let kernel = &checking.kernels[view].kernel;
        let (expected, found) = (reference.books(view, |_| true), other.books(view, |_| true));
        verified.compare(way, "counts", &expected.counts, &found.counts);
        if expected.counts == found.counts && expected.rejected != found.rejected {
            verified.differ(way, "rejected records", None, None);
        }
        for name in reference.partitions(view).union(&other.partitions(view)) {
            let merged = |gather: &Gather<'_>| -> Result<Partials, Error> {
                Ok(kernel.merge(&gather.partials(view, name)?.values().collect::<Vec<_>>())?)
            };
            let (expected, found) = (merged(reference)?, merged(other)?);
            if kernel.digest(&expected) != kernel.digest(&found) {
                verified.rows_differ(way, kernel.differences(&expected, &found, LISTED_MAX)?);
            }
        }
        verified.way(way);
    }
    Ok(())
}

/// The way that a manifest stands for.
pub(super) fn stored(manifest: &Manifest) -> String {
    format!("stored by manifest {}", manifest.number)
}

fn sum(a: &Books, b: &Books) -> Books {
    let mut counts = a.counts;
    counts.merge(&b.counts);
    Books { counts, rejected: a.rejected.wrapping_add(b.rejected) }
}

/// A digest from its text; one that is none equals no other.
fn unhex(text: &str) -> [u8; 32] {
    blake3::Hash::from_hex(text).map_or([0; 32], |hash| *hash.as_bytes())
}
