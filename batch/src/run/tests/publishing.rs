//! Manifests: races, definitions that change, what is kept, what is collected.

use super::*;
use crate::{BatchError, Progress, Retention, ViewBuild};

#[test]
fn nothing_new_publishes_nothing() {
    let project = Project::new();
    project.append(&events(50, 1));
    assert_eq!(project.run().unwrap().published, Some(1));
    assert_eq!(project.run().unwrap().published, None);
    project.append(&events(1, 2));
    assert_eq!(project.run().unwrap().published, Some(2));
}

#[test]
fn no_epoch_and_unknown_epochs_are_told() {
    let project = Project::new();
    assert!(matches!(project.run_with(&project.options()), Err(BatchError::NoEpoch)));
    project.append(&events(5, 1));
    project.epoch().unwrap();
    let options = BatchOptions { cut: Some(9), ..project.options() };
    assert!(matches!(project.run_with(&options), Err(BatchError::UnknownEpoch { number: 9 })));
    project.append(&events(5, 2));
    project.run().unwrap();
    // The cut does not move back: what lies below it is done.
    let (before, options) = (project.manifest(), BatchOptions { cut: Some(1), ..project.options() });
    assert_eq!(project.run_with(&options).unwrap().published, None);
    assert_eq!(project.manifest(), before);
}

#[test]
fn of_two_runs_that_race_one_wins_and_the_other_leaves_nothing() {
    let project = Project::new();
    project.append(&events(300, 1));
    project.epoch().unwrap();
    let outcomes: Vec<Result<Report>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (options, project) = (project.options(), &project);
                scope.spawn(move || project.run_with(&options))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(report) if report.published == Some(1))).count();
    assert_eq!(won, 1);
    for outcome in &outcomes {
        // One that came late finds that there is nothing to do.
        assert!(matches!(outcome, Ok(_) | Err(BatchError::LostRace { number: 1, .. })), "{outcome:?}");
    }
    let manifest = project.manifest();
    let named: BTreeSet<String> = manifest.files().map(|file| file.path.clone()).collect();
    let found: BTreeSet<String> = project.objects().into_iter().filter(|path| path.ends_with(".parquet")).collect();
    assert_eq!(found, named);
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn only_partitions_that_records_touch_are_written() {
    let project = Project::with_definitions(&[TABLE, VIEWS].concat());
    let at = |day: u16, card: u8| (card, day * 1440 + 60, 2000, 1);
    project.append(&[at(0, 1), at(1, 1), at(2, 1)]);
    project.run().unwrap();
    let before = project.manifest();
    // A late record for the first day.
    project.append(&[at(0, 1)]);
    let report = project.run().unwrap();
    let view = &report.views["hopping"];
    assert_eq!(view.written.len(), 1, "{view:?}");
    assert_eq!((view.kept, &view.late), (2, &view.written));
    let after = project.manifest();
    let kept = before.views["hopping"].partitions.iter().filter(|(name, _)| !view.written.contains(name));
    for (name, state) in kept {
        assert_eq!(&after.views["hopping"].partitions[name], state);
    }
    // A record that changes nothing in a view (it is filtered out) writes nothing of it.
    project.append(&[(1, 60, -5, 1)]);
    let report = project.run().unwrap();
    assert_eq!(report.views["card_half_hour"].written, Vec::<String>::new());
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn definitions_that_are_new_or_changed_are_built_from_the_start() {
    let mut project = Project::with_definitions(
        &[
            TABLE,
            "CREATE MATERIALIZED VIEW a AS SELECT card, COUNT(*) AS c FROM payments GROUP BY card;
         CREATE MATERIALIZED VIEW b AS SELECT n, COUNT(*) AS c FROM payments GROUP BY n;",
        ]
        .concat(),
    );
    project.append(&events(500, 1));
    project.run().unwrap();
    // `a` changes, `b` goes, `c` comes, and there are no new records.
    project.catalog = catalog(
        &[
            TABLE,
            "CREATE MATERIALIZED VIEW a AS SELECT card, COUNT(*) AS c, SUM(amount) AS s FROM payments GROUP BY card;
             CREATE MATERIALIZED VIEW c AS SELECT n, MAX(score) AS m FROM payments GROUP BY n;",
        ]
        .concat(),
    );
    // Until the run, the old one answers for its own definition only.
    let reader = ViewReader::pin(&project.store).unwrap().expect("a manifest");
    assert!(matches!(reader.state("a", &project.fingerprint("a")), Err(BatchError::OtherDefinition { .. })));
    assert!(matches!(reader.state("c", &project.fingerprint("c")), Err(BatchError::UnknownView { .. })));
    let report = project.run().unwrap();
    assert_eq!(report.published, Some(2));
    assert_eq!((report.views["a"].build, report.views["c"].build), (ViewBuild::Changed, ViewBuild::New));
    assert_eq!(report.dropped, ["b"]);
    assert_eq!(project.answer(), project.at_once());
    // And go on incrementally.
    project.append(&events(100, 2));
    let report = project.run().unwrap();
    assert_eq!(report.views["a"].build, ViewBuild::Incremental);
    assert_eq!(report.records, 100);
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn a_full_run_finds_and_repairs_what_differs() {
    let project = Project::new();
    project.append(&events(400, 1));
    project.run().unwrap();
    let whole = project.answer();
    // A manifest as a faulty run would publish it: a partition short, and one with another's rows.
    let mut wrong = project.manifest();
    let view = wrong.views.get_mut("hopping").expect("the view");
    let first = view.partitions.keys().next().expect("a partition").clone();
    let stolen = view.partitions.remove(&first).expect("a partition");
    let other = view.partitions.keys().next().expect("a partition").clone();
    view.partitions.insert(other.clone(), stolen);
    view.counts.counted -= 1;
    wrong.previous = Some(crate::Previous { number: 1, writer: wrong.writer.clone() });
    wrong.number = 2;
    wrong.writer = project.writer();
    project.store.publish(&wrong).unwrap();

    let full = BatchOptions { full: true, ..project.options() };
    let Err(BatchError::FullDiffers { partitions }) = project.run_with(&full) else { panic!("differs") };
    let expected =
        ["hopping (counts)".to_owned(), format!("hopping/{first}"), format!("hopping/{other}")].into_iter().collect();
    assert_eq!(partitions.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(project.manifest().number, 2);

    let repair = BatchOptions { full: true, repair: true, ..project.options() };
    let report = project.run_with(&repair).unwrap();
    assert_eq!((report.published, report.repaired.len()), (Some(3), 3));
    assert_eq!(project.answer(), whole);
    let report = project.run_with(&BatchOptions { full: true, ..project.options() }).unwrap();
    assert_eq!(report.published, None);
}

#[test]
fn what_a_kept_manifest_names_is_never_collected() {
    let project = Project::new();
    let keep = Retention { manifests: 2, minutes: 10 };
    for round in 0..8 {
        project.append(&events(40, round));
        project.run().unwrap();
        project.clock.advance(240_000_000);
        let collected = project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
        // Four minutes between runs: the last three were the newest within the last ten.
        let newest = project.manifest().number;
        let oldest = newest.saturating_sub(3).max(1);
        assert!(collected.kept.iter().all(|&number| number >= oldest), "{collected:?}");
        assert!(collected.kept.contains(&newest));
        assert_eq!(project.store.manifest_numbers().unwrap(), collected.kept);
        let objects = project.objects();
        for number in collected.kept {
            for file in project.store.manifest(number).unwrap().expect("kept").files() {
                assert!(objects.contains(&file.path), "{}", file.path);
            }
        }
        let epochs = project.store.epoch_numbers().unwrap();
        assert_eq!(epochs.last(), Some(&project.manifest().epoch));
    }
    assert_eq!(project.answer(), project.at_once());
    // An attempt above the newest manifest may still be published.
    let pending = format!("data/{:020}-{}/v/groups/all.parquet", 9, WriterId::from_u64(99));
    project.store.put(&pending, "x".into()).unwrap();
    let over = format!("data/{:020}-{}/v/groups/all.parquet", 8, WriterId::from_u64(99));
    project.store.put(&over, "x".into()).unwrap();
    project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
    let objects = project.objects();
    assert!(objects.contains(&pending) && !objects.contains(&over));
}

#[test]
fn a_writer_that_slept_through_several_numbers_does_not_publish() {
    let project = Project::new();
    project.append(&events(5, 1));
    project.run().unwrap();
    let first = project.manifest();
    for i in 2..5 {
        project.append(&events(5, i));
        project.run().unwrap();
    }
    let keep = Retention { manifests: 1, minutes: 0 };
    project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
    // Number 2 is free again.
    let mut ghost = first.clone();
    (ghost.number, ghost.writer) = (2, project.writer());
    assert!(matches!(project.store.publish(&ghost), Err(BatchError::LostRace { number: 2, .. })));
    assert_eq!(project.store.manifest_numbers().unwrap(), [4]);
}

/// Lets others publish and collect as soon as a run has begun to read.
struct Overtaking(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Progress for Overtaking {
    fn records_planned(&self, _: u64) {
        if let Some(others) = self.0.lock().unwrap().take() {
            others();
        }
    }
}

#[test]
fn a_run_whose_base_was_collected_meanwhile_has_lost_and_finds_no_damage() {
    let project = Arc::new(Project::new());
    project.append(&events(50, 1));
    project.run().unwrap();
    project.append(&events(50, 1));
    project.epoch().unwrap();
    let others = {
        let project = project.clone();
        move || {
            project.run_with(&project.options()).unwrap();
            project.append(&events(50, 1));
            project.run().unwrap();
            let keep = Retention { manifests: 1, minutes: 0 };
            project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
        }
    };
    let progress = Arc::new(Overtaking(std::sync::Mutex::new(Some(Box::new(others)))));
    let options = BatchOptions { progress, ..project.options() };
    let outcome = project.run_with(&options);
    assert!(matches!(outcome, Err(BatchError::LostRace { number: 2, .. })), "{outcome:?}");
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn the_number_of_an_epoch_that_was_forgotten_is_not_given_again() {
    let project = Project::new();
    for i in 1..4 {
        project.append(&events(5, i));
        project.run().unwrap();
    }
    let keep = Retention { manifests: 1, minutes: 0 };
    project.store.collect_garbage(keep, project.clock.now_micros()).unwrap();
    assert!(project.store.epoch(1).unwrap().is_none(), "it is forgotten");
    // What a recorder that slept since then asks after it has created the object.
    assert!(!project.store.is_new(1).unwrap());
    assert!(project.store.is_new(3).unwrap() && project.store.is_new(4).unwrap());
}
