//! Making anew: first the log from the archive, then epochs and manifests, then views and archive from the log.
//!
//! Each step leaves the project no worse if it is the last one, so a repair that is killed is simply done again.

use std::collections::{BTreeMap, BTreeSet};

use watershed_batch::{BatchRun, Store, StoreDamage, WriterId};
use watershed_log::{
    EventLog, FileLog,
    check::{MendOptions, mend},
};

use super::{Checks, Fsck, FsckRepair, FsckVerdict, Project, copies::ArchiveCopies, expected, judge::Judge};
use crate::error::Error;

impl Project {
    pub(super) fn repair(&self) -> Result<Fsck, Error> {
        let checks = self.checks()?;
        let mut first = self.fsck_of(&checks);
        let mut repairs = Vec::new();
        let log = self.repair_log(&checks, &mut repairs)?;
        let repaired = self.repair_store(&checks, &log, &mut repairs);
        let closed = log.close();
        repaired?;
        closed?;
        if repairs.is_empty() {
            return Ok(first);
        }
        let mut left = self.examine()?;
        // What is found again is as it is now; what is not was made anew, or was taken away because it is lost.
        for found in std::mem::take(&mut first.findings) {
            let is_same = |now: &&super::FsckFinding| now.place == found.place && now.kind == found.kind;
            if found.verdict == FsckVerdict::Note || left.findings.iter().any(|now| is_same(&now)) {
                continue;
            }
            let verdict = if found.verdict == FsckVerdict::Lost { FsckVerdict::Lost } else { FsckVerdict::Repaired };
            left.findings.push(super::FsckFinding { verdict, ..found });
        }
        left.findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        Ok(Fsck { repairs, ..left })
    }

    /// Mends the log, and holds it from then on.
    fn repair_log(&self, checks: &Checks, repairs: &mut Vec<FsckRepair>) -> Result<FileLog, Error> {
        let store = self.store()?;
        let copies = ArchiveCopies::new(&store, checks.store.newest.as_ref(), checks.store.damaged_files());
        let options = MendOptions { now_micros: self.clock().now_micros(), ..MendOptions::default() };
        for mended in mend(self.log_directory(), &expected(&checks.store), &copies, options)? {
            let place = mended.path.strip_prefix(self.directory()).unwrap_or(&mended.path).display().to_string();
            repairs.push(FsckRepair { place, done: mended.done });
        }
        self.open_log_writer(None)
    }

    fn repair_store(&self, checks: &Checks, log: &FileLog, repairs: &mut Vec<FsckRepair>) -> Result<(), Error> {
        let store = self.store()?;
        let can_do_without = Judge::new(self, checks).can_do_without_newest_manifest();
        let newest = checks.store.newest.as_ref().map_or(0, |manifest| manifest.number);
        for finding in &checks.store.findings {
            if let StoreDamage::Manifest { number } = finding.damage
                && (number < newest || can_do_without)
            {
                let kept = store.take_away(&finding.object)?;
                done(repairs, &finding.object, format!("set aside as {kept}"));
            }
        }
        for finding in &checks.store.findings {
            if let StoreDamage::Epoch { number } = finding.damage {
                let is_last = number == checks.store.last_epoch;
                let is_named = checks.store.newest.as_ref().is_some_and(|newest| newest.epoch >= number);
                if is_last && !is_named {
                    // First: the number of the epoch that is lost must not be used again, whenever this ends.
                    store.record_epoch_above(number, &log.head()?, self.clock().now_micros(), &WriterId::random())?;
                    done(
                        repairs,
                        &finding.object,
                        format!("epoch {} recorded at the log's head in its stead", number + 1),
                    );
                }
                let made = store.restore_epoch(number)?;
                let what = if made { "made anew from the manifest that has it as its cut" } else { "taken away" };
                done(repairs, &finding.object, what.to_owned());
            }
        }
        // Looked at again: another manifest may be the newest now, and the log has more than before.
        let now = self.checks()?;
        self.repair_files(&store, log, &now, repairs)
    }

    /// Has views and archive files built anew by a run that does not trust what is damaged. The cut stays where it is.
    fn repair_files(
        &self,
        store: &Store,
        log: &FileLog,
        checks: &Checks,
        repairs: &mut Vec<FsckRepair>,
    ) -> Result<(), Error> {
        let judge = Judge::new(self, checks);
        if judge.damaged().is_empty() {
            return Ok(());
        }
        for object in judge.damaged() {
            let kept = store.set_aside(object)?;
            done(repairs, object, format!("a copy of what is left of it is kept as {kept}"));
        }
        let Some(manifest) = &checks.store.newest else { return Ok(()) };
        let mut archive = BTreeSet::new();
        let mut views: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for finding in checks.store.findings.iter().filter(|finding| finding.is_current) {
            match &finding.damage {
                StoreDamage::View { view, .. } => {
                    views.entry(view).or_default().insert(finding.object.clone()).then_some(())
                }
                StoreDamage::Archive { .. } => archive.insert(finding.object.clone()).then_some(()),
                _ => None,
            };
        }
        let all = archive.iter().chain(views.values().flatten()).cloned().collect();
        match self.run_without(store, log, manifest.epoch, all, repairs) {
            Ok(()) => return Ok(()),
            Err(error) => tracing::warn!(%error, "not everything can be made anew at once"),
        }
        // Each by itself: one that cannot be made anew must not keep the others from it.
        let mut attempts = vec![archive.clone()];
        attempts.extend(views.into_values().map(|files| archive.iter().cloned().chain(files).collect()));
        for damaged in attempts.into_iter().filter(|damaged| !damaged.is_empty()) {
            if let Err(error) = self.run_without(store, log, manifest.epoch, damaged, repairs) {
                tracing::warn!(%error, "damaged files cannot be made anew");
            }
        }
        Ok(())
    }

    fn run_without(
        &self,
        store: &Store,
        log: &FileLog,
        epoch: u64,
        damaged: BTreeSet<String>,
        repairs: &mut Vec<FsckRepair>,
    ) -> Result<(), Error> {
        let config = &self.config().batch;
        let mut options = watershed_batch::BatchOptions::new(self.directory().join(".watershed-scratch"));
        options.cut = Some(epoch);
        options.archive = config.archive;
        options.memory_bytes_max = config.memory.as_usize();
        options.damaged = damaged;
        let run = BatchRun {
            store,
            log,
            catalog: self.catalog(),
            registry: self.registry(),
            clock: &**self.clock(),
            options: &options,
        };
        let report = run.run()?;
        let Some(number) = report.published else { return Ok(()) };
        let by = format!("by manifest {number}");
        for (name, view) in report.views.iter().filter(|(_, view)| view.build == watershed_batch::ViewBuild::Repaired) {
            let (written, kept) = (view.written.len(), view.kept);
            done(repairs, name, format!("built anew {by}: {written} partitions written, {kept} kept"));
        }
        for path in &report.archived_again {
            done(repairs, path, format!("its records were archived again {by}"));
        }
        Ok(())
    }
}

fn done(repairs: &mut Vec<FsckRepair>, place: &str, done: String) {
    repairs.push(FsckRepair { place: place.to_owned(), done });
}
