//! The world of one history: the machine, the bucket, whoever acts, and the model beside them.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use watershed_batch::Store;
use watershed_log::simulation::SimulatedProcess;

use super::{
    acts::Done,
    asking::{Question, log_may_fail},
    bucket::Bucket,
    definitions::ALL,
    machine::{Holder, Machine},
    model::Model,
    plan::{Kind, Step},
    producers::{self, Producer},
    stage::{Actor, Stage, Trouble},
    tally::Tally,
};

/// When histories begin: 2026-03-29T00:30:00Z.
const BEGIN_MICROS: i64 = 1_774_744_200_000_000;

/// A world.
pub struct World {
    pub(super) stage: Arc<Stage>,
    pub(super) bucket: Bucket,
    pub(super) machine: Machine,
    pub(super) model: Model,
    pub(super) holder: Option<Holder>,
    pub(super) producers: Vec<Producer>,
    /// The project's definitions now.
    pub(super) definitions: usize,
    pub(super) running: Vec<Running>,
    /// The director's way to the object store: for looking.
    pub(super) observer: Store,
    /// Times that log records were deleted, or objects collected.
    pub(super) deletions: u64,
    /// Processes that held the log and died.
    pub(super) deaths: u64,
    pub(super) tally: Tally,
    scratch: TempDir,
}

/// Someone who acts.
pub struct Running {
    pub(super) actor: Actor<Done>,
    pub(super) act: Act,
    /// The process it is in, if it uses files of its own.
    pub(super) process: Option<Arc<SimulatedProcess>>,
    /// Whether it dies with the process that holds the log.
    pub(super) with_holder: bool,
    /// The definitions it was started with.
    pub(super) definitions: usize,
    /// How many commits there were when it began.
    pub(super) commits: usize,
    /// How many deletions.
    pub(super) deletions: u64,
    /// How many processes that held the log had died.
    pub(super) deaths: u64,
}

/// What someone does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A batch run with this writer's number.
    Batch(u64),
    /// A garbage collection.
    Collect,
    /// Recording an epoch.
    Epoch,
    /// Following the newest manifest.
    Follow,
    /// Asking.
    Ask,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stage.close();
    }
}

impl World {
    /// A world in which nothing has happened.
    pub fn new() -> World {
        let stage = Arc::new(Stage::default());
        let bucket = Bucket::new(&stage);
        let machine = Machine::new(&stage, &bucket, BEGIN_MICROS);
        let observer = machine.store().expect("a store");
        World {
            stage,
            bucket,
            machine,
            model: Model::default(),
            holder: None,
            producers: producers::all(),
            definitions: 0,
            running: Vec::new(),
            observer,
            deletions: 0,
            deaths: 0,
            tally: Tally::default(),
            scratch: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The trace so far.
    pub fn trace(&self) -> Vec<String> {
        self.stage.trace.lines()
    }

    /// What happened, in figures.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        let (operations, troubles) = self.stage.operations();
        tally.count("histories");
        tally.add("I/O operations", operations);
        tally.add("I/O operations that met trouble", troubles);
        tally.add("manifests", self.bucket.ledger().commits.len() as u64);
        tally.add("ghosts of manifests", self.bucket.ledger().ghosts_ever.len() as u64);
        tally
    }

    pub(super) fn scratch(&self) -> std::path::PathBuf {
        self.scratch.path().to_owned()
    }

    /// One step, and everything that must hold after it.
    pub fn step(&mut self, number: usize, step: Step) {
        self.stage.trace.note(format_args!("step {number}: {:?}", step.kind));
        self.tally.count("steps");
        let mut rng = StdRng::seed_from_u64(step.seed);
        match step.kind {
            Kind::Append => self.append(&mut rng),
            Kind::Produce => self.produce(&mut rng),
            Kind::Commit => self.commit(&mut rng),
            Kind::Tail => self.tail(&mut rng),
            Kind::Seal => self.seal(&mut rng),
            Kind::Retain => self.retain(&mut rng),
            Kind::Epoch => self.begin_epoch(&mut rng),
            Kind::Batch => self.begin_batch(&mut rng),
            Kind::Collect => self.begin_collect(&mut rng),
            Kind::Follow => self.begin_follow(&mut rng),
            Kind::Ask => self.begin_ask(&mut rng),
            Kind::Read => self.begin_read(&mut rng),
            Kind::GoOn => self.go_on(&mut rng),
            Kind::Kill => self.kill_holder(),
            Kind::KillOther => self.kill_other(&mut rng),
            Kind::CutPower => self.cut_power(&mut rng),
            Kind::Redefine => self.redefine(&mut rng),
            Kind::Clock => self.turn_clock(&mut rng),
            Kind::Arrive => {
                self.bucket.let_one_arrive(|waiting| rng.random_range(0..waiting));
                // It may be a deletion.
                self.deletions += 1;
            }
            Kind::Compare => self.compare(&mut rng),
        }
        self.look();
        self.glance(&mut rng);
    }

    /// What must hold at every moment and is cheap to see: the objects' history, the log against the list, acknowledgements.
    pub(super) fn look(&mut self) {
        let violations = std::mem::take(&mut self.bucket.ledger().violations);
        assert!(violations.is_empty(), "{violations:#?}");
        let sync_failed = self.machine.take_sync_failed();
        if sync_failed {
            self.model.forget_promises_of_the_machine();
        }
        // Someone who asked it something may have met its death.
        if self.holder.as_ref().is_some_and(|holder| !holder.process.is_running()) {
            self.kill_holder();
        }
        let mut holder = self.holder.take();
        if let Some(holder) = &mut holder {
            self.hear(holder);
        }
        // What is heard only now was told before that: a log whose sync failed writes nothing more.
        if sync_failed {
            self.model.forget_promises_of_the_machine();
        }
        if let Some(holder) = holder.as_ref().filter(|holder| !holder.stopped) {
            self.model.observe(&*holder.log);
        }
        self.holder = holder;
        // A log that has stopped may have written how much is durable before it could tell anyone.
        if self.holder.as_ref().is_some_and(|holder| holder.stopped) {
            self.observe_remains();
        }
    }

    /// Producers hear what became of their appends.
    pub(super) fn hear(&mut self, holder: &mut Holder) {
        self.hear_numbered(holder);
        for mut flight in std::mem::take(&mut holder.flights) {
            match flight.look() {
                None => holder.flights.push(flight),
                Some(Ok(places)) => {
                    let partitions = places.iter().map(|(partition, _)| *partition);
                    assert!(partitions.eq(flight.records.iter().map(|(partition, _)| *partition)), "{places:?}");
                    for ((partition, offset), (_, payload)) in places.iter().zip(&flight.records) {
                        self.model.promise(&flight.source, *partition, *offset, payload, flight.lasting);
                    }
                    self.tally.add("records acknowledged", places.len() as u64);
                }
                Some(Err(error)) => {
                    assert!(log_may_fail(&error), "{error}");
                    holder.stopped = true;
                    self.tally.count("appends that failed");
                }
            }
        }
    }

    /// One question to the process that holds the log, whatever stands where.
    fn glance(&mut self, rng: &mut StdRng) {
        let Some(holder) = &self.holder else { return };
        let definitions = &ALL[holder.definitions];
        let question = Question::draw(definitions, &self.bucket.ledger(), &self.model.head(), rng);
        let asked = question.ask(&holder.serving);
        let answered = asked.check(definitions, &self.model, &self.bucket.ledger());
        self.tally.count(if answered { "answers" } else { "questions without an answer" });
    }

    /// How much trouble someone meets: mostly none.
    pub(super) fn trouble(rng: &mut StdRng, operations: u64) -> Trouble {
        match rng.random_range(0..14) {
            0 => Trouble { per_mille: rng.random_range(10..200), ..Trouble::default() },
            1 => Trouble { dies_at: Some(rng.random_range(1..=operations)), ..Trouble::default() },
            // Late writers stand before what would have effect.
            2 => Trouble { sleeps_before: Some("create manifests/"), ..Trouble::default() },
            3 => Trouble { sleeps_before: Some("create "), ..Trouble::default() },
            4 => Trouble { sleeps_before: Some("delete "), ..Trouble::default() },
            5 | 6 => Trouble { strikes: Some("create "), ..Trouble::default() },
            7 => Trouble { strikes: Some("create manifests/"), ..Trouble::default() },
            _ => Trouble::default(),
        }
    }
}
