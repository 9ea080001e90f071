//! Deterministic simulation of the whole loop: one seed is one history.
//!
//! The real log, batch layer, speed layer and serving run over a simulated disk and object store, with clock and random numbers
//! passed in ([`machine`], [`bucket`]). Whoever acts runs real, blocking code on a thread of its own, of which one runs at a
//! time and stops at an I/O operation when the history says so ([`stage`]). Beside it stands a model that is a plain list of records
//! ([`model`], [`reference`](mod@reference)); after each step everything is compared with it.
//!
//! ```text
//! WATERSHED_TEST_SEEDS=100000 cargo test --test watershed simulation::   # many
//! WATERSHED_TEST_SEED=17 cargo test --test watershed simulation::       # one again, with its trace if it fails
//! ```

mod acts;
mod asking;
mod begin;
mod bucket;
mod compare;
mod definitions;
mod empty;
mod ledger;
mod machine;
mod model;
mod parity;
mod plan;
mod producers;
mod records;
mod reference;
mod stage;
mod steps;
mod tally;
mod trace;
mod world;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use rand::{SeedableRng, rngs::StdRng};

use self::{plan::Step, tally::Tally, world::World};
use crate::support::seeds;

/// Histories that are run when nobody says how many.
const SEEDS: u64 = 1000;
/// Lines of a failing history's trace that are printed.
const LINES_PRINTED: usize = 200;
/// How often a failing history is run again to make it shorter.
const SHRINKS_MAX: usize = 200;

/// What must have been tried in so many histories.
const ATTACKS: [&str; 10] = [
    "I/O operations that met trouble",
    "acknowledgements that were lost",
    "batch runs that lost a race",
    "changes of definitions",
    "deaths at an operation",
    "kills of the holder",
    "of them, sent again",
    "power cuts",
    "segments' ranges deleted",
    "torn tails set aside",
];

/// How a history went.
struct History {
    trace: Vec<String>,
    tally: Tally,
    failure: Option<Box<dyn Any + Send>>,
}

fn run(steps: &[Step]) -> History {
    let mut world = World::new();
    let mut end = StdRng::seed_from_u64(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for (number, step) in steps.iter().enumerate() {
            world.step(number, *step);
        }
        world.end(&mut end);
    }));
    History { trace: world.trace(), tally: world.tally(), failure: outcome.err() }
}

/// Prints the shortest history found that still fails.
fn explain(steps: Vec<Step>, failed: History) -> Box<dyn Any + Send> {
    let shortest = Mutex::new((steps.clone(), failed));
    // What fails again is a failure, though it may not be the same one.
    plan::shrink(steps, SHRINKS_MAX, |shorter| {
        let again = run(shorter);
        let fails = again.failure.is_some();
        if fails {
            *shortest.lock().expect("one at a time") = (shorter.to_vec(), again);
        }
        fails
    });
    let (steps, history) = shortest.into_inner().expect("one at a time");
    let failure = history.failure.expect("it fails");
    eprintln!("the shortest history that fails has {} steps; the end of its trace:", steps.len());
    for line in &history.trace[history.trace.len().saturating_sub(LINES_PRINTED)..] {
        eprintln!("{line}");
    }
    let message = failure.downcast_ref::<String>().map(String::as_str);
    eprintln!("{}", message.or(failure.downcast_ref::<&str>().copied()).unwrap_or("it panicked"));
    failure
}

#[test]
fn every_history_keeps_every_promise() {
    let tally = Mutex::new(Tally::default());
    seeds::each(SEEDS, |seed| {
        let steps = plan::draw(seed);
        let history = run(&steps);
        tally.lock().expect("one at a time").merge(&history.tally);
        if history.failure.is_some() {
            std::panic::resume_unwind(explain(steps, history));
        }
    });
    let tally = tally.into_inner().expect("one at a time");
    eprintln!("{}", tally.lines());
    if tally.get("histories") >= SEEDS {
        for attack in ATTACKS {
            assert!(tally.get(attack) > 0, "there were no {attack}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut lines = 0;
    for seed in 0..20 {
        let steps = plan::draw(seed);
        let (once, again) = (run(&steps).trace, run(&steps).trace);
        if let Some(at) = (0..once.len().max(again.len())).find(|&at| once.get(at) != again.get(at)) {
            panic!("seed {seed}, line {at}:\n{:?}\n{:?}", once.get(at), again.get(at));
        }
        assert_eq!(trace::digest(&once), trace::digest(&again));
        lines += once.len();
    }
    eprintln!("20 histories, each run twice: the same {lines} lines");
}
