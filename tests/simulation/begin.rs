//! The steps that others go on with: batch runs, collections, epochs, readers; and how they end.

use std::sync::Arc;

use rand::{Rng, rngs::StdRng};
use watershed_batch::{BatchError, Report, Retention, SpeedParity, WriterId};
use watershed_log::{Clock, LogError, simulation::SimulatedProcess};
use watershed_serving::ServingError;

use super::{
    acts::{self, Batch, Done},
    asking::{Question, log_may_fail},
    definitions::ALL,
    parity::HolderParity,
    stage::Actor,
    world::{Act, Running, World},
};

impl World {
    /// Lets someone begin. Many run to their end at once; others stop at an operation, and may stand there for long.
    fn begin(
        &mut self,
        act: Act,
        process: Option<Arc<SimulatedProcess>>,
        with_holder: bool,
        rng: &mut StdRng,
        does: impl FnOnce() -> Done + Send + 'static,
    ) {
        let trouble = World::trouble(rng, 60);
        let actor = Actor::new(format!("{act:?}"), rng.random(), trouble, does);
        let (commits, deletions) = (self.bucket.ledger().commits.len(), self.deletions);
        let definitions = match (&self.holder, with_holder) {
            (Some(holder), true) => holder.definitions,
            _ => self.definitions,
        };
        let deaths = self.deaths;
        self.running.push(Running { actor, act, process, with_holder, definitions, commits, deletions, deaths });
        let operations = if rng.random() { u64::MAX } else { rng.random_range(0..40) };
        self.advance(self.running.len() - 1, operations);
    }

    pub(super) fn begin_epoch(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let is_one = self.running.iter().any(|running| running.act == Act::Epoch && running.with_holder);
        let Some(holder) = self.holder.as_ref().filter(|_| !is_one) else { return };
        let (log, speed, store) = (Arc::clone(&holder.log), Arc::clone(&holder.speed), holder.store.clone());
        let (clock, writer) = (Arc::clone(&self.machine.clock), holder.writer.clone());
        self.begin(Act::Epoch, None, true, rng, move || acts::epoch(&log, &speed, &store, &clock, &writer));
    }

    pub(super) fn begin_batch(&mut self, rng: &mut StdRng) {
        let cut = match rng.random_ratio(2, 3) {
            true => self.epoch_now(rng).map(|epoch| epoch.number),
            false => None,
        };
        self.ensure_holder(rng);
        let (files, writer) = (self.machine.process(true), rng.random());
        // Most runs find the process that holds the log, and compare.
        let holder = self.holder.as_ref().filter(|_| rng.random_ratio(3, 4));
        let speed = holder.map(|holder| {
            let (process, speed) = (Arc::clone(&holder.process), Arc::clone(&holder.speed));
            Arc::new(HolderParity { process, speed, definitions: holder.definitions }) as Arc<dyn SpeedParity>
        });
        let with_holder = self.holder.is_some() && rng.random_ratio(1, 3);
        let definitions = match &self.holder {
            Some(holder) if with_holder => holder.definitions,
            _ => self.definitions,
        };
        let batch = Batch {
            files: Arc::clone(&files),
            store: self.machine.store().expect("a store"),
            definitions,
            clock: Arc::clone(&self.machine.clock),
            cut,
            full: rng.random_ratio(1, 6),
            archive: rng.random_ratio(7, 8),
            memory_bytes_max: if rng.random_ratio(1, 12) { 1 } else { 1 << 30 },
            scratch: self.scratch(),
            writer: WriterId::from_u64(writer),
            speed,
        };
        self.begin(Act::Batch(writer), Some(files), with_holder, rng, move || Done::Batch(batch.run()));
    }

    pub(super) fn begin_collect(&mut self, rng: &mut StdRng) {
        let minutes = [0, 0, 0, 1, 60][rng.random_range(0..5)];
        let retention = Retention { manifests: rng.random_range(1..4), minutes };
        let (store, now_micros) = (self.machine.store().expect("a store"), self.machine.clock.now_micros());
        self.begin(Act::Collect, None, false, rng, move || acts::collect(&store, retention, now_micros));
    }

    pub(super) fn begin_follow(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let is_one = self.running.iter().any(|running| running.act == Act::Follow && running.with_holder);
        let Some(holder) = self.holder.as_ref().filter(|_| !is_one) else { return };
        let (speed, serving, store) = (Arc::clone(&holder.speed), Arc::clone(&holder.serving), holder.store.clone());
        let followed = Arc::clone(&holder.followed);
        self.begin(Act::Follow, None, true, rng, move || acts::follow(&speed, &serving, &followed, &store));
    }

    pub(super) fn begin_ask(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let Some(holder) = &self.holder else { return };
        let (serving, questions) = (Arc::clone(&holder.serving), self.questions(holder.definitions, rng));
        let ask = move || Done::Asked(questions.into_iter().map(|question| question.ask(&serving)).collect());
        self.begin(Act::Ask, None, true, rng, ask);
    }

    pub(super) fn begin_read(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let (files, store) = (self.machine.process(true), self.machine.store().expect("a store"));
        let (definitions, questions, process) =
            (self.definitions, self.questions(self.definitions, rng), Arc::clone(&files));
        let read = move || acts::read(&files, store, definitions, questions);
        self.begin(Act::Ask, Some(process), false, rng, read);
    }

    fn questions(&self, definitions: usize, rng: &mut StdRng) -> Vec<Question> {
        let (definitions, head) = (&ALL[definitions], self.model.head());
        let ledger = self.bucket.ledger();
        (0..rng.random_range(1..4)).map(|_| Question::draw(definitions, &ledger, &head, rng)).collect()
    }

    pub(super) fn go_on(&mut self, rng: &mut StdRng) {
        if self.running.is_empty() {
            return;
        }
        let operations = if rng.random_ratio(1, 3) { u64::MAX } else { rng.random_range(1..20) };
        let index = rng.random_range(0..self.running.len());
        // Who sleeps, sleeps long: others are to publish and collect meanwhile.
        if !self.running[index].actor.gate.is_asleep() || rng.random_ratio(1, 6) {
            self.advance(index, operations);
        }
    }

    /// Lets someone go on, and sees to how it ended.
    pub(super) fn advance(&mut self, index: usize, operations: u64) {
        let ended = self.running[index].actor.go_on(&self.stage, operations);
        let Some(done) = ended else {
            self.tally.count("times held at an operation");
            return;
        };
        let running = self.running.swap_remove(index);
        if self.holder.as_ref().is_some_and(|holder| !holder.process.is_running()) {
            self.kill_holder();
        }
        if running.actor.gate.is_dead() {
            self.tally.count("deaths at an operation");
            match &running.process {
                Some(process) => process.kill(),
                None if running.with_holder => self.kill_holder(),
                None => {}
            }
            return;
        }
        let healthy = !running.actor.gate.met_trouble();
        self.ended(&running, done, healthy);
    }

    pub(super) fn kill_other(&mut self, rng: &mut StdRng) {
        if !self.running.is_empty() {
            let index = rng.random_range(0..self.running.len());
            let running = self.running.swap_remove(index);
            self.kill(running);
        }
    }

    fn kill(&mut self, running: Running) {
        self.tally.count("deaths at an operation");
        self.stage.trace.note(format_args!("{:?} dies", running.act));
        if let Some(process) = &running.process {
            process.kill();
        }
        let with_holder = running.with_holder;
        running.actor.kill(&self.stage);
        if with_holder {
            self.kill_holder();
        }
    }

    pub(super) fn kill_those(&mut self, which: impl Fn(&Running) -> bool) {
        while let Some(index) = self.running.iter().position(&which) {
            let running = self.running.swap_remove(index);
            self.kill(running);
        }
    }

    /// Nobody meets trouble any more, and all go on to their ends.
    pub(super) fn end_all(&mut self) {
        while !self.running.is_empty() {
            self.running[0].actor.relieve();
            self.advance(0, u64::MAX);
        }
    }

    fn ended(&mut self, running: &Running, done: Done, healthy: bool) {
        match done {
            Done::Batch(outcome) => self.batch_ended(running, outcome, healthy),
            Done::Collected(outcome) => {
                self.deletions += 1;
                self.tally.count("collections");
                if let Err(error) = outcome {
                    assert!(!healthy, "a collection failed: {error}");
                }
            }
            Done::Epoch(outcome) => match outcome {
                Ok(epoch) => {
                    self.tally.count("epochs");
                    let ledger = self.bucket.ledger();
                    let known = &ledger.epochs[&epoch.number];
                    assert_eq!(&epoch, known, "an epoch that is not the one that is recorded");
                }
                Err(error) => assert!(!healthy, "no epoch was recorded: {error}"),
            },
            Done::Followed(outcome) => {
                if let Err(error) = outcome {
                    assert!(!healthy, "the newest manifest is not followed: {error}");
                }
            }
            Done::Asked(all) => {
                for asked in all {
                    let ledger = self.bucket.ledger();
                    let answered = asked.check(&ALL[running.definitions], &self.model, &ledger);
                    drop(ledger);
                    self.stage.trace.note(format_args!("asked for {}: {answered}", asked.view));
                    self.tally.count(if answered { "answers" } else { "questions without an answer" });
                }
            }
            Done::NotBegun(error) => {
                let torn =
                    matches!(error, ServingError::Log(LogError::StaleHead { .. })) && self.heads_may_be_torn(running);
                let disturbed = !healthy || self.deletions != running.deletions;
                assert!(disturbed || torn, "a reader cannot begin: {error}");
            }
        }
    }

    fn batch_ended(&mut self, running: &Running, outcome: Result<Report, BatchError>, healthy: bool) {
        let Act::Batch(writer) = running.act else { return };
        let writer = WriterId::from_u64(writer);
        match &outcome {
            Ok(report) => self.stage.trace.note(format_args!("batch: {:?}", report.published)),
            Err(error) => self.stage.trace.note(format_args!("batch: {error}")),
        }
        let commits = self.bucket.ledger().commits.len();
        match outcome {
            Ok(report) => match report.published {
                Some(number) => {
                    self.tally.count("batch runs that published");
                    let by = self.bucket.ledger().commits.get(&number).map(|commit| commit.writer.clone());
                    assert_eq!(by, Some(writer), "who published manifest {number}");
                    self.check_stored(number, running.definitions);
                }
                None => self.tally.count("batch runs with nothing to publish"),
            },
            Err(error) => {
                let alone = commits == running.commits && self.deletions == running.deletions;
                let nothing = matches!(error, BatchError::NoEpoch) && self.bucket.ledger().epochs.is_empty();
                let torn =
                    matches!(error, BatchError::Log(LogError::StaleHead { .. })) && self.heads_may_be_torn(running);
                assert!(!healthy || !alone || nothing || torn, "a batch run failed: {error}");
                if !torn {
                    self.batch_failed(&error, &writer);
                }
            }
        }
    }

    /// Whether a write of how much is durable may have been left half done: a log whose disk failed has stopped, or its process has
    /// died. The next one that writes makes such a file anew.
    fn heads_may_be_torn(&self, running: &Running) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.stopped) || running.deaths != self.deaths
    }

    /// A batch run may fail because the store or the disk does, or because others were first; nothing else.
    fn batch_failed(&mut self, error: &BatchError, writer: &WriterId) {
        match error {
            BatchError::LostRace { number, winner } => {
                self.tally.count("batch runs that lost a race");
                let ledger = self.bucket.ledger();
                let by = ledger.commits.get(number).map(|commit| &commit.writer);
                // Its own may have won, long ago: if the manifest made from it has been collected since, it cannot know.
                let overtaken = ledger.commits.contains_key(&(number + 1)) && winner == "later manifests";
                assert!(by.is_some_and(|by| by != writer) || overtaken, "manifest {number} was lost to {by:?}");
                let ghost = ledger.ghosts.get(number).is_some_and(|ghost| &ghost.writer == writer);
                assert!(!ghost, "manifest {number} was lost, and a ghost of it is left");
            }
            BatchError::Store { .. }
            | BatchError::Gone { .. }
            | BatchError::NoEpoch
            | BatchError::UnknownEpoch { .. }
            | BatchError::MovedBack { .. }
            | BatchError::Hole { .. } => self.tally.count("batch runs that failed"),
            BatchError::Log(error) if log_may_fail(error) => self.tally.count("batch runs that failed"),
            error => panic!("a batch run failed: {error}"),
        }
    }
}
