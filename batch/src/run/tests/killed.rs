//! Killed between any two requests to the store, a run leaves the previous answer whole, and the next one succeeds.

use std::sync::atomic::Ordering;

use super::*;
use crate::{BatchError, Retention};

/// A project with a manifest and records above its cut.
fn project() -> Project {
    let project = Project::new();
    project.append(&events(200, 3));
    project.run().unwrap();
    project.append(&events(100, 4));
    project
}

/// Runs until the store dies before its write number `k`, and then again with a store that lives. Whether the run got through.
fn kill_before_write(k: i64, lost_response: bool) -> bool {
    let project = project();
    let before = project.answer();
    project.faults.writes_left.store(k, Ordering::SeqCst);
    if lost_response {
        // The last write that the store takes is done, and its answer is lost.
        project.faults.lost_after.store(k - 1, Ordering::SeqCst);
    }
    let died = project.run();
    project.faults.writes_left.store(-1, Ordering::SeqCst);
    project.faults.lost_after.store(-1, Ordering::SeqCst);

    let published = project.manifest().number;
    match &died {
        Ok(report) => assert_eq!(report.published, Some(published)),
        Err(BatchError::LostRace { .. }) => panic!("nobody else ran"),
        Err(_) if published == 1 => assert_eq!(project.answer(), before, "killed before write {k}"),
        // The answer to the last write got lost: the run does not know that it has published.
        Err(_) => assert!(lost_response),
    }
    // Whatever it was, what the manifest names is there.
    project.answer();

    project.append(&events(10, 5));
    project.run().unwrap();
    assert_eq!(project.answer(), project.at_once(), "killed before write {k}");

    // No orphan is left.
    project.clock.advance(3_600_000_000);
    let keep = Retention { manifests: 1, minutes: 0 };
    project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
    let manifest = project.manifest();
    let named: BTreeSet<String> = manifest.files().map(|file| file.path.clone()).collect();
    let found: BTreeSet<String> = project
        .objects()
        .into_iter()
        .filter(|path| path.starts_with("data/") || path.starts_with("archive/"))
        .collect();
    assert_eq!(found, named, "killed before write {k}");
    assert_eq!(project.answer(), project.at_once());
    died.is_ok()
}

#[test]
fn a_run_that_is_killed_leaves_the_previous_answer() {
    let mut k = 0;
    while !kill_before_write(k, false) {
        k += 1;
    }
    assert!(k > 10, "{k} writes");
}

#[test]
fn a_run_that_is_killed_while_an_answer_is_under_way() {
    let mut k = 1;
    while !kill_before_write(k, true) {
        k += 1;
    }
    assert!(k > 10, "{k} writes");
}

#[test]
fn a_lost_answer_to_the_commit_is_looked_up() {
    let project = project();
    project.epoch().unwrap();
    // All writes' answers are lost, and read back; data files are not read back, so only the manifest's is lost here.
    project.faults.lost_creates.store(1, Ordering::SeqCst);
    let report = project.run_with(&project.options()).unwrap();
    assert_eq!(report.published, Some(2));
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn a_run_that_is_stopped_publishes_nothing_and_leaves_nothing() {
    let project = project();
    let (before, objects) = (project.answer(), project.objects().len());
    project.epoch().unwrap();
    let options = project.options();
    options.stop.store(true, Ordering::SeqCst);
    assert!(matches!(project.run_with(&options), Err(BatchError::Stopped)));
    assert_eq!(project.answer(), before);
    // The epoch is all that is new.
    assert_eq!(project.objects().len(), objects + 1);
}
