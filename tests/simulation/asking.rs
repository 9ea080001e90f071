//! Questions to the product, and whether what it answered is right.

use std::time::Duration;

use rand::{Rng, rngs::StdRng, seq::IteratorRandom};
use watershed_batch::{BatchError, Manifest, declaration};
use watershed_log::{LogError, Position};
use watershed_pipelines::key::KeyFilter;
use watershed_serving::{Answer, ReadOptions, Receipt, Serving, ServingError};

use super::{
    definitions::Definitions,
    ledger::Ledger,
    model::Model,
    reference::{self, Rows},
};

/// A question and what was answered.
#[derive(Debug)]
pub struct Asked {
    /// The view.
    pub view: String,
    /// How it was asked.
    pub options: ReadOptions,
    /// What came.
    pub outcome: Result<(Rows, Receipt), ServingError>,
}

/// A question to be asked.
#[derive(Clone, Debug)]
pub struct Question {
    view: String,
    options: ReadOptions,
    in_sql: bool,
}

impl Question {
    /// About one of the views, now or as of an epoch that was ever recorded, or with every record below `written`.
    pub fn draw(definitions: &Definitions, ledger: &Ledger, written: &Position, rng: &mut StdRng) -> Question {
        let view = definitions.meanings.keys().choose(rng).cloned().unwrap_or_default();
        let options = match rng.random_range(0..4) {
            0 => match ledger.epochs.keys().choose(rng) {
                Some(epoch) => ReadOptions::default().as_of(*epoch),
                None => ReadOptions::default(),
            },
            1 => ReadOptions::default().at_least(written.clone()),
            _ => ReadOptions::default(),
        };
        Question::new(view, options, rng.random())
    }

    /// About a view, now.
    pub fn now(view: &str) -> Question {
        Question::new(view.to_owned(), ReadOptions::default(), false)
    }

    /// About a view, as of an epoch.
    pub fn as_of(view: &str, epoch: u64) -> Question {
        Question::new(view.to_owned(), ReadOptions::default().as_of(epoch), false)
    }

    fn new(view: String, options: ReadOptions, in_sql: bool) -> Question {
        // Nobody acts while an answer is waited for.
        Question { view, options: ReadOptions { timeout: Duration::ZERO, ..options }, in_sql }
    }

    /// Asks it.
    pub fn ask(self, serving: &Serving) -> Asked {
        let answer = match self.in_sql {
            true => serving.sql(&format!("SELECT * FROM {}", self.view), &self.options),
            false => serving.scan(&self.view, &KeyFilter::all(), &self.options),
        };
        let outcome = answer.map(|answer| (rows(&answer), answer.receipt));
        Asked { view: self.view, options: self.options, outcome }
    }
}

fn rows(answer: &Answer) -> Rows {
    let mut rows: Rows = answer.rows().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

impl Asked {
    /// A right answer, or an error that says why there is none. Returns whether it was an answer.
    pub fn check(&self, definitions: &Definitions, model: &Model, ledger: &Ledger) -> bool {
        let (rows, receipt) = match &self.outcome {
            Ok(answer) => answer,
            Err(error) => {
                assert!(may_happen(error), "{}: {error}", self.view);
                return false;
            }
        };
        let head = &receipt.head;
        assert!(head.le(&model.head()), "{}: the answer covers {head:?}, which is not durable", self.view);
        if let Some(position) = &self.options.at_least {
            // As far as the asked one's tables go.
            let tables = &definitions.catalog.sources;
            let known = position.iter().filter(|(source, ..)| tables.contains_key(*source));
            let known: Position = known.fold(Position::new(), |mut known, (source, partition, offset)| {
                known.set(source, partition, offset);
                known
            });
            assert!(known.le(head), "{}: asked for {known:?}, answered up to {head:?}", self.view);
        }
        if let Some(epoch) = self.options.as_of {
            let position = &ledger.epochs[&epoch].position;
            assert!(position.le(head) && head.le(position), "{}: epoch {epoch}, answered {head:?}", self.view);
        }
        check_receipt(definitions, model, ledger, receipt);
        for (name, view) in &receipt.views {
            let source = definitions.source_of(name);
            assert_eq!(view.source, source.name);
            let (_, counts) = reference::answer(definitions.meanings[name], source, model.below(&source.name, head));
            assert_eq!(view.counts, counts, "the books of {name} in the receipt {receipt}");
        }
        // A derived view is of the source of the one view that it reads.
        let source = definitions.source_of(receipt.views.keys().next().expect("a view is read"));
        let meaning = definitions.meanings[&self.view];
        let (expected, _) = reference::answer(meaning, source, model.below(&source.name, head));
        assert_eq!(rows, &expected, "the rows of {} with the receipt {receipt}", self.view);
        true
    }
}

fn check_receipt(definitions: &Definitions, model: &Model, ledger: &Ledger, receipt: &Receipt) {
    match receipt.manifest {
        None => assert!(receipt.cut.is_zero() && receipt.epoch.is_none(), "no manifest and a cut: {receipt}"),
        Some(number) => {
            // A ghost is seen by who looks before its writer has deleted it; what it says is true of the records below its cut.
            let said = |m: &&Manifest| (receipt.epoch, &receipt.cut) == (Some(m.epoch), &m.cut);
            let pinned = ledger.manifests(number).find(said);
            let pinned = pinned.unwrap_or_else(|| panic!("manifest {number} never said so: {receipt}"));
            for (name, view) in &receipt.views {
                let stored = pinned.views.get(name).is_some_and(|stored| stored.fingerprint == view.fingerprint);
                assert_eq!(view.built, stored, "whether {name} is built: {receipt}");
            }
        }
    }
    assert!(receipt.cut.le(&receipt.head), "the cut is above the head: {receipt}");
    for (name, view) in &receipt.views {
        assert_eq!(view.fingerprint, definitions.fingerprint(name), "the fingerprint of {name}");
    }
    for (name, counts) in &receipt.sources {
        let source = &definitions.catalog.sources[name];
        let expected = reference::source_counts(source, model.below(name, &receipt.head));
        assert_eq!(counts, &expected, "the books of {name} in the receipt {receipt}");
    }
    for view in receipt.views.values().filter(|view| !receipt.sources.contains_key(&view.source)) {
        // They are left out only if no batch run has counted the records below the cut as the table is declared now.
        let source = &definitions.catalog.sources[&view.source];
        let pinned = receipt.manifest.into_iter().flat_map(|number| ledger.manifests(number));
        let counted = pinned.filter_map(|manifest| manifest.sources.get(&source.name));
        let same = counted.filter(|state| state.declaration == declaration(source)).count();
        assert_eq!(same, 0, "the books of {} are missing in the receipt {receipt}", source.name);
    }
}

/// Errors that a question may get while the store fails, files are collected and definitions change.
fn may_happen(error: &ServingError) -> bool {
    match error {
        ServingError::NotKept { .. }
        | ServingError::NotReached { .. }
        | ServingError::OutOfStep { .. }
        | ServingError::NotBuilt(_)
        | ServingError::Batch(BatchError::Store { .. } | BatchError::Gone { .. }) => true,
        // A write of how much is durable was left half done while another process read.
        ServingError::Log(LogError::StaleHead { .. }) => true,
        ServingError::Log(error) => log_may_fail(error),
        _ => false,
    }
}

/// Errors of the log that are nobody's mistake: the disk fails, or retention has deleted what was to be read.
pub fn log_may_fail(error: &LogError) -> bool {
    matches!(error, LogError::Io { .. } | LogError::BelowStart { .. } | LogError::Stopped { .. } | LogError::Closed)
}
