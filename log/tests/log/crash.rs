//! A writing process that is killed: what it acknowledged is there, what readers saw is there, and the lock is free.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use watershed_log::{Append, Durability, EventLog, FileLog, ManualClock, Options, lock_holder};

use crate::{open, payloads};

const DIR: &str = "WATERSHED_LOG_CRASH_DIR";
const PARTITIONS: u32 = 3;

fn options() -> Options {
    Options { segment_bytes_max: 20_000, ..Options::default() }
}

fn payload(partition: u32, offset: u64) -> String {
    format!("{partition}/{offset}/{}", "x".repeat((offset % 97) as usize))
}

/// Appends for ever and says what was acknowledged. Run in a process of its own by the test below.
#[test]
#[ignore = "the child process of the next test"]
fn child() {
    let dir = std::env::var_os(DIR).unwrap();
    let log = open(dir.as_ref(), options(), PARTITIONS);
    std::thread::scope(|scope| {
        for partition in 0..PARTITIONS {
            let log = &log;
            scope.spawn(move || {
                for offset in log.head().unwrap().partition("s", partition).. {
                    let durability = if offset % 5 == 0 { Durability::Os } else { Durability::Fsync };
                    let record = Append::new(partition, payload(partition, offset));
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let appended = match offset % 3 {
                        0 => log.append("s", vec![record]),
                        _ => runtime.block_on(log.submit("s", vec![record], Some(durability))),
                    };
                    assert_eq!(appended.unwrap().records, [(partition, offset)]);
                    writeln!(std::io::stdout().lock(), "\nacknowledged {partition} {offset}").unwrap();
                }
            });
        }
    });
}

fn start(dir: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = [0u64; PARTITIONS as usize];
    for round in 1..=4 {
        let mut child = start(dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (count, line) in lines.map(|line| line.unwrap()).filter(|line| line.starts_with("acknowledged")).enumerate()
        {
            let mut numbers = line.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap());
            let (partition, offset) = (numbers.next().unwrap(), numbers.next().unwrap());
            acknowledged[partition as usize] = offset + 1;
            if count == 0 {
                assert_eq!(lock_holder(dir.path()).unwrap().unwrap().pid, child.id());
            }
            if count == 150 * round {
                break;
            }
        }
        let reader = FileLog::open_reader(dir.path()).unwrap();
        let seen = reader.head().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(lock_holder(dir.path()).unwrap(), None);
        check(&reader, &[0; PARTITIONS as usize]);
        let log = FileLog::open_writer(dir.path(), options(), Arc::new(ManualClock::new(0))).unwrap();
        assert!(seen.le(&log.head().unwrap()), "what a reader saw is still there");
        check(&log, &acknowledged);
        check(&reader, &acknowledged);
    }
}

fn check(log: &FileLog, acknowledged: &[u64]) {
    for (partition, &least) in (0..).zip(acknowledged) {
        let found = payloads(log, partition, 0);
        assert!(found.len() as u64 >= least, "partition {partition}: {} of {least}", found.len());
        for (offset, bytes) in (0..).zip(&found) {
            assert_eq!(*bytes, payload(partition, offset).into_bytes());
        }
    }
}
