//! The steps that go on at once: those of the process that holds the log, of the machine, and of its operator.

use rand::{Rng, rngs::StdRng, seq::IteratorRandom};
use watershed_batch::Epoch;
use watershed_log::{Append, Durability, EventLog};

use super::{
    acts::{Done, epoch},
    definitions::ALL,
    machine::{Flight, Holder, Machine},
    records,
    stage::Trouble,
    world::World,
};

const SECOND: i64 = 1_000_000;

impl World {
    /// There is a process that holds the log. It may fail or die while it begins, and begins again.
    pub(super) fn ensure_holder(&mut self, rng: &mut StdRng) {
        for attempt in 0.. {
            if self.holder.is_some() {
                return;
            }
            let trouble = if attempt < 2 { World::trouble(rng, 60) } else { Trouble::default() };
            let (started, gate) = self.machine.start(self.definitions, rng.random(), trouble);
            if self.machine.take_sync_failed() {
                self.model.forget_promises_of_the_machine();
            }
            match started {
                Ok(holder) if gate.is_dead() => {
                    holder.process.kill();
                    self.observe_remains();
                }
                Ok(holder) => {
                    self.tally.count("starts");
                    self.tally.add("torn tails set aside", holder.log.recovery().torn.len() as u64);
                    self.model.observe_anew(&*holder.log);
                    self.holder = Some(holder);
                }
                Err(error) => {
                    assert!(gate.is_dead() || gate.met_trouble(), "the log does not open: {error}");
                    self.tally.count("starts that failed");
                    self.observe_remains();
                }
            }
        }
    }

    /// Does something in the process that holds the log. If it dies of it, that is seen to; `None` then.
    pub(super) fn in_holder<T>(
        &mut self,
        name: &str,
        rng: &mut StdRng,
        trouble: Trouble,
        act: impl FnOnce(&mut Holder) -> T,
    ) -> Option<(T, bool)> {
        self.ensure_holder(rng);
        let holder = self.holder.as_mut()?;
        let (outcome, gate) = self.stage.directly(name.to_owned(), rng.random(), trouble, || act(holder));
        if gate.is_dead() {
            self.kill_holder();
            return None;
        }
        Some((outcome, gate.met_trouble()))
    }

    pub(super) fn append(&mut self, rng: &mut StdRng) {
        if self.holder.as_ref().is_some_and(|holder| holder.stopped) && rng.random() {
            self.kill_holder();
        }
        for _ in 0..rng.random_range(1..4) {
            self.append_call(rng);
        }
        if rng.random() {
            self.commit(rng);
        }
    }

    pub(super) fn append_call(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let Some(holder) = &mut self.holder else { return };
        let definitions = &ALL[holder.definitions];
        let source = definitions.decoders.keys().choose(rng).cloned().unwrap_or_default();
        let now_micros = watershed_log::Clock::now_micros(&*self.machine.clock);
        let lasting = rng.random_ratio(3, 4);
        let (mut appends, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..7) {
            let (payload, content) = records::draw(&source, self.model.sent(), now_micros, rng);
            let (partition, key) = definitions.decoders[&source].partition_of(&payload);
            self.model.send(&source, partition, key.clone(), &payload, content);
            sent.push((partition, payload.clone()));
            let append = Append::new(partition, payload);
            appends.push(match key {
                Some(key) => append.with_key(key),
                None => append,
            });
        }
        self.tally.add("records sent", sent.len() as u64);
        let durability = if lasting { Durability::Fsync } else { Durability::Os };
        let future = holder.log.submit(&source, appends, Some(durability));
        holder.flights.push(Flight { source, records: sent, lasting, future });
    }

    pub(super) fn commit(&mut self, rng: &mut StdRng) {
        let (rounds, trouble) = (rng.random_range(1..4), World::trouble(rng, 12));
        let stepped = self.in_holder("log", rng, trouble, |holder| {
            for _ in 0..rounds {
                holder.log.step();
            }
        });
        // A log whose disk fails stops, also when everyone has been answered already and nobody is left to be told.
        if let Some(((), true)) = stepped {
            self.note_stopped();
        }
    }

    pub(super) fn tail(&mut self, rng: &mut StdRng) {
        let (steps, trouble) = (rng.random_range(1..5), World::trouble(rng, 20));
        let tailed = self
            .in_holder("speed", rng, trouble, |holder| (0..steps).try_for_each(|_| holder.speed.step().map(|_| ())));
        // A process whose speed layer fails ends.
        if let Some((Err(error), met_trouble)) = tailed {
            assert!(met_trouble, "the speed layer failed: {error}");
            self.kill_holder();
        }
    }

    pub(super) fn seal(&mut self, rng: &mut StdRng) {
        let trouble = World::trouble(rng, 12);
        let sealed = self.in_holder("seal", rng, trouble, |holder| holder.log.seal("pays").is_err());
        if let Some((true, _)) = sealed {
            self.note_stopped();
        }
    }

    fn note_stopped(&mut self) {
        if let Some(holder) = &mut self.holder {
            holder.stopped = true;
        }
    }

    /// As a running process does after a batch run: what the newest manifest's archive holds, below its cut, and is old enough.
    pub(super) fn retain(&mut self, rng: &mut StdRng) {
        let (seconds, trouble) = (*[0, 0, 60].iter().choose(rng).unwrap_or(&0), World::trouble(rng, 20));
        let before_micros = watershed_log::Clock::now_micros(&*self.machine.clock) - seconds * SECOND;
        let retained = self.in_holder("retain", rng, trouble, |holder| {
            let Some(manifest) = holder.store.latest_manifest().ok()? else { return Some(0) };
            let below = manifest.log_needless_below(holder.speed.snapshot().cut());
            let retained = holder.log.retain(&below, before_micros);
            // A segment that could not be sealed or begun stops the log.
            holder.stopped |= retained.is_err();
            retained.ok().map(|deleted| deleted.len())
        });
        self.deletions += 1;
        match retained {
            Some((None, met_trouble)) => {
                let stopped = self.holder.as_ref().is_some_and(|holder| holder.stopped);
                assert!(met_trouble || stopped, "retention failed");
            }
            Some((Some(deleted), _)) => self.tally.add("segments' ranges deleted", deleted as u64),
            None => {}
        }
    }

    /// An epoch, recorded at once and well.
    pub(super) fn epoch_now(&mut self, rng: &mut StdRng) -> Option<Epoch> {
        let clock = std::sync::Arc::clone(&self.machine.clock);
        let recorded = self.in_holder("epoch", rng, Trouble::default(), |holder| {
            epoch(&holder.log, &holder.speed, &holder.store, &clock, &holder.writer)
        });
        match recorded {
            Some((Done::Epoch(Ok(epoch)), _)) => Some(epoch),
            Some((Done::Epoch(Err(error)), _)) => panic!("no epoch: {error}"),
            _ => None,
        }
    }

    /// The process that holds the log dies, and those of its threads that stand at an operation.
    pub(super) fn kill_holder(&mut self) {
        let Some(mut holder) = self.holder.take() else { return };
        // What it has answered before it died, counts.
        self.hear(&mut holder);
        self.lose_answers(&holder);
        self.tally.count("kills of the holder");
        self.deaths += 1;
        self.stage.trace.note("the holder dies");
        holder.process.kill();
        self.kill_those(|running| running.with_holder);
        drop(holder);
        self.observe_remains();
    }

    /// A process that died, or whose log has stopped, may have said that more is durable than it has told anyone.
    pub(super) fn observe_remains(&mut self) {
        // Its own readers go by what it has in memory, also where a file was left half written.
        if let Some(holder) = &self.holder {
            self.model.observe_remains(&*holder.log);
        }
        if let Ok(log) = Machine::read_log(&self.machine.process(false)) {
            self.model.observe_remains(&log);
        }
    }

    pub(super) fn cut_power(&mut self, rng: &mut StdRng) {
        self.tally.count("power cuts");
        self.kill_holder();
        self.kill_those(|running| running.process.is_some());
        self.machine.cut_power(rng.random());
        self.model.forget_promises_of_the_machine();
    }

    /// Other definitions: the process that holds the log goes on with the old ones, or ends, well or not, and will begin with
    /// the new ones.
    pub(super) fn redefine(&mut self, rng: &mut StdRng) {
        self.tally.count("changes of definitions");
        self.definitions = rng.random_range(0..ALL.len());
        if rng.random_ratio(1, 3) {
            return;
        }
        if self.holder.is_some() && rng.random() {
            let closed = self.in_holder("close", rng, Trouble::default(), |holder| holder.log.close());
            if let Some((Err(error), _)) = closed {
                let stopped = self.holder.as_ref().is_some_and(|holder| holder.stopped);
                assert!(stopped, "the log does not close: {error}");
            }
            self.look();
        }
        self.kill_holder();
    }

    pub(super) fn turn_clock(&mut self, rng: &mut StdRng) {
        let micros = match rng.random_range(0..8) {
            0 => -rng.random_range(0..3600 * SECOND),
            1 => rng.random_range(0..7200 * SECOND),
            2 => 1,
            _ => rng.random_range(0..120 * SECOND),
        };
        self.machine.clock.advance(micros);
        if rng.random_ratio(1, 4) {
            self.machine.forget_pages(rng.random());
        }
    }
}
