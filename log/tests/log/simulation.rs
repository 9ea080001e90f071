//! The simulated disk does what disks do, and the same again for the same seed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use watershed_log::simulation::{Effect, Failure, Fate, OperationKind, SimulatedDisk};
use watershed_log::{Append, Durability, EventLog, FileHandle, FileLog, FileSystem, ManualClock, OpenMode, Options};

const SECTOR: usize = 512;
const FILE: &str = "/file";

/// A disk with a durable file of two sectors, and a process that has it open.
fn with_file() -> (SimulatedDisk, Arc<dyn FileHandle>) {
    let disk = SimulatedDisk::new();
    disk.write(Path::new(FILE), [[1; SECTOR], [2; SECTOR]].concat()).unwrap();
    let file = disk.process().open(Path::new(FILE), OpenMode::Write).unwrap();
    (disk, file)
}

fn after_power_cut(disk: &SimulatedDisk, seed: u64) -> Option<Vec<u8>> {
    let copy = disk.copy();
    copy.power_cut(seed);
    copy.read(Path::new(FILE))
}

#[test]
fn what_was_not_synced_survives_sector_by_sector_in_any_mixture() {
    let (disk, file) = with_file();
    file.write_at(&[3; 2 * SECTOR], 0).unwrap();
    file.write_at(&[4; 10], 0).unwrap();
    let found: BTreeSet<Vec<u8>> = (0..200).filter_map(|seed| after_power_cut(&disk, seed)).collect();
    let mut first = [3; SECTOR];
    first[..10].fill(4);
    let mut expected = BTreeSet::new();
    for head in [[1; SECTOR], [3; SECTOR], first] {
        for tail in [[2; SECTOR], [3; SECTOR]] {
            expected.insert([head, tail].concat());
        }
    }
    assert_eq!(found, expected);
    file.sync_data().unwrap();
    assert!((0..50).all(|seed| after_power_cut(&disk, seed).unwrap() == [first, [3; SECTOR]].concat()));
}

#[test]
fn a_size_that_was_not_synced_is_old_or_new_and_the_rest_may_be_rubbish() {
    let (disk, file) = with_file();
    file.write_at(&[3; SECTOR], 2 * SECTOR as u64).unwrap();
    file.write_at(&[4; SECTOR], 3 * SECTOR as u64).unwrap();
    let found: Vec<Vec<u8>> = (0..200).filter_map(|seed| after_power_cut(&disk, seed)).collect();
    let sizes: BTreeSet<usize> = found.iter().map(|bytes| bytes.len() / SECTOR).collect();
    assert_eq!(sizes, [2, 3, 4].into());
    let lasts: BTreeSet<&[u8]> = found.iter().filter_map(|bytes| bytes.get(3 * SECTOR..)).collect();
    assert!(lasts.contains(&[4; SECTOR][..]) && lasts.contains(&[0; SECTOR][..]) && lasts.len() > 3);
    file.set_bytes(SECTOR as u64).unwrap();
    let cut = (0..100).filter_map(|seed| after_power_cut(&disk, seed)).map(|bytes| bytes.len() / SECTOR);
    assert_eq!(cut.collect::<BTreeSet<_>>(), [1, 2, 3, 4].into());
    file.sync_all().unwrap();
    assert!((0..50).all(|seed| after_power_cut(&disk, seed).unwrap() == [1; SECTOR]));
}

#[test]
fn a_name_is_old_or_new_until_its_directory_is_synced() {
    let (disk, _) = with_file();
    let process = disk.process();
    let file = process.open(Path::new("/file.tmp"), OpenMode::Replace).unwrap();
    file.write_at(b"new", 0).unwrap();
    file.sync_all().unwrap();
    process.rename(Path::new("/file.tmp"), Path::new(FILE)).unwrap();
    let found: BTreeSet<usize> = (0..50).filter_map(|seed| after_power_cut(&disk, seed)).map(|b| b.len()).collect();
    assert_eq!(found, [3, 2 * SECTOR].into());
    process.sync_dir(Path::new("/")).unwrap();
    assert!((0..50).all(|seed| after_power_cut(&disk, seed).unwrap() == b"new"));
    process.remove(Path::new(FILE)).unwrap();
    let found: BTreeSet<bool> = (0..50).map(|seed| after_power_cut(&disk, seed).is_some()).collect();
    assert_eq!(found, [false, true].into());
}

#[test]
fn after_a_failed_sync_the_next_says_that_all_is_well_and_the_bytes_are_gone() {
    let (disk, file) = with_file();
    let process = disk.process();
    let file_of_process = process.open(Path::new(FILE), OpenMode::Write).unwrap();
    process.set_fates(|operation| match operation.kind {
        OperationKind::Sync => Fate::failed(Effect::Nothing, Failure::Io),
        _ => Fate::DONE,
    });
    file_of_process.write_at(&[3; SECTOR], 0).unwrap();
    assert_eq!(file_of_process.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(disk.read(Path::new(FILE)).unwrap()[0], 3, "as long as the page is in memory, it is read");
    assert!((0..50).all(|seed| after_power_cut(&disk, seed).unwrap()[0] == 1));
    let forgotten = (0..50).map(|seed| {
        let copy = disk.copy();
        copy.forget_pages(seed);
        copy.read(Path::new(FILE)).unwrap()[0]
    });
    assert_eq!(forgotten.collect::<BTreeSet<_>>(), [1, 3].into());
    file.write_at(&[3; SECTOR], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(after_power_cut(&disk, 0).unwrap()[0], 3, "written again, it is stored");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = with_file();
    disk.set_capacity(Some(disk.used_bytes() + 10));
    assert_eq!(file.write_at(&[5; 100], 2 * SECTOR as u64).unwrap(), 10);
    assert_eq!(file.write_at(&[5; 100], 0).unwrap(), 100, "what is there may be overwritten");
    assert_eq!(file.write_at(&[5; 1], 2 * SECTOR as u64 + 10).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_dead_process_keeps_no_lock_and_writes_no_more() {
    let disk = SimulatedDisk::new();
    let (first, second) = (disk.process(), disk.process());
    let open = |process: &dyn FileSystem| process.open(Path::new(FILE), OpenMode::WriteOrCreate).unwrap();
    let (held, other) = (open(&*first), open(&*second));
    assert!(held.try_lock(false).unwrap() && !other.try_lock(true).unwrap());
    first.kill();
    assert!(other.try_lock(false).unwrap());
    assert!(held.write_at(b"late", 0).is_err());
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), b"");
}

/// A history with a power cut. Returns all that was asked of the disk, and what is on it in the end.
fn history(seed: u64) -> (Vec<String>, Vec<(String, Vec<u8>)>) {
    let (disk, clock) = (SimulatedDisk::new(), Arc::new(ManualClock::new(0)));
    let trace = Arc::new(Mutex::new(Vec::new()));
    for round in 0..3 {
        let process = disk.process();
        let into = trace.clone();
        process.set_fates(move |operation| {
            into.lock().unwrap().push(format!("{operation:?}"));
            Fate::DONE
        });
        let options = Options { files: process, segment_bytes_max: 500, ..Options::default() };
        let log = FileLog::open_stepped("/log", options, clock.clone()).unwrap();
        log.create_source("s", 3).unwrap();
        for number in 0..20 {
            let records = (0..3).map(|partition| Append::new(partition, vec![number; 40])).collect();
            let durability = if number % 3 == 0 { Durability::Fsync } else { Durability::Os };
            drop(log.submit("s", records, Some(durability)));
            clock.advance(7_000);
            if number % 2 == 0 {
                log.step();
            }
        }
        disk.power_cut(seed + round);
    }
    let contents = disk.paths().into_iter().map(|path| (path.display().to_string(), disk.read(&path).unwrap()));
    let contents = contents.collect();
    let trace = trace.lock().unwrap().clone();
    (trace, contents)
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert!((0..20).all(|seed| history(seed) == history(seed)));
    let different: BTreeSet<_> = (0..20).map(|seed| history(seed).1).collect();
    assert!(different.len() > 10);
}

#[test]
fn a_stepped_log_writes_when_it_is_told_to() {
    let (disk, clock) = (SimulatedDisk::new(), Arc::new(ManualClock::new(0)));
    let options = Options { files: disk.process(), ..Options::default() };
    let log = FileLog::open_stepped("/log", options, clock.clone()).unwrap();
    log.create_source("s", 1).unwrap();
    let submit = |durability| log.submit("s", vec![Append::new(0, "x")], Some(durability));
    let mut appends: Vec<_> = (0..5).map(|_| submit(Durability::Fsync)).collect();
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(appends.iter_mut().all(|append| append.as_mut().poll(context).is_pending()));
    assert!(!log.step());
    assert!(appends.iter_mut().all(|append| append.as_mut().poll(context).is_ready()));
    assert_eq!((log.stats().batches, log.stats().syncs), (1, 1));
    assert!(submit(Durability::Os).as_mut().poll(context).is_pending());
    log.step();
    assert_eq!(log.head().unwrap().partition("s", 0), 5, "not synced yet");
    clock.advance(20_000);
    log.step();
    assert_eq!(log.head().unwrap().partition("s", 0), 6, "the log's clock says that it is time");
    drop(submit(Durability::Fsync));
    log.close().unwrap();
    assert_eq!(FileLog::open_reader_on(disk.process(), "/log").unwrap().head().unwrap().partition("s", 0), 7);
}

#[test]
fn a_stepped_log_keeps_the_contract_where_nothing_waits_for_another_thread() {
    let concurrent = [
        "concurrent appends keep their acknowledgements",
        "readers follow while writing goes on",
        "producers do not disturb one another",
    ];
    let queued =
        ["appends in flight keep their order", "every durability becomes visible", "repeats wait for what they repeat"];
    let mut checked = 0;
    for (name, check) in watershed_log::contract::CHECKS {
        if concurrent.contains(name) || queued.contains(name) {
            continue;
        }
        let clock = Arc::new(ManualClock::new(1_000));
        let options = Options { files: SimulatedDisk::new().process(), ..Options::default() };
        check(&FileLog::open_stepped("/log", options, clock.clone()).unwrap(), &clock);
        checked += 1;
    }
    assert_eq!(checked, watershed_log::contract::CHECKS.len() - 6);
}

#[test]
fn a_log_on_a_simulated_disk_keeps_the_contract() {
    watershed_log::contract::check(|clock| {
        let options = Options { files: SimulatedDisk::new().process(), ..Options::default() };
        FileLog::open_writer("/log", options, clock).unwrap()
    });
}

#[test]
fn a_log_opens_on_a_full_disk_so_that_what_is_old_can_be_deleted() {
    let (disk, clock) = (SimulatedDisk::new(), Arc::new(ManualClock::new(0)));
    let open = || {
        let options = Options { files: disk.process(), segment_bytes_max: 300, ..Options::default() };
        FileLog::open_stepped("/log", options, clock.clone()).unwrap()
    };
    let log = open();
    log.create_source("s", 1).unwrap();
    for _ in 0..5 {
        log.append("s", vec![Append::new(0, vec![7; 100])]).unwrap();
    }
    log.close().unwrap();
    for index in disk.paths().iter().filter(|path| path.extension().is_some_and(|is| is == "index")) {
        disk.process().remove(index).unwrap();
    }
    disk.set_capacity(Some(disk.used_bytes() + 100));
    let log = open();
    assert!(log.recovery().rebuilt.is_empty(), "there is no room for it");
    assert_eq!(crate::payloads(&log, 0, 0).len(), 5);
    assert_eq!(log.delete_sealed_below(&log.head().unwrap()).unwrap()[0].to, 4);
    log.append("s", vec![Append::new(0, vec![7; 100])]).unwrap();
    assert_eq!(crate::payloads(&log, 0, 4).len(), 2);
}
