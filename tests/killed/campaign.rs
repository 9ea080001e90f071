//! Killing: which process, when, and in which phase it was.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::ChildStdin,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{Rng, rngs::StdRng};

use super::{
    ledger::{self, Producer},
    left_behind, payments,
};
use crate::support::{
    command::{Running, Workplace},
    wait,
};

/// Lines that a producer sends in one process at most.
const LINES_MAX: u64 = 1_500;

/// A project, its producers, and the kills so far.
pub struct Campaign {
    pub random: StdRng,
    place: Workplace,
    producers: Vec<Producer>,
    /// By command and what it was doing.
    phases: BTreeMap<(&'static str, &'static str), u64>,
    ended_before: u64,
    checks: u64,
    torn: usize,
    usual_batch: Duration,
}

/// A producer's process under way.
struct Sending {
    producer: usize,
    first: u64,
    end: u64,
    process: Running,
    feeder: JoinHandle<ChildStdin>,
    acknowledged: u64,
}

impl Campaign {
    pub fn new(random: StdRng) -> Campaign {
        let place = Workplace::with_definitions(&[("payments.sql", payments::DEFINITIONS)]);
        place.configure(
            "[log]\nsegment_bytes = \"64 KiB\"\n\n[epochs]\nevery = \"100 ms\"\n\n\
             [batch]\nschedule = \"* * * * *\"\nkeep_manifests = 1\nkeep_minutes = 0\n",
        );
        let producers = (0..4).map(|number| Producer::new(number, number < 3)).collect();
        let (phases, usual_batch) = (BTreeMap::new(), Duration::from_millis(500));
        Campaign { random, place, producers, phases, ended_before: 0, checks: 0, torn: 0, usual_batch }
    }

    pub fn kills(&self) -> u64 {
        self.phases.values().sum()
    }

    fn killed(&mut self, command: &'static str, phase: &'static str) {
        *self.phases.entry((command, phase)).or_default() += 1;
    }

    /// Lets a random part of `most` go by: the moment of a kill.
    fn a_moment(&mut self, most: Duration) {
        let until = Instant::now() + most.mul_f64(self.random.random());
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
    }

    /// Starts a producer's process, which is sent lines in small pieces and then waits for more.
    fn send(&mut self) -> Sending {
        let producer = self.random.random_range(0..self.producers.len());
        let first = self.producers[producer].begin(&mut self.random);
        let end = first + self.random.random_range(1..=LINES_MAX);
        let mut process = self.place.start(self.producers[producer].arguments(first));
        let mut input = process.take_input();
        let lines = self.producers[producer].lines(first, end);
        let piece_lines = self.random.random_range(1..=300);
        let feeder = thread::spawn(move || {
            let lines: Vec<&str> = lines.split_inclusive('\n').collect();
            for piece in lines.chunks(piece_lines) {
                // A process that has been killed takes no more.
                if input.write_all(piece.concat().as_bytes()).and_then(|()| input.flush()).is_err() {
                    break;
                }
            }
            input
        });
        Sending { producer, first, end, process, feeder, acknowledged: 0 }
    }

    /// Waits until some records are acknowledged, or not at all.
    fn wait_for_some(&mut self, sending: &mut Sending) {
        let share = self.random.random_range(-0.5..1.0_f64).max(0.0);
        let enough = ((sending.end - sending.first) as f64 * share) as u64;
        while sending.acknowledged < enough {
            let Some(line) = sending.process.line() else { return };
            sending.acknowledged = sending.acknowledged.max(acknowledged_by(&line));
        }
    }

    /// Kills a producer's process and takes note of what it was told. Returns what it was doing.
    fn kill_sending(&mut self, sending: Sending) -> Option<&'static str> {
        let Sending { producer, first, end, mut process, feeder, mut acknowledged } = sending;
        let was_running = process.is_running();
        let rest = process.kill();
        // A line without its end was not received.
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            acknowledged = acknowledged.max(acknowledged_by(line));
        }
        drop(feeder.join().expect("the feeder ends with the pipe"));
        self.producers[producer].note(first, end, acknowledged);
        was_running.then_some(match acknowledged {
            0 => "before its first acknowledgement",
            _ if first + acknowledged < end => "between acknowledgements",
            _ => "all acknowledged, waiting for more",
        })
    }

    /// Kills an `append` that holds the log itself.
    pub fn kill_append(&mut self) {
        let mut sending = self.send();
        self.wait_for_some(&mut sending);
        self.a_moment(Duration::from_millis(if sending.acknowledged == 0 { 200 } else { 20 }));
        match self.kill_sending(sending) {
            Some(phase) => self.killed("append", phase),
            None => panic!("append ended by itself"),
        }
    }

    /// Kills an `up`: as it starts, or while it appends for a producer, now and then with a batch run beside it.
    pub fn kill_up(&mut self) {
        let mut up = self.place.start(["up"]);
        if self.random.random_bool(0.3) {
            self.a_moment(Duration::from_millis(300));
            assert!(up.is_running(), "{}", up.errors());
            drop(up.kill());
            self.killed("up", "starting");
            return;
        }
        wait::until("up to answer", || {
            assert!(up.is_running(), "{}", up.errors());
            self.place.run(["status", "--format", "json"]).json()["pid"].as_u64()
        });
        let mut sending = self.send();
        self.wait_for_some(&mut sending);
        let batch = self.random.random_bool(0.4).then(|| self.place.start(["batch"]));
        let most = if batch.is_some() { self.usual_batch.mul_f64(1.2) } else { Duration::from_millis(30) };
        self.a_moment(most);
        let before = attempts(&self.place.file("store"));
        drop(up.kill());
        self.killed(
            "up",
            if batch.is_some() { "appending for another, a batch run beside it" } else { "appending for another" },
        );
        if let Some(batch) = batch {
            self.kill_running_batch(batch, &before);
        }
        // The producer sees that its records are not acknowledged, or is killed before.
        if let Some(phase) = self.kill_sending(sending) {
            self.killed("append through up", phase);
        }
    }

    /// Kills a batch run.
    pub fn kill_batch(&mut self) {
        if self.random.random_bool(0.2) {
            // Not killed: how long it takes.
            let begun = Instant::now();
            self.place.run(["batch"]).ok();
            self.usual_batch = begun.elapsed();
        }
        let before = attempts(&self.place.file("store"));
        let arguments: &[&str] = if self.random.random_bool(0.2) { &["batch", "--full"] } else { &["batch"] };
        let batch = self.place.start(arguments);
        self.a_moment(self.usual_batch.mul_f64(1.1));
        self.kill_running_batch(batch, &before);
    }

    fn kill_running_batch(&mut self, mut batch: Running, before: &Attempts) {
        let was_running = batch.is_running();
        drop(batch.kill());
        if !was_running {
            self.ended_before += 1;
            return;
        }
        let after = attempts(&self.place.file("store"));
        let phase = if after.manifests > before.manifests {
            "its manifest published"
        } else if after.files > before.files {
            "writing files"
        } else if after.epochs > before.epochs {
            "an epoch recorded"
        } else {
            "before its first object"
        };
        self.killed("batch", phase);
    }

    /// Producers send all again; then log, answers and files must be what they should.
    pub fn check(&mut self) {
        for producer in &mut self.producers {
            producer.send_all(&self.place);
            // Something new, so that the batch run below has something to publish.
            producer.send_one(&self.place);
        }
        let ids = ledger::check(&self.place, &self.producers);
        let expected = payments::expected(ids);
        assert_eq!(payments::answered(&self.place), expected);
        self.place.run(["verify"]).ok();
        self.place.run(["batch"]).ok();
        self.place.run(["gc"]).ok();
        assert_eq!(payments::answered(&self.place), expected, "after a batch run");
        self.torn = left_behind::check(&self.place);
        self.checks += 1;
    }

    pub fn print(&self) {
        let acknowledged: u64 = self.producers.iter().map(Producer::acknowledged_records).sum();
        let sent: u64 = self.producers.iter().map(|producer| producer.sent).sum();
        eprintln!(
            "{} kills, {} more had ended by themselves; {acknowledged} of {sent} records acknowledged; {} torn tails; checked {} times",
            self.kills(),
            self.ended_before,
            self.torn,
            self.checks
        );
        for ((command, phase), kills) in &self.phases {
            eprintln!("  {kills:5} {command}: {phase}");
        }
    }
}

/// How many records an acknowledgement says are in the log by now: the first ones of the input.
fn acknowledged_by(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    value["acknowledged"].as_u64().expect("an acknowledgement has a number of records")
}

/// What there is in a store, by number: never deleted while this test kills batch runs.
struct Attempts {
    epochs: Option<String>,
    manifests: Option<String>,
    files: usize,
}

fn attempts(store: &Path) -> Attempts {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(store.join(folder)).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let newest = |folder| names(folder).into_iter().filter(|name| name.ends_with(".json")).max();
    Attempts { epochs: newest("epochs"), manifests: newest("manifests"), files: names("data").len() }
}
