//! Every file of the project, checked byte for byte; and what is damaged, made anew from what is not.

mod copies;
mod judge;
mod repair;

use serde::Serialize;
use watershed_batch::StoreCheck;
use watershed_log::{
    Position,
    check::{Expected, LogCheck},
};

use self::judge::Judge;
use super::{Project, blocking};
use crate::error::Error;

/// What `fsck` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Makes anew what can be. Takes the log's lock.
    pub repair: bool,
}

/// What is to be said of a finding, the worst last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FsckVerdict {
    /// No damage: leftovers, and what was set aside.
    Note,
    /// It was made anew.
    Repaired,
    /// It can be made anew.
    Repairable,
    /// Some of it, or all, is nowhere any more.
    Lost,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FsckFinding {
    /// The file of the log, or the object of the store.
    pub place: String,
    /// Where in the file it is no longer what was written, if that is known.
    pub byte: Option<u64>,
    /// What it is: `segment`, `index`, `head`, `epoch`, `manifest`, `view`, `archive` …
    pub kind: &'static str,
    /// What was found there.
    pub reason: String,
    /// What is lost, or what cannot be asked until it is made anew.
    pub affected: Option<String>,
    /// From what it is made anew; of what is lost, what can be done about it.
    pub remedy: String,
    /// What is to be said of it.
    pub verdict: FsckVerdict,
}

/// Something that a repair did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FsckRepair {
    /// The file of the log, or the object of the store.
    pub place: String,
    /// What was done.
    pub done: String,
}

/// How much was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FsckChecked {
    /// Files of the log and objects of the store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments among them.
    pub segments: u64,
    /// Records in the segments.
    pub records: u64,
    /// Epochs.
    pub epochs: u64,
    /// Manifests.
    pub manifests: u64,
    /// Files of views and of the archive.
    pub stored_files: u64,
}

/// What was found, and done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Fsck {
    /// How much was read.
    pub checked: FsckChecked,
    /// What was found.
    pub findings: Vec<FsckFinding>,
    /// What a repair did.
    pub repairs: Vec<FsckRepair>,
}

impl Fsck {
    /// The worst verdict; [`FsckVerdict::Note`] if nothing was found.
    pub fn verdict(&self) -> FsckVerdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(FsckVerdict::Note)
    }

    /// Whether everything is, or is again, what was written.
    pub fn is_sound(&self) -> bool {
        self.verdict() < FsckVerdict::Repairable
    }
}

/// The checks of both sides.
struct Checks {
    store: StoreCheck,
    log: LogCheck,
}

impl Project {
    /// Reads every file of the log and every object of the store and says which are not what was written, what is lost with
    /// them, and from what the rest can be made anew; with `repair`, makes it anew. Damaged originals are set aside. A check runs beside
    /// everything; a repair is refused while another process holds the log. A repair that was killed is done again.
    pub async fn fsck(&self, options: FsckOptions) -> Result<Fsck, Error> {
        let project = self.clone();
        blocking(move || if options.repair { project.repair() } else { project.examine() }).await
    }

    /// A check without repair.
    fn examine(&self) -> Result<Fsck, Error> {
        let checks = self.checks()?;
        Ok(self.fsck_of(&checks))
    }

    fn checks(&self) -> Result<Checks, Error> {
        // The store first: what it knows of the log is then in the log.
        let store = self.store()?.check()?;
        let log = watershed_log::check::check(self.log_directory(), &expected(&store))?;
        Ok(Checks { store, log })
    }

    fn fsck_of(&self, checks: &Checks) -> Fsck {
        let Checks { store, log } = checks;
        let checked = FsckChecked {
            files: log.files + store.epochs + store.manifests + store.files,
            bytes: log.bytes + store.bytes,
            segments: log.segments,
            records: log.records,
            epochs: store.epochs,
            manifests: store.manifests,
            stored_files: store.files,
        };
        let mut findings = Judge::new(self, checks).findings();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        Fsck { checked, findings, repairs: Vec::new() }
    }
}

/// What the store knows of the log.
fn expected(store: &StoreCheck) -> Expected {
    // Retention goes by the newest manifest: if that cannot be read, it is not known how far it went.
    let kept_from = match &store.newest {
        _ if store.newest_is_damaged => None,
        Some(newest) => Some(newest.archived().min(&newest.cut)),
        None => Some(Position::new()),
    };
    Expected { partitions: store.partitions.clone(), durable: store.durable.clone(), kept_from }
}
