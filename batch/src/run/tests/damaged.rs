//! Invariant: damage is detected, never served. Every byte of every kind of object is flipped, every length cut, objects are
//! swapped and taken away; and what is damaged is found by a check and built anew.

#![expect(clippy::print_stderr, reason = "how much was tried is told on standard error")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::*;
use crate::{ArchiveReader, BatchError, StoreDamage, StoreFinding};

/// Every object of a store.
type Objects = BTreeMap<String, Bytes>;

/// A store with two manifests and an epoch above, and what it answers.
struct Specimen {
    project: Project,
    objects: Objects,
    /// What a run up to the last epoch gives.
    after: Answer,
}

fn objects_of(store: &Store) -> Objects {
    let folders = ["data", "archive", "manifests", "epochs", "damaged"];
    let listed = folders.iter().flat_map(|folder| store.list(folder).unwrap());
    listed.map(|(path, _)| (path.clone(), store.get(&path).unwrap())).collect()
}

fn store_with(objects: &Objects) -> Store {
    let store = Store::with_object_store(Arc::new(InMemory::new())).unwrap();
    for (path, bytes) in objects {
        store.put(path, bytes.clone()).unwrap();
    }
    store
}

impl Specimen {
    fn new() -> Specimen {
        let mut project = Project::new();
        // A day's records in one partition, so that each kind has one small file.
        let day = |seed: u64| -> Vec<Event> {
            events(9, seed).into_iter().map(|(card, minute, cents, n)| (card % 2 * 3, minute % 300, cents, n)).collect()
        };
        for seed in 1..=2 {
            project.append(&day(seed));
            project.run().unwrap();
        }
        project.append(&day(3));
        project.epoch().unwrap();
        let objects = objects_of(&project.store);
        project.run().unwrap();
        let after = project.answer();
        project.store = store_with(&objects);
        Specimen { project, objects, after }
    }

    fn manifest(&self) -> Manifest {
        self.project.manifest()
    }

    /// The project with other objects in its store.
    fn with(&self, objects: &Objects) -> Project {
        let log = Arc::clone(&self.project.log);
        let mut project = Project { log, catalog: self.project.catalog.clone(), ..Project::new() };
        project.store = store_with(objects);
        // Ids that the specimen's writers do not have.
        project.writers.store(1000, Ordering::SeqCst);
        project.clock.set(self.project.clock.now_micros());
        project
    }
}

/// A way to read an object: what was read, as a text.
type Read = Box<dyn Fn(&Store) -> Result<String>>;

/// An object and a way to read it.
struct Target {
    kind: &'static str,
    path: String,
    read: Read,
}

fn targets(of: &Specimen) -> Vec<Target> {
    let manifest = Arc::new(of.manifest());
    let mut targets = Vec::new();
    let mut target = |kind, path: &str, read: Read| {
        targets.push(Target { kind, path: path.to_owned(), read });
    };
    let epoch = manifest.epoch;
    let path = crate::store::layout::numbered(crate::store::layout::EPOCHS, epoch);
    target("epoch", &path, Box::new(move |store| Ok(format!("{:?}", store.epoch(epoch)?))));
    let path = crate::store::layout::numbered(crate::store::layout::MANIFESTS, manifest.number);
    target("manifest", &path, Box::new(|store| Ok(format!("{:?}", store.latest_manifest()?))));
    for (kind, view, file) in [
        ("view", "card_half_hour", 0),
        ("view, first table", "hopping", 0),
        ("view, second table", "hopping", 1),
        ("view of rows", "kept", 0),
    ] {
        let state = manifest.views[view].partitions.values().next().unwrap();
        let (kernel, fingerprint) = (of.project.kernel(view), of.project.fingerprint(view));
        let manifest = Arc::clone(&manifest);
        let read = move |store: &Store| {
            let reader = ViewReader::new(store.clone(), Arc::clone(&manifest));
            let partials = reader.read(view, &fingerprint, &kernel, &KeyFilter::all())?;
            Ok(format!("{:?}", kernel.finish(&partials).map_err(BatchError::pipeline(view))?))
        };
        target(kind, &state.files[file].path, Box::new(read));
    }
    let rejected = manifest.views["by_n"].rejected.last().unwrap();
    let pinned = Arc::clone(&manifest);
    let read =
        move |store: &Store| Ok(format!("{:?}", ViewReader::new(store.clone(), Arc::clone(&pinned)).rejected("by_n")?));
    target("rejected records", &rejected.path, Box::new(read));
    let (&partition, files) = manifest.sources["payments"].archive.iter().next().unwrap();
    let (path, end) = (files[0].file.path.clone(), files[0].end);
    let read = move |store: &Store| {
        let records = ArchiveReader::new(store.clone(), Arc::clone(&manifest)).read("payments", partition, 0, end)?;
        Ok(format!("{:?}", records.iter().collect::<Vec<_>>()))
    };
    target("archive", &path, Box::new(read));
    targets
}

/// Damaged forms of an object: each byte flipped, in another bit from byte to byte; each length; garbage at the end.
fn damages(bytes: &Bytes) -> impl Iterator<Item = (String, Vec<u8>)> {
    let flipped = (0..bytes.len()).map(|at| {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        (format!("byte {at} ^ {:#04x}", 1 << (at % 8)), bad)
    });
    let inverted = (0..bytes.len()).step_by(3).map(|at| {
        let mut bad = bytes.to_vec();
        bad[at] ^= 0xff;
        (format!("byte {at} ^ 0xff"), bad)
    });
    let cut = (0..bytes.len()).map(|length| (format!("cut to {length} bytes"), bytes[..length].to_vec()));
    let longer = [1, 8, 1000].into_iter().map(|more| {
        let garbage = (0..more).map(|n| (n * 37 + 11) as u8);
        (format!("{more} bytes more"), bytes.iter().copied().chain(garbage).collect())
    });
    flipped.chain(inverted).chain(cut).chain(longer)
}

/// Counts an outcome: the right answer, or an error that names the object.
fn count<T: PartialEq + std::fmt::Debug>(
    what: &str,
    object: &str,
    right: &T,
    tally: &mut (u64, u64),
    attempt: impl FnOnce() -> Result<T>,
) {
    let outcome = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| panic!("{what}: PANIC"));
    match outcome {
        Ok(answer) => {
            assert!(answer == *right, "{what}: WRONG: {answer:?}");
            tally.1 += 1;
        }
        Err(error) => {
            assert!(error.to_string().contains(object), "{what}: the error does not name the object: {error}");
            tally.0 += 1;
        }
    }
}

#[test]
fn no_damaged_object_is_served() {
    let of = Specimen::new();
    for Target { kind, path, read } in targets(&of) {
        let store = store_with(&of.objects);
        let (good, right) = (&of.objects[&path], read(&store).unwrap());
        let mut tally = (0, 0);
        for (what, bad) in damages(good) {
            store.put(&path, bad.into()).unwrap();
            count(&format!("{path} {what}"), &path, &right, &mut tally, || read(&store));
        }
        let (detected, harmless) = tally;
        let tried = detected + harmless;
        eprintln!("{kind}: {} bytes, {tried} damages read: {detected} detected, {harmless} harmless", good.len());
        // A space behind a JSON object is none of its bytes.
        assert!(tried > 2 * good.len() as u64 && harmless <= 1, "{kind}: {harmless} harmless");
    }
}

/// Runs up to the last epoch over damaged objects: the right answer or an error, never a wrong answer.
fn runs(of: &Specimen, full: bool, step: usize) {
    for Target { kind, path, .. } in targets(of) {
        let mut tally = (0, 0);
        for (what, bad) in damages(&of.objects[&path]).step_by(step) {
            let mut objects = of.objects.clone();
            objects.insert(path.clone(), bad.into());
            let project = of.with(&objects);
            let what = format!("{path} {what}, run (full: {full})");
            count(&what, &path, &of.after, &mut tally, || {
                project.run_with(&BatchOptions { full, threads: Some(1), ..project.options() })?;
                // What the run did not need to read may be damaged still; then reading it says so.
                match catch_unwind(AssertUnwindSafe(|| project.answer())) {
                    Ok(answer) => Ok(answer),
                    Err(panic) => {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        assert!(text.contains("Damaged") && text.contains(&path), "{what}: {text}");
                        Err(BatchError::damaged(&path, "found when it was read"))
                    }
                }
            });
        }
        let (detected, harmless) = tally;
        eprintln!(
            "{kind}, run (full: {full}): {} damages: {detected} detected, {harmless} harmless",
            detected + harmless
        );
    }
}

#[test]
fn no_incremental_run_builds_on_damage() {
    runs(&Specimen::new(), false, 397);
}

#[test]
fn no_full_run_passes_damage_over() {
    runs(&Specimen::new(), true, 397);
}

#[test]
fn no_object_passes_for_another_and_none_is_missed_in_silence() {
    let of = Specimen::new();
    let store = store_with(&of.objects);
    let mut tally = (0, 0);
    for Target { path, read, .. } in targets(&of) {
        let right = read(&store).unwrap();
        for (other, bytes) in of.objects.iter().filter(|(other, _)| **other != path) {
            store.put(&path, bytes.clone()).unwrap();
            count(&format!("{path} is {other}"), &path, &right, &mut tally, || read(&store));
        }
        store.put(&path, Bytes::new()).unwrap();
        count(&format!("{path} is empty"), &path, &right, &mut tally, || read(&store));
        store.put(&path, of.objects[&path].clone()).unwrap();
    }
    let (detected, harmless) = tally;
    eprintln!("swapped and empty objects: {detected} detected, {harmless} harmless");
    assert_eq!(harmless, 0);
}

fn damage(store: &Store) -> Vec<StoreFinding> {
    let mut findings = store.check().unwrap().findings;
    findings.retain(|finding| finding.damage != StoreDamage::Leftover);
    findings
}

#[test]
fn a_check_names_every_damaged_object_and_nothing_else() {
    let of = Specimen::new();
    let store = store_with(&of.objects);
    assert_eq!(damage(&store), []);
    let check = store.check().unwrap();
    assert_eq!((check.epochs, check.manifests), (3, 2));
    assert_eq!(check.durable, of.project.log.head().unwrap());
    let mut tried = 0;
    for (path, good) in &of.objects {
        let named = |manifest: &Manifest| manifest.files().any(|file| file.path == *path);
        let is_named = store.manifest_numbers().unwrap().iter().any(|n| named(&store.manifest(*n).unwrap().unwrap()));
        assert!(is_named || path.starts_with("epochs/") || path.starts_with("manifests/"), "{path}");
        let mut flipped = good.to_vec();
        flipped[good.len() / 2] ^= 1;
        for (what, bad) in [("flipped", Some(flipped)), ("cut", Some(good[..good.len() - 1].to_vec())), ("gone", None)]
        {
            match bad {
                Some(bad) => store.put(path, bad.into()).unwrap(),
                None => store.delete(vec![path.clone()]).unwrap(),
            }
            let found = damage(&store);
            // The last of a chain cannot be missed if nothing names it.
            let is_last =
                path.ends_with("00000000000000000003.json") || path.ends_with("manifests/00000000000000000002.json");
            if what == "gone" && is_last {
                assert_eq!(found, [], "{path}");
            } else {
                // A first manifest that is gone was collected, as far as can be told.
                let is_first = path.ends_with("manifests/00000000000000000001.json");
                let names = found.iter().any(|finding| finding.object == *path);
                assert!(names || (what == "gone" && is_first), "{path} {what}: {found:?}");
                assert!(found.iter().all(|finding| finding.object == *path), "{path} {what}: {found:?}");
            }
            store.put(path, good.clone()).unwrap();
            tried += 1;
        }
    }
    assert_eq!(damage(&store), []);
    eprintln!("checking a store: {tried} damages of {} objects named", of.objects.len());
}

#[test]
fn damaged_files_are_built_anew_with_the_same_rows() {
    let of = Specimen::new();
    let right = of.project.answer();
    let manifest = of.manifest();
    let all: Vec<String> = manifest.files().map(|file| file.path.clone()).collect();
    // Each file by itself, and all of them at once.
    for damaged in all.iter().map(|path| vec![path.clone()]).chain([all.clone()]) {
        let mut objects = of.objects.clone();
        for path in &damaged {
            let bytes = objects.get_mut(path).unwrap();
            *bytes = bytes.slice(..bytes.len() / 2);
        }
        let project = of.with(&objects);
        let found = project.store.check().unwrap().damaged_files();
        assert_eq!(found, damaged.iter().cloned().collect());
        let options = BatchOptions { cut: Some(manifest.epoch), damaged: found, ..project.options() };
        let report = project.run_with(&options).unwrap();
        assert_eq!(report.published, Some(3), "{damaged:?}");
        assert_eq!(project.answer(), right, "{damaged:?}");
        let now = project.manifest();
        assert_eq!((&now.cut, now.epoch), (&manifest.cut, manifest.epoch));
        assert_eq!(now.archived(), manifest.archived());
        // The sound files of the other views stay, the damaged ones are named by history only.
        let view = |path: &str| path.split('/').nth(2).map(str::to_owned);
        let is_of_damaged = |path: &str| damaged.iter().any(|other| view(other) == view(path));
        for file in manifest.files().filter(|file| !is_of_damaged(&file.path)) {
            assert!(now.files().any(|other| other == file), "{} was written again for {damaged:?}", file.path);
        }
        assert!(damage(&project.store).iter().all(|finding| !finding.is_current && damaged.contains(&finding.object)));
        // And on from there.
        project.run().unwrap();
        assert_eq!(project.answer(), of.after, "{damaged:?}");
    }
}

#[test]
fn a_full_run_repairs_what_is_damaged_if_asked() {
    let of = Specimen::new();
    let file = of.manifest().views["card_half_hour"].partitions.values().next().unwrap().files[0].clone();
    let mut objects = of.objects.clone();
    objects.remove(&file.path);
    let project = of.with(&objects);
    let full = BatchOptions { full: true, ..project.options() };
    let refused = project.run_with(&full).unwrap_err();
    assert!(matches!(&refused, BatchError::Damaged { object, .. } if *object == file.path), "{refused}");
    let report = project.run_with(&BatchOptions { repair: true, writer: project.writer(), ..full }).unwrap();
    assert_eq!(report.published, Some(3));
    assert_eq!(project.answer(), of.after);
}

#[test]
fn an_epoch_that_is_gone_is_not_numbered_again() {
    let of = Specimen::new();
    let mut objects = of.objects.clone();
    let epoch = |number: u64| crate::store::layout::numbered(crate::store::layout::EPOCHS, number);
    for number in [2, 3] {
        objects.remove(&epoch(number));
    }
    let project = of.with(&objects);
    // Epoch 2 is the cut: another position must not get its number.
    let refused = project.epoch().unwrap_err();
    assert!(refused.to_string().contains(&epoch(2)), "{refused}");
    let [found] = &damage(&project.store)[..] else { panic!("{:?}", damage(&project.store)) };
    assert_eq!(found.object, epoch(2));
    assert!(project.store.restore_epoch(2).unwrap());
    assert_eq!(project.store.epoch(2).unwrap().unwrap().position, project.manifest().cut);
    assert_eq!(damage(&project.store), []);
    assert_eq!(project.epoch().unwrap().number, 3);
    project.run().unwrap();
    assert_eq!(project.answer(), of.after);
}

/// What `fsck --repair` does with a store, in its order.
fn repair(project: &Project) -> Result<()> {
    for finding in project.store.check()?.findings {
        match finding.damage {
            StoreDamage::Manifest { .. } => drop(project.store.take_away(&finding.object)?),
            StoreDamage::Epoch { number } => drop(project.store.restore_epoch(number)?),
            _ => {}
        }
    }
    let check = project.store.check()?;
    let damaged = check.damaged_files();
    let (Some(newest), false) = (check.newest, damaged.is_empty()) else { return Ok(()) };
    for object in &damaged {
        project.store.set_aside(object)?;
    }
    project.run_with(&BatchOptions { cut: Some(newest.epoch), damaged, threads: Some(1), ..project.options() })?;
    Ok(())
}

#[test]
fn a_repair_that_fails_anywhere_is_done_again() {
    let of = Specimen::new();
    let right = of.project.answer();
    let manifest = of.manifest();
    let file = |view: &str| manifest.views[view].partitions.values().next().unwrap().files[0].path.clone();
    let archive = manifest.sources["payments"].archive.values().next().unwrap()[0].file.path.clone();
    let epoch = crate::store::layout::numbered(crate::store::layout::EPOCHS, manifest.epoch);
    let mut objects = of.objects.clone();
    for path in [file("card_half_hour"), file("hopping"), archive, epoch] {
        let bytes = objects.get_mut(&path).unwrap();
        *bytes = bytes.slice(1..);
    }
    let mut failures = 0;
    for writes in 0.. {
        let mut project = of.with(&objects);
        let counting = Counting::new(Arc::new(InMemory::new()));
        project.faults = Arc::clone(&counting.faults);
        project.store = Store::with_object_store(Arc::new(counting)).unwrap();
        for (path, bytes) in &objects {
            project.store.put(path, bytes.clone()).unwrap();
        }
        project.faults.writes_left.store(writes, Ordering::SeqCst);
        let failed = repair(&project).is_err();
        project.faults.writes_left.store(-1, Ordering::SeqCst);
        repair(&project).unwrap();
        assert_eq!(project.answer(), right, "after {writes} writes");
        assert!(damage(&project.store).iter().all(|finding| !finding.is_current), "after {writes} writes");
        let kept = objects_of(&project.store);
        for (path, bytes) in objects.iter().filter(|(path, bytes)| of.objects[*path] != **bytes) {
            assert!(kept.iter().any(|(now, found)| now.contains(path) && found == bytes), "{path} was not set aside");
        }
        if !failed {
            break;
        }
        failures += 1;
    }
    eprintln!("repairing a store: failed at {failures} writes and done again");
    assert!(failures > 8);
}
