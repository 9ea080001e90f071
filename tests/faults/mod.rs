//! Every I/O of a batch run and of the whole loop failed once: each operation on the log's files, the scratch directory and the
//! object store, before it takes effect, in the middle and after it, answered with an error, or never, because the process
//! dies. Whatever was acknowledged stays, answers are right, the error names the place, and the next attempt succeeds.

mod bucket;
mod model;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use watershed_log::simulation::{Answer, Effect, Failure, Fate, Operation, OperationKind};

use bucket::{Request, Trouble};
use world::{Error, Process, World};

type Step = fn(&mut World, &Process) -> Result<(), Error>;

/// Incremental after an earlier run, with the archive and with sorted runs in the scratch directory; retention; in full, from the
/// archive; garbage collection.
const BATCH: &[Step] = &[
    |world, process| world.batch(process, false),
    World::retain,
    World::append,
    |world, process| world.batch(process, true),
    World::collect,
];

/// Append, epoch, batch, query, from nothing on.
const LOOP: &[Step] = &[
    World::append,
    World::ask,
    |world, process| world.batch(process, false),
    World::append,
    World::ask,
    |world, process| world.batch(process, false),
    World::ask,
];

/// A world in which there was a batch run, with records above its cut.
fn after_a_run() -> World {
    let mut world = World::new();
    let process = world.process(None);
    world.append(&process).expect("nothing is in the way");
    world.batch(&process, false).expect("nothing is in the way");
    world.append(&process).expect("nothing is in the way");
    world
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    File { number: u64, fate: Fate, power_cut: bool },
    Object(bucket::Fault),
}

impl Fault {
    fn kills(self) -> bool {
        match self {
            Fault::File { fate, .. } => fate.answer == Answer::Killed,
            Fault::Object(fault) => fault.trouble == Trouble::Killed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Fault::File { power_cut: true, .. } => "file, power cut",
            Fault::File { fate, .. } => match fate.answer {
                Answer::Killed => "file, killed",
                Answer::Failed(Failure::Full) => "file, disk full",
                Answer::Failed(Failure::Permission) => "file, permission lost",
                _ => "file, I/O error",
            },
            Fault::Object(fault) => match fault.trouble {
                Trouble::Reset => "object, connection reset",
                Trouble::Full => "object, store full",
                Trouble::Permission => "object, permission lost",
                Trouble::Killed => "object, killed",
            },
        }
    }
}

/// The error and its causes.
fn told(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|error| format!("{error}; ")).collect()
}

/// What an error must name. Of many objects that are deleted at once, the error names one.
fn place_of((request, path): &(Request, String)) -> String {
    match request {
        Request::Delete => path.split('/').next().unwrap_or_default().to_owned(),
        _ => path.clone(),
    }
}

/// Does a script with a fault in it, and again what the fault has interrupted. Returns whether it surfaced.
fn run(begin: &World, script: &[Step], fault: Fault) -> bool {
    let mut world = begin.fork();
    let mut process = match fault {
        Fault::Object(fault) => world.process(Some(fault)),
        Fault::File { .. } => world.process(None),
    };
    let met = Arc::new(Mutex::new(None::<Operation>));
    if let Fault::File { number, fate, .. } = fault {
        let meets = Arc::clone(&met);
        process.files.set_fates(move |operation| {
            if operation.number != number {
                return Fate::DONE;
            }
            *meets.lock().expect("no panic") = Some(operation.clone());
            fate
        });
    }
    let mut surfaced = false;
    for step in script {
        let outcome = step(&mut world, &process);
        if outcome.is_ok() && process.files.is_running() {
            continue;
        }
        assert!(!surfaced, "{fault:?}: a second failure: {outcome:?}");
        surfaced = true;
        if let Err(error) = &outcome
            && !fault.kills()
        {
            let place = match fault {
                Fault::Object(fault) => place_of(&process.seen.requests()[fault.number as usize]),
                Fault::File { .. } => met.lock().expect("no panic").as_ref().expect("met").path.display().to_string(),
            };
            let told = told(&**error);
            assert!(told.contains(&place), "{fault:?} at {place}, and the error does not say so: {told}");
        }
        process.files.kill();
        if let Fault::File { number, power_cut: true, .. } = fault {
            world.disk.power_cut(number);
        }
        if outcome.is_err() {
            world.check();
            process = world.process(None);
            let again = step(&mut world, &process);
            again.unwrap_or_else(|error| panic!("{fault:?}: the next attempt fails: {error}"));
        } else {
            process = world.process(None);
        }
    }
    drop(process);
    let healthy = world.process(None);
    world.check();
    world.append(&healthy).expect("the log takes more");
    world.batch(&healthy, false).expect("a run succeeds");
    world.batch(&healthy, true).expect("a full run finds no difference");
    world.collect(&healthy).expect("a collection succeeds");
    world.check();
    world.check_no_orphan();
    surfaced
}

/// What a script asks for when nothing is in its way.
fn operations(begin: &World, script: &[Step]) -> (Vec<OperationKind>, Vec<Request>) {
    let mut world = begin.fork();
    let process = world.process(None);
    let files = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&files);
    process.files.set_fates(move |operation| {
        into.lock().expect("no panic").push(operation.kind);
        Fate::DONE
    });
    for step in script {
        step(&mut world, &process).expect("nothing is in the way");
    }
    let files = files.lock().expect("no panic").clone();
    (files, process.seen.requests().into_iter().map(|(request, _)| request).collect())
}

fn faults((files, objects): &(Vec<OperationKind>, Vec<Request>)) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, &request) in (0..).zip(objects) {
        for trouble in [Trouble::Reset, Trouble::Full, Trouble::Permission, Trouble::Killed] {
            let afters: &[bool] =
                if request.is_change() || request == Request::List { &[false, true] } else { &[false] };
            if trouble == Trouble::Full && !request.is_change() {
                continue;
            }
            faults.extend(afters.iter().map(|&after| Fault::Object(bucket::Fault { number, trouble, after })));
        }
    }
    // The log's own operations are failed in every way by its own tests.
    for (number, kind) in (0..).zip(files) {
        let effect = if kind.has_parts() && kind.is_change() { Effect::Part } else { Effect::Nothing };
        let failures = if kind.is_change() { vec![Failure::Io, Failure::Full] } else { vec![Failure::Permission] };
        let failed = |failure| Fault::File { number, fate: Fate::failed(effect, failure), power_cut: false };
        faults.extend(failures.into_iter().map(failed));
        if kind.is_change() {
            faults.push(Fault::File { number, fate: Fate::KILLED_BEFORE, power_cut: number % 2 == 0 });
            faults.push(Fault::File { number, fate: Fate::KILLED_AFTER, power_cut: number % 2 == 1 });
        }
    }
    faults
}

/// Tries every fault, or one in `stride` of them.
fn sweep(name: &str, begin: &World, script: &[Step], stride: usize) {
    let operations = operations(begin, script);
    let faults = faults(&operations);
    let (mut tried, mut surfaced) = (BTreeMap::<&str, u64>::new(), 0u64);
    for &fault in faults.iter().step_by(stride) {
        surfaced += u64::from(run(begin, script, fault));
        *tried.entry(fault.name()).or_default() += 1;
    }
    let total: u64 = tried.values().sum();
    let (files, objects) = (operations.0.len(), operations.1.len());
    eprintln!(
        "{name}: {files} file operations, {objects} requests, {total} faults tried, {surfaced} surfaced: {tried:?}"
    );
    assert!(files > 100 && objects > 20 && surfaced > total / 2, "too little was tried");
}

/// `WATERSHED_TEST_EVERY_FAULT=1` tries them all; otherwise, one in several.
fn stride() -> usize {
    if std::env::var_os("WATERSHED_TEST_EVERY_FAULT").is_some() { 1 } else { 9 }
}

#[test]
fn every_operation_of_batch_runs_and_garbage_collection_fails_once() {
    sweep("batch", &after_a_run(), BATCH, stride());
}

#[test]
fn every_operation_of_the_whole_loop_fails_once() {
    sweep("loop", &World::new(), LOOP, stride());
}
