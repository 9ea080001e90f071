//! A store in a local directory whose writer is killed at any file operation: whatever the next process builds on what it finds, a power failure
//! does not take away what that rests on.

use std::path::Path;

use watershed_log::simulation::{Fate, SimulatedDisk, SimulatedProcess};

use super::*;
use crate::{Retention, StoreDamage, testing::directory::DirectoryObjects};

const ROOT: &str = "/simulated/store";
const VIEWS: &str = "
CREATE MATERIALIZED VIEW cards AS SELECT card, COUNT(*) AS n, SUM(amount) AS total FROM payments GROUP BY card;
";

/// The store as a process sees it.
fn store(process: &Arc<SimulatedProcess>) -> Store {
    let files: Arc<dyn FileSystem> = process.clone();
    let objects = Arc::new(DirectoryObjects::new(Arc::clone(&files), Path::new(ROOT)));
    Store::in_directory(objects, files, ROOT.into()).unwrap()
}

/// A disk with the directory of a project, and nothing in it.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let process = disk.process();
    process.create_dir_all(Path::new("/simulated")).unwrap();
    process.sync_dir(Path::new("/")).unwrap();
    disk
}

/// Appends, records an epoch and runs.
fn run(project: &Project, store: &Store, seed: u64) -> Result<Report> {
    project.append(&events(6, seed));
    run_again(project, store)
}

/// Records an epoch and runs.
fn run_again(project: &Project, store: &Store) -> Result<Report> {
    store.record_epoch(&project.log.head()?, project.clock.now_micros(), &project.writer())?;
    project.run_on(store, &BatchOptions { threads: Some(1), ..project.options() })
}

/// What a process does that finds what a dead one left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// A run over more records: its manifest follows the newest one.
    Run,
    /// A run over the same ones: its manifest may have the dead one's epoch as its cut.
    Again,
    /// A look at what is the newest: by that, segments of the log are deleted.
    Look,
    /// A collection: what the newest one replaces is gone.
    Collect,
}

/// A run that is killed at an operation, the next process, and a power failure after it. Whether the run came to its end before.
fn history(operation: u64, fate: Fate, next: Next) -> bool {
    let (disk, mut project) = (disk(), Project::with_definitions(&[TABLE, VIEWS].concat()));
    run(&project, &store(&disk.process()), 1).unwrap();
    let killed = disk.process();
    killed.set_fates(move |asked| if asked.number == operation { fate } else { Fate::DONE });
    let told = run(&project, &store(&killed), 2);
    let finished = killed.is_running();
    assert_eq!(told.is_ok(), finished, "{told:?}");
    disk.kill_all();

    let heir = store(&disk.process());
    match next {
        Next::Run => drop(run(&project, &heir, 3).unwrap()),
        Next::Again => drop(run_again(&project, &heir).unwrap()),
        Next::Look => {}
        Next::Collect => {
            let keep = Retention { manifests: 1, minutes: 0 };
            drop(heir.collect_garbage(keep, project.clock.now_micros() + 1).unwrap());
        }
    }
    let newest = heir.latest_manifest().unwrap().unwrap().number;
    let what = format!("operation {operation} {fate:?}, then {next:?}");
    disk.power_cut(2 * operation + u64::from(fate == Fate::KILLED_AFTER));
    project.store = store(&disk.process());
    assert_eq!(project.manifest().number, newest, "{what}");
    let check = project.store.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    let damage: Vec<_> = check.findings.iter().filter(|found| found.damage != StoreDamage::Leftover).collect();
    assert!(damage.is_empty(), "{what}: {damage:#?}");
    run(&project, &project.store, 4).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(project.answer(), project.at_once(), "{what}");
    finished
}

#[test]
#[expect(clippy::print_stderr, reason = "what was tried is told on standard error")]
fn what_is_built_on_survives_a_power_failure_wherever_its_writer_was_killed() {
    for next in [Next::Run, Next::Again, Next::Collect, Next::Look] {
        let operations = [Fate::KILLED_BEFORE, Fate::KILLED_AFTER].map(|fate| {
            let mut operation = 0;
            while !history(operation, fate, next) {
                operation += 1;
            }
            operation
        });
        eprintln!("{next:?} after a run that was killed before and after each of {operations:?} file operations");
        assert!(operations[0] > 40, "{operations:?} operations");
    }
}

#[test]
fn what_is_acknowledged_survives_a_power_failure() {
    for seed in 0..8 {
        let (disk, mut project) = (disk(), Project::with_definitions(&[TABLE, VIEWS].concat()));
        let first = store(&disk.process());
        for round in 0..3 {
            run(&project, &first, round).unwrap();
        }
        disk.power_cut(seed);
        project.store = store(&disk.process());
        assert_eq!((project.manifest().number, project.store.manifest_numbers().unwrap()), (3, vec![1, 2, 3]));
        assert_eq!(project.answer(), project.at_once(), "seed {seed}");
    }
}
