//! What a finding means: what is lost with it, and from what it can be made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
};

use chrono::{DateTime, SecondsFormat};
use watershed_batch::{Manifest, StoreDamage, StoreFinding};
use watershed_log::check::{LogDamage, LogFinding};

use super::{Checks, FsckFinding, FsckVerdict, Project};

/// Stretches of records by source and partition.
type Ranges = BTreeMap<(String, u32), Vec<Range<u64>>>;

/// Knows where there are records.
pub(super) struct Judge<'a> {
    project: &'a Project,
    checks: &'a Checks,
    /// What of the log can be read.
    log: Ranges,
    /// What the archive has in files without damage.
    archive: Ranges,
    damaged: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    pub fn new(project: &'a Project, checks: &'a Checks) -> Judge<'a> {
        let damaged = checks.store.damaged_files();
        Judge { project, checks, log: readable(checks), archive: archived(checks, &damaged), damaged }
    }

    pub fn findings(&self) -> Vec<FsckFinding> {
        let log = self.checks.log.findings.iter().map(|finding| self.of_log(finding));
        log.chain(self.checks.store.findings.iter().map(|finding| self.of_store(finding))).collect()
    }

    /// Whether the newest manifest, which cannot be read, may be taken away: the one before it and the log must have everything.
    pub fn can_do_without_newest_manifest(&self) -> bool {
        let cut = self.checks.store.newest.as_ref().map(|manifest| manifest.cut.clone()).unwrap_or_default();
        self.checks.log.start.le(&cut)
    }

    fn of_log(&self, finding: &LogFinding) -> FsckFinding {
        let made_anew = |kind, from: &str| (kind, None, from.to_owned(), FsckVerdict::Repairable);
        let (kind, affected, remedy, verdict) = match &finding.damage {
            LogDamage::Source { .. } => made_anew("source", "made anew from the directories, epochs and manifests"),
            LogDamage::Head => made_anew("head", "made anew from the segments"),
            LogDamage::Index => made_anew("index", "made anew from the segment"),
            LogDamage::LostMark => made_anew("lost mark", "set aside; what it said is found out anew"),
            LogDamage::LastTime => made_anew("last time", "made anew from the archive's last record, if it has it"),
            LogDamage::Leftover => ("leftover", None, String::new(), FsckVerdict::Note),
            LogDamage::Lost { records } => {
                let affected = lost_text(finding, std::slice::from_ref(records));
                ("lost records", Some(affected), GIVE_BACK.to_owned(), FsckVerdict::Lost)
            }
            LogDamage::Records { unreadable } => return self.of_segment(finding, unreadable),
        };
        FsckFinding {
            place: self.file(&finding.path),
            byte: Some(finding.byte_offset).filter(|_| verdict != FsckVerdict::Note),
            kind,
            reason: finding.reason.clone(),
            affected,
            remedy,
            verdict,
        }
    }

    /// A damaged or missing segment: what is left of it is kept, and the archive may have the rest.
    fn of_segment(&self, finding: &LogFinding, unreadable: &[Range<u64>]) -> FsckFinding {
        let partition = finding.partition.unwrap_or_default();
        let lacks = |range: &Range<u64>| missing(&self.archive, &finding.source, partition, range);
        let lost: Vec<Range<u64>> = unreadable.iter().flat_map(lacks).collect();
        let (affected, remedy, verdict) = match (unreadable.is_empty(), lost.is_empty()) {
            (true, _) => (None, "its batches are good: written anew from them".to_owned(), FsckVerdict::Repairable),
            (false, true) => {
                let affected = format!("{} cannot be read from the log", records_text(finding, unreadable));
                (Some(affected), "made anew from its good batches and the archive".to_owned(), FsckVerdict::Repairable)
            }
            (false, false) => (Some(lost_text(finding, &lost)), GIVE_BACK.to_owned(), FsckVerdict::Lost),
        };
        FsckFinding {
            place: self.file(&finding.path),
            byte: Some(finding.byte_offset),
            kind: "segment",
            reason: finding.reason.clone(),
            affected,
            remedy,
            verdict,
        }
    }

    fn of_store(&self, finding: &StoreFinding) -> FsckFinding {
        let (kind, affected, remedy, verdict) = match &finding.damage {
            StoreDamage::Leftover => ("leftover", None, String::new(), FsckVerdict::Note),
            StoreDamage::Epoch { number } => self.of_epoch(*number),
            StoreDamage::Manifest { number } => self.of_manifest(*number),
            StoreDamage::View { view, partition } => self.of_view(view, partition.as_deref(), finding.is_current),
            StoreDamage::Archive { source, partition, records } => {
                self.of_archive(source, *partition, records, finding.is_current)
            }
        };
        FsckFinding {
            place: finding.object.clone(),
            byte: None,
            kind,
            reason: finding.reason.clone(),
            affected,
            remedy,
            verdict,
        }
    }

    fn of_epoch(&self, number: u64) -> Judgement {
        let newest = self.checks.store.newest.as_ref();
        if newest.is_some_and(|manifest| manifest.epoch == number) {
            let affected = format!("batch runs, and answers as of epoch {number}");
            return ("epoch", Some(affected), "made anew from the newest manifest".to_owned(), FsckVerdict::Repairable);
        }
        let affected = format!("answers as of epoch {number}, unless a manifest has it as its cut");
        ("epoch", Some(affected), "set aside; a copy can be put back".to_owned(), FsckVerdict::Lost)
    }

    fn of_manifest(&self, number: u64) -> Judgement {
        let is_newest = self.checks.store.newest.as_ref().is_none_or(|newest| newest.number < number);
        let remedy = "set aside; the one before it and the log answer until the next run".to_owned();
        match (is_newest, self.can_do_without_newest_manifest()) {
            (true, true) => {
                let affected = "every answer, until it is set aside".to_owned();
                ("manifest", Some(affected), remedy, FsckVerdict::Repairable)
            }
            (true, false) => {
                let affected =
                    "every answer: the log no longer has all records above the manifest before it".to_owned();
                ("manifest", Some(affected), "put a copy of it back; nothing is changed".to_owned(), FsckVerdict::Lost)
            }
            (false, _) => {
                let affected =
                    "answers as of its epochs, as far as the manifest before it and the log do not give them";
                ("manifest", Some(affected.to_owned()), remedy, FsckVerdict::Repairable)
            }
        }
    }

    fn of_view(&self, view: &str, partition: Option<&str>, is_current: bool) -> Judgement {
        let what = match partition {
            Some(partition) => format!("partition {partition} of view {view}"),
            None => format!("the list of records that view {view} rejects"),
        };
        if !is_current {
            return ("view", Some(format!("{what} as of old epochs")), HISTORY.to_owned(), FsckVerdict::Note);
        }
        let source = self.newest().and_then(|manifest| manifest.views.get(view)).map(|state| state.source.clone());
        match source.map(|source| self.unavailable(&source)) {
            _ if self.project.catalog().view(view).is_none() => (
                "view",
                Some(what),
                "no definition has the view: the next run drops it".to_owned(),
                FsckVerdict::Repairable,
            ),
            Some(missing) if !missing.is_empty() => {
                let remedy = format!("put a copy of it back: {} are in neither log nor archive", missing.join(", "));
                ("view", Some(what), remedy, FsckVerdict::Lost)
            }
            _ => {
                ("view", Some(what), "the view is built anew from log and archive".to_owned(), FsckVerdict::Repairable)
            }
        }
    }

    fn of_archive(&self, source: &str, partition: u32, records: &Range<u64>, is_current: bool) -> Judgement {
        let what =
            format!("the archive's copy of records {} to {} of {source}/{partition}", records.start, records.end);
        if !is_current {
            return ("archive", Some(what), HISTORY.to_owned(), FsckVerdict::Note);
        }
        let is_known = self.project.catalog().sources.contains_key(source);
        if is_known && missing(&self.log, source, partition, records).is_empty() {
            return ("archive", Some(what), "made anew from the log".to_owned(), FsckVerdict::Repairable);
        }
        let affected = format!("{what}; views that are stored keep their answers, new ones and --full lack them");
        ("archive", Some(affected), "put a copy of it back".to_owned(), FsckVerdict::Lost)
    }

    /// Records below the newest manifest's cut that are in neither the log nor the archive.
    fn unavailable(&self, source: &str) -> Vec<String> {
        let Some(manifest) = self.newest() else { return Vec::new() };
        let partitions = manifest.cut.get(source).unwrap_or_default();
        let mut texts = Vec::new();
        for (partition, &end) in (0..).zip(partitions) {
            for gap in missing(&self.log, source, partition, &(0..end)) {
                for gap in missing(&self.archive, source, partition, &gap) {
                    texts.push(format!("records {} to {} of {source}/{partition}", gap.start, gap.end));
                }
            }
        }
        texts
    }

    fn newest(&self) -> Option<&Manifest> {
        self.checks.store.newest.as_ref()
    }

    /// The paths of damaged files of the newest manifest.
    pub fn damaged(&self) -> &BTreeSet<String> {
        &self.damaged
    }

    fn file(&self, path: &Path) -> String {
        path.strip_prefix(self.project.directory()).unwrap_or(path).display().to_string()
    }
}

type Judgement = (&'static str, Option<String>, String, FsckVerdict);

const GIVE_BACK: &str =
    "put a copy of the file back; else take the source out of the definitions: its views cannot be answered any more";
const HISTORY: &str = "only superseded manifests name it: it goes when they are no longer kept";

fn records_text(finding: &LogFinding, ranges: &[Range<u64>]) -> String {
    let ranges: Vec<String> = ranges.iter().map(|range| format!("{} to {}", range.start, range.end)).collect();
    let place = finding.partition.map_or_else(String::new, |partition| format!("/{partition}"));
    format!("records {} of {}{place}", ranges.join(", "), finding.source)
}

/// Which records are lost, and when they were appended.
fn lost_text(finding: &LogFinding, ranges: &[Range<u64>]) -> String {
    let time = |micros: Option<i64>| {
        let time = micros.and_then(DateTime::from_timestamp_micros);
        time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
    };
    let between = match (time(finding.appended_micros.0), time(finding.appended_micros.1)) {
        (Some(from), Some(to)) => format!(", appended between {from} and {to},"),
        (Some(from), None) => format!(", appended at {from} or later,"),
        (None, Some(to)) => format!(", appended at {to} or before,"),
        (None, None) => String::new(),
    };
    format!("{}{between} are lost", records_text(finding, ranges))
}

/// What of a range is in none of the stretches.
fn missing(there: &Ranges, source: &str, partition: u32, range: &Range<u64>) -> Vec<Range<u64>> {
    let (mut gaps, mut at) = (Vec::new(), range.start);
    for stretch in there.get(&(source.to_owned(), partition)).into_iter().flatten() {
        if stretch.end <= at || stretch.start >= range.end {
            continue;
        }
        if stretch.start > at {
            gaps.push(at..stretch.start);
        }
        at = stretch.end;
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

/// What of each partition of the log can be read.
fn readable(checks: &Checks) -> Ranges {
    let log = &checks.log;
    let mut readable = Ranges::new();
    for (source, partition, end) in log.end.iter() {
        let mut bad: Vec<Range<u64>> = Vec::new();
        for finding in log.findings.iter().filter(|f| f.source == source && f.partition == Some(partition)) {
            match &finding.damage {
                LogDamage::Records { unreadable } => bad.extend(unreadable.iter().cloned()),
                LogDamage::Lost { records } => bad.push(records.clone()),
                _ => {}
            }
        }
        bad.sort_by_key(|range| range.start);
        let there = Ranges::from([((source.to_owned(), partition), bad)]);
        let start = log.start.partition(source, partition);
        readable.insert((source.to_owned(), partition), missing(&there, source, partition, &(start..end)));
    }
    readable
}

fn archived(checks: &Checks, damaged: &BTreeSet<String>) -> Ranges {
    let mut archived = Ranges::new();
    for (source, state) in checks.store.newest.iter().flat_map(|manifest| &manifest.sources) {
        for (&partition, files) in &state.archive {
            let sound = files.iter().filter(|file| !damaged.contains(&file.file.path));
            archived.insert((source.clone(), partition), sound.map(|file| file.start..file.end).collect());
        }
    }
    archived
}
