//! Answers: the tail of each view over the rows that the ways gave.

use polars::prelude::DataFrame;
use watershed_pipelines::{
    catalog::View,
    decode::ColumnSet,
    key::KeyFilter,
    partial::Partials,
    rows::describe_row,
    tail::{BoxError, Rel, Relations, TailPlan},
};

use super::{Checking, LISTED_MAX, Wanted, compare::Ways, result::Verified};
use crate::error::Error;

/// Ways whose answers are compared, of a quick check: speed only, batch only, and three cuts.
const WAYS: usize = 5;

/// A view with a tail.
pub(super) struct Answer {
    pub verified: Verified,
    plan: TailPlan,
    scans: Vec<String>,
}

/// The views whose answers are compared: those whose tail does anything.
pub(super) fn begin(checking: &Checking<'_>, wanted: &Wanted) -> Result<Vec<Answer>, Error> {
    let catalog = checking.project.catalog();
    let has_tail =
        |view: &&std::sync::Arc<View>| wanted.tails.contains(&view.name) && !matches!(view.tail, Rel::Scan { .. });
    let begin = |view: &std::sync::Arc<View>| {
        let plan = TailPlan::compile(&view.tail, checking.project.registry())?;
        let verified = Verified::new(&view.name, view.core.is_some());
        Ok(Answer { verified, plan, scans: catalog.dependencies(&view.name).into_iter().collect() })
    };
    catalog.views.values().filter(has_tail).map(begin).collect()
}

/// Compares the answers of one round. What a tail of a materialized view gives differently is told with that view.
pub(super) fn compare(ways: &Ways<'_>, results: &mut [Verified], answers: &mut [Answer]) -> Result<(), Error> {
    let names = ways.names();
    let wanted = if ways.checking.options.sweeps { names.len() } else { WAYS };
    // The first, the last, and some between.
    let step = names.len().saturating_sub(1).max(1) as f64 / wanted.saturating_sub(1).max(1) as f64;
    let mut chosen: Vec<usize> =
        (0..wanted).map(|n| ((n as f64 * step).round() as usize).min(names.len() - 1)).collect();
    chosen.dedup();
    for answer in answers {
        ways.checking.doing(&format!("comparing answers of {}", answer.verified.view));
        let verified = match results.iter_mut().find(|result| result.view == answer.verified.view) {
            Some(result) => result,
            None => &mut answer.verified,
        };
        compare_one(ways, (&answer.plan, &answer.scans), &names, &chosen, verified)?;
        if !verified.materialized {
            verified.complete = ways.checking.scope.from.is_zero();
            for cut in ways.chain.iter().map(|cut| &cut.name) {
                if chosen.iter().any(|&way| names[way].1 == format!("merged at {cut}")) {
                    verified.cuts.push(cut.clone());
                }
            }
            if !verified.complete {
                verified.not_covered = vec!["answers were made of the recomputed records only".to_owned()];
            }
        }
    }
    Ok(())
}

fn compare_one(
    ways: &Ways<'_>,
    (plan, scans): (&TailPlan, &[String]),
    names: &[(usize, String)],
    chosen: &[usize],
    verified: &mut Verified,
) -> Result<(), Error> {
    let Some(expected) = Rows::of(ways, scans, None)? else {
        let bytes = ways.checking.options.memory_bytes_max;
        verified.not_covered.push(format!("its answers: the rows that they are made of take more than {bytes} bytes"));
        return Ok(());
    };
    let expected = plan.execute(&expected);
    if let (Ok(frame), false) = (&expected, verified.materialized) {
        verified.rows = frame.height() as u64;
        verified.digest = digest(plan, frame);
    }
    for (batch, way) in chosen.iter().map(|&way| &names[way]) {
        let Some(rows) = Rows::of(ways, scans, Some(*batch))? else { continue };
        let way = format!("answer, {way}");
        match (&expected, plan.execute(&rows)) {
            (Ok(expected), Ok(found)) => frames_differ(plan, &way, expected, &found, verified),
            // A tail may fail, for a sum that does not fit; then it does so in every way.
            (Err(expected), Err(found)) => verified.compare(&way, "error", &expected.to_string(), &found.to_string()),
            (Ok(_), Err(found)) => verified.differ(&way, "error", None, Some(found.to_string())),
            (Err(expected), Ok(_)) => verified.differ(&way, "error", Some(expected.to_string()), None),
        }
        verified.way(&way);
    }
    Ok(())
}

fn frames_differ(plan: &TailPlan, way: &str, expected: &DataFrame, found: &DataFrame, verified: &mut Verified) {
    if expected.equals_missing(found) {
        return;
    }
    let text = |frame: &DataFrame, row: usize| (row < frame.height()).then(|| describe_row(frame, plan.schema(), row));
    let differing = (0..expected.height().max(found.height()))
        .map(|row| (row, text(expected, row), text(found, row)))
        .filter(|(_, expected, found)| expected != found);
    let mut some = false;
    for (row, expected, found) in differing.take(LISTED_MAX) {
        some = true;
        verified.differ(way, &format!("row {row}"), expected, found);
    }
    if !some {
        verified.differ(way, "the bytes of the answer", None, None);
    }
}

fn digest(plan: &TailPlan, frame: &DataFrame) -> String {
    let mut digest = blake3::Hasher::new();
    for row in 0..frame.height() {
        digest.update(describe_row(frame, plan.schema(), row).as_bytes());
        digest.update(b"\n");
    }
    digest.finalize().to_hex().to_string()
}

/// The rows of some materialized views, in one way.
struct Rows<'a> {
    ways: &'a Ways<'a>,
    partials: Vec<(usize, Partials)>,
}

impl<'a> Rows<'a> {
    /// `None` if memory has no room for them.
    fn of(ways: &'a Ways<'a>, scans: &[String], batch: Option<usize>) -> Result<Option<Rows<'a>>, Error> {
        let mut partials = Vec::new();
        let mut bytes = 0;
        for view in scans {
            let Some(index) = ways.checking.kernels.position(view) else {
                return Err(Error::Internal(format!("{view:?} was not recomputed")));
            };
            let rows = ways.whole(index, batch)?;
            bytes += rows.memory_bytes();
            if bytes > ways.checking.options.memory_bytes_max {
                return Ok(None);
            }
            partials.push((index, rows));
        }
        Ok(Some(Rows { ways, partials }))
    }
}

impl Relations for Rows<'_> {
    fn scan(&self, view: &str, keys: &KeyFilter, _: &ColumnSet) -> Result<DataFrame, BoxError> {
        let kernels = &self.ways.checking.kernels;
        let found = self.partials.iter().find(|(index, _)| kernels[*index].view.name == view);
        let (index, partials) = found.ok_or_else(|| format!("{view:?} was not recomputed"))?;
        Ok(kernels[*index].kernel.finish_within(partials, keys)?)
    }
}
