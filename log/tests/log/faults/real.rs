//! The same with a real disk that is full, and a real permission that is lost.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_log::{Append, EventLog, FileLog, LogError, ManualClock, Options};

use crate::payloads;

const BALLAST_BYTES: usize = 256 * 1024;

fn open(dir: &Path) -> watershed_log::Result<FileLog> {
    let options = Options { segment_bytes_max: 300_000, ..Options::default() };
    FileLog::open_writer(dir, options, Arc::new(ManualClock::new(1_000)))
}

fn append(log: &FileLog, number: u64) -> watershed_log::Result<u64> {
    let record = Append::new(0, format!("{number:>10000}"));
    log.append("s", vec![record]).map(|appended| appended.records[0].1)
}

/// Appends until the disk is full. Returns how many were acknowledged.
fn fill(log: &FileLog) -> u64 {
    for number in 0.. {
        match append(log, number) {
            Ok(offset) => assert_eq!(offset, number),
            Err(LogError::Stopped { path, cause }) => {
                assert_eq!(cause.kind(), ErrorKind::StorageFull);
                assert!(path.starts_with(std::env::var_os("WATERSHED_TEST_SMALL_DISK").unwrap()), "{path:?}");
                assert!(matches!(append(log, number), Err(LogError::Stopped { .. })), "it takes nothing more");
                return number;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

fn check(log: &FileLog, acknowledged: u64) {
    let found = payloads(log, 0, 0);
    assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged}", found.len());
    assert!(
        found.iter().zip(0..).all(|(payload, number): (_, u64)| *payload == format!("{number:>10000}").into_bytes())
    );
}

#[test]
#[ignore = "needs WATERSHED_TEST_SMALL_DISK, a directory on a file system with 1 to 16 MiB free, and a user other than root"]
fn a_real_disk_that_is_full_and_a_real_permission_that_is_lost() {
    let disk = PathBuf::from(std::env::var_os("WATERSHED_TEST_SMALL_DISK").unwrap());
    let (dir, ballast) = (disk.join("log"), disk.join("ballast"));
    fs::write(&ballast, vec![0; BALLAST_BYTES]).unwrap();
    let log = open(&dir).unwrap();
    log.create_source("s", 1).unwrap();
    let acknowledged = fill(&log);
    drop(log);
    check(&FileLog::open_reader(&dir).unwrap(), acknowledged);
    if let Err(error) = open(&dir) {
        assert!(error.to_string().contains(disk.to_str().unwrap()), "{error}");
    }
    fs::remove_file(&ballast).unwrap();
    let log = open(&dir).unwrap();
    check(&log, acknowledged);
    let next = log.head().unwrap().partition("s", 0);
    assert_eq!(append(&log, next).unwrap(), next, "there is room again");
    log.close().unwrap();

    let partition = dir.join("s/0");
    for mode in [0o000, 0o500] {
        fs::set_permissions(&partition, Permissions::from_mode(mode)).unwrap();
        assert!(fs::write(partition.join("probe"), "").is_err(), "run it as a user other than root");
        match open(&dir) {
            Err(error) => assert!(error.to_string().contains(partition.to_str().unwrap()), "{error}"),
            // Nothing has to be made to open a log that may be written, if not extended by files.
            Ok(log) => assert!(mode == 0o500 && log.seal("s").is_err(), "a new segment cannot be made"),
        }
        fs::set_permissions(&partition, Permissions::from_mode(0o700)).unwrap();
        check(&open(&dir).unwrap(), acknowledged + 1);
    }
    eprintln!("real disk: {acknowledged} records acknowledged until it was full; all there, and after lost permission");
}
