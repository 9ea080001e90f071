//! Writers that race, on a store that fails: in every schedule each manifest number has one winner, nothing is lost and
//! nothing is counted twice.

mod arena;
mod hand;
#[path = "../../../../../tests/support/seeds.rs"]
#[expect(clippy::print_stderr, reason = "seeds are told on standard error")]
mod seeds;

use std::sync::Mutex;

use self::{
    arena::{Arena, Seen},
    hand::Hand,
};
use super::*;
use crate::{BatchError, Retention};

const VIEWS: &str = "
CREATE MATERIALIZED VIEW card_day AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total
FROM TUMBLE(payments, ts, INTERVAL '1 day') WHERE amount > 0 GROUP BY card, window_start;
CREATE MATERIALIZED VIEW kept AS SELECT card, amount, ts FROM payments WHERE amount > 10;
";

/// What a writer was told of one run.
#[derive(Debug)]
enum Told {
    Published(u64),
    NothingToDo,
    Lost(u64),
    Failed,
}

/// Runs of several schedules, added up.
#[derive(Default, Debug)]
struct Tally {
    schedules: u64,
    turns: u64,
    published: u64,
    lost: u64,
    failed: u64,
    /// Winners that came back so late that they could not tell.
    unsure: u64,
    ghosts: u64,
    fates: BTreeMap<String, u64>,
}

fn told(run: Result<Report>) -> Told {
    match run {
        Ok(report) => report.published.map_or(Told::NothingToDo, Told::Published),
        Err(BatchError::LostRace { number, .. }) => Told::Lost(number),
        Err(BatchError::Store { .. } | BatchError::Gone { .. }) => Told::Failed,
        Err(other) => panic!("{other}"),
    }
}

/// What one writer does: a few runs, like a scheduler that starts them again and again, and collections after them.
fn write(project: &Project, hand: &Hand, seed: u64, runs: u64) -> Vec<(WriterId, Told)> {
    hand.arena.begin(hand.writer);
    let store = Store::with_object_store(Arc::new(hand.clone())).unwrap();
    let mut told_so_far = Vec::new();
    for run in 0..runs {
        let draw = seed ^ (hand.writer as u64) << 32 ^ run << 48;
        project.append(&events(1 + draw as usize % 5, draw));
        let writer = project.writer();
        let epoch = project.log.head().map_err(BatchError::from).and_then(|head| store.record_epoch(&head, 0, &writer));
        let cut = match epoch {
            Ok(epoch) => Some(epoch.number),
            Err(BatchError::Store { .. } | BatchError::Gone { .. }) => continue,
            Err(other) => panic!("{other}"),
        };
        let (threads, base) = (Some(1), BatchOptions::new(project.scratch.path()));
        let options = BatchOptions { threads, cut, writer: writer.clone(), ..base };
        told_so_far.push((writer, told(project.run_on(&store, &options))));
        if !draw.is_multiple_of(3) {
            // What is kept must be older than what listings may hide.
            let manifests = if hand.arena.hides() { 4 } else { 1 + draw as usize % 2 };
            let keep = Retention { manifests, minutes: 0 };
            // What it could not delete, the next one does.
            let _ = store.collect_garbage(keep, project.clock.now_micros());
        }
    }
    told_so_far
}

/// Lets `writers` do their runs in an arena: what was seen, and what they were told.
fn fight(arena: &Arc<Arena>, writers: usize, runs: u64, seed: u64) -> (Project, Seen, Vec<(WriterId, Told)>) {
    let project = Project::over(Arc::clone(&arena.objects) as _, &[TABLE, VIEWS].concat());
    project.append(&events(4, seed));
    let (seen, told) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (hand, project) = (Hand { arena: Arc::clone(arena), writer }, &project);
                scope.spawn(move || {
                    let _end = End(&hand.arena);
                    write(project, &hand, seed, runs)
                })
            })
            .collect();
        let seen = arena.give_turns();
        (seen, threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect())
    });
    (project, seen, told)
}

/// Tells the arena of a writer's end, also after a panic.
struct End<'a>(&'a Arena);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.tell();
        }
        self.0.end();
    }
}

/// The schedule of a seed to its end.
fn schedule(seed: u64) -> (Project, Seen, Vec<(WriterId, Told)>) {
    let writers = 2 + seed as usize % 2;
    fight(&Arena::new(seed, writers), writers, 2, seed)
}

fn check(seed: u64, tally: &mut Tally) {
    let (project, seen, told) = schedule(seed);
    assert_eq!(seen.violations, Vec::<String>::new(), "{:#?}", seen.trace);
    let first = |number: &u64| seen.effects.get(number).and_then(|writers| writers.first());
    let mut winners: BTreeMap<u64, Vec<&WriterId>> = BTreeMap::new();
    for (writer, told) in &told {
        match told {
            Told::Published(number) => winners.entry(*number).or_default().push(writer),
            Told::Lost(number) => {
                tally.lost += 1;
                tally.unsure += u64::from(first(number).is_some_and(|first| first == writer.as_str()));
            }
            Told::Failed => tally.failed += 1,
            Told::NothingToDo => {}
        }
    }
    for (number, winners) in &winners {
        assert_eq!(winners.len(), 1, "manifest {number}: {winners:?} were told that they won; {:#?}", seen.trace);
        assert_eq!(
            first(number).map(String::as_str),
            Some(winners[0].as_str()),
            "manifest {number}; {:#?}",
            seen.trace
        );
    }

    // A run with nothing in its way picks up the rest, and every record is counted once.
    project.append(&events(3, seed));
    project.run().unwrap();
    assert_eq!(project.answer(), project.at_once(), "{:#?}", seen.trace);
    project.store.collect_garbage(Retention { manifests: 1, minutes: 0 }, project.clock.now_micros()).unwrap();
    let manifest = project.manifest();
    assert_eq!(project.store.manifest_numbers().unwrap(), [manifest.number], "ghosts are collected; {:#?}", seen.trace);
    let named: BTreeSet<String> = manifest.files().map(|file| file.path.clone()).collect();
    let found = project.objects().into_iter().filter(|path| path.ends_with(".parquet"));
    assert_eq!(found.collect::<BTreeSet<_>>(), named, "{:#?}", seen.trace);

    tally.schedules += 1;
    tally.turns += seen.trace.len() as u64;
    tally.published += winners.len() as u64;
    tally.ghosts += seen.effects.values().map(|writers| writers.len() as u64 - 1).sum::<u64>();
    for (fate, times) in seen.fates {
        *tally.fates.entry(fate).or_default() += times;
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "how many schedules were tried is told on standard error")]
fn each_number_has_one_winner_in_every_schedule() {
    let tally = Mutex::new(Tally::default());
    seeds::each(200, |seed| check(seed, &mut tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner())));
    let tally = tally.into_inner().unwrap();
    eprintln!("{tally:?}");
    assert!(tally.published > 0);
}

#[test]
fn a_recorder_that_sleeps_while_others_cut_and_forget_finds_no_damage() {
    check(5381, &mut Tally::default());
}

#[test]
fn a_schedule_follows_from_its_seed() {
    for seed in [3, 4] {
        assert_eq!(schedule(seed).1.trace, schedule(seed).1.trace);
    }
}

#[test]
fn listings_that_are_behind_do_not_hinder_a_writer() {
    let (project, seen, told) = fight(&Arena::behind(1), 1, 3, 1);
    assert!(seen.violations.is_empty());
    let published: Vec<u64> = told
        .iter()
        .map(|(_, told)| if let Told::Published(number) = told { *number } else { panic!("{told:?}") })
        .collect();
    assert_eq!(published, [1, 2, 3]);
    assert_eq!(project.answer(), project.at_once());
}
