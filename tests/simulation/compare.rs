//! All that can be asked, of batch, speed and both; and how a history ends.

use std::{collections::BTreeSet, sync::Arc};

use rand::rngs::StdRng;
use watershed_batch::Retention;
use watershed_log::{Clock, EventLog, FileLog};
use watershed_pipelines::registry::Registry;
use watershed_serving::{FixedSpeed, Serving, ServingError};
use watershed_speed::{Built, SpeedOptions, SpeedSnapshot, replay};

use super::{
    acts::{self, Done},
    asking::{Asked, Question},
    definitions::ALL,
    machine::Holder,
    stage::Trouble,
    world::World,
};

impl World {
    /// Checks an answer that there must be.
    fn must_answer(&mut self, asked: &Asked, definitions: usize, unless_not_built: bool) {
        let answered = asked.check(&ALL[definitions], &self.model, &self.bucket.ledger());
        let excused = unless_not_built && matches!(asked.outcome, Err(ServingError::NotBuilt(_)));
        if let (Err(error), false) = (&asked.outcome, excused) {
            panic!("{} has no answer ({:?}): {error}", asked.view, asked.options);
        }
        self.tally.count(if answered { "answers compared" } else { "views not built" });
    }

    /// The answers of a manifest that was just published are those of the records below its cut.
    pub(super) fn check_stored(&mut self, number: u64, definitions: usize) {
        let Some(holder) = self.holder.as_ref().filter(|holder| holder.definitions == definitions) else { return };
        let (serving, epoch) = (Arc::clone(&holder.serving), {
            let ledger = self.bucket.ledger();
            if !ledger.kept.contains(&number) || ledger.commits.len() as u64 != number {
                return;
            }
            ledger.commits[&number].epoch
        });
        for view in ALL[definitions].meanings.keys() {
            let asked = Question::as_of(view, epoch).ask(&serving);
            // The speed layer may still be building the view, if it has not heard of this manifest.
            self.must_answer(&asked, definitions, true);
        }
    }

    /// Batch, speed and merged, at the newest state, without trouble.
    pub(super) fn compare(&mut self, rng: &mut StdRng) {
        let followed = self.in_holder("follow", rng, Trouble::default(), |holder| {
            Holder::follow(&holder.speed, &holder.serving, &holder.followed, &holder.store)?;
            while holder.speed.step()? {}
            Ok::<(), super::machine::StartError>(())
        });
        if let Some((Err(error), _)) = followed {
            panic!("the newest manifest is not followed: {error}");
        }
        self.look();
        let Some(holder) = &self.holder else { return };
        let (serving, log, definitions) = (Arc::clone(&holder.serving), Arc::clone(&holder.log), holder.definitions);
        let whole = log.start().expect("the log is there").is_zero();
        for view in ALL[definitions].meanings.keys() {
            self.must_answer(&Question::now(view).ask(&serving), definitions, !whole);
        }
        if whole {
            let scratch = World::from_scratch(&log, definitions);
            for view in ALL[definitions].meanings.keys() {
                self.must_answer(&Question::now(view).ask(&scratch), definitions, false);
            }
        }
        let newest = self.bucket.ledger().newest().map(|manifest| (manifest.number, manifest.epoch));
        if let Some((_, epoch)) = newest {
            for view in ALL[definitions].meanings.keys() {
                self.must_answer(&Question::as_of(view, epoch).ask(&serving), definitions, !whole);
            }
        }
    }

    /// The log alone, as if no batch had ever run.
    fn from_scratch(log: &Arc<FileLog>, definitions: usize) -> Serving {
        let (catalog, registry) = (Arc::clone(&ALL[definitions].catalog), Arc::new(Registry::new()));
        let as_dyn = || Arc::clone(log) as Arc<dyn EventLog>;
        let options = SpeedOptions { step_bytes_max: 700, ..SpeedOptions::default() };
        let live: Arc<SpeedSnapshot> =
            replay(Arc::clone(&catalog), &registry, as_dyn(), options, &Built::default(), None).expect("it replays");
        let nothing = Arc::new(super::empty::NoBatch);
        Serving::new(catalog, registry, nothing, Arc::new(FixedSpeed(live))).expect("it serves")
    }

    /// The history's end: trouble ceases, everyone comes to their end, and then everything must be right.
    pub fn end(&mut self, rng: &mut StdRng) {
        self.stage.trace.note("the end");
        self.end_all();
        self.look();
        if self.holder.as_ref().is_some_and(|holder| holder.stopped) {
            self.kill_holder();
        }
        self.settle(rng);
        self.send_all_again(rng);
        self.compare(rng);
        // A fresh process finds the same.
        self.kill_holder();
        self.settle(rng);
        self.compare(rng);
        self.run_batch(rng, true);
        self.compare(rng);
        self.no_garbage(rng);
    }

    /// New records, all of them durable.
    fn settle(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        // Records that the operating system has only are synced after a while.
        self.machine.clock.advance(1_000_000);
        self.in_holder("settle", rng, Trouble::default(), |holder| while holder.log.step() {});
        self.look();
        let left = self.holder.as_ref().map_or(0, |holder| holder.flights.len() + holder.numbered.len());
        assert_eq!(left, 0, "appends are never answered");
    }

    /// A batch run up to now that must succeed.
    fn run_batch(&mut self, rng: &mut StdRng, full: bool) {
        let epoch = self.epoch_now(rng).expect("an epoch");
        let holder = self.holder.as_ref().expect("a holder");
        let definitions = holder.definitions;
        let batch = acts::Batch {
            files: self.machine.process(false),
            store: self.observer.clone(),
            definitions,
            clock: Arc::clone(&self.machine.clock),
            cut: Some(epoch.number),
            full,
            archive: true,
            memory_bytes_max: 1 << 30,
            scratch: self.scratch(),
            writer: watershed_batch::WriterId::from_u64(rand::Rng::random(rng)),
            speed: None,
        };
        let report = batch.run().unwrap_or_else(|error| panic!("the last batch run failed: {error}"));
        let newest = self.bucket.ledger().newest().map_or(0, |manifest| manifest.number);
        assert!(report.published.is_none_or(|number| number == newest), "{report:?}");
        self.check_stored(newest, definitions);
        self.look();
    }

    /// Once all have ended, nothing is left that no manifest names.
    fn no_garbage(&mut self, rng: &mut StdRng) {
        // Attempts at the next number become garbage once it is published.
        self.append_call(rng);
        self.settle(rng);
        self.run_batch(rng, false);
        let keep = Retention { manifests: 1, minutes: 0 };
        // Later than any manifest, however far the clock has been set back since.
        let later_micros = self.machine.clock.now_micros() + 30 * 86_400_000_000;
        match acts::collect(&self.observer, keep, later_micros) {
            Done::Collected(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
        self.look();
        let newest = self.bucket.ledger().newest().cloned().expect("a manifest");
        let named: BTreeSet<String> = newest.files().map(|file| file.path.clone()).collect();
        let is_data = |path: &String| path.starts_with("data/") || path.starts_with("archive/");
        let found: BTreeSet<String> = self.bucket.paths().into_iter().filter(is_data).collect();
        assert_eq!(found, named, "what is left after a collection");
        let kept: Vec<u64> = self.observer.manifest_numbers().expect("they can be listed");
        assert_eq!(kept, [newest.number], "manifests that are left after a collection");
    }
}
