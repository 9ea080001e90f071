//! The contract suite on every implementation and in several shapes.

use std::path::Path;
use std::sync::Arc;

use watershed_log::{
    Append, AppendFuture, Clock, Deleted, Durability, EventLog, FileLog, ManualClock, MemoryLog, NumberedFuture,
    Numbering, Offset, Options, Position, RecordChunk, Result, contract,
};

/// A log with its directory, removed at the end.
struct InTempDir {
    log: FileLog,
    dir: tempfile::TempDir,
}

impl InTempDir {
    fn new(options: Options, clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { log: FileLog::open_writer(dir.path(), options, clock as Arc<dyn Clock>).unwrap(), dir }
    }

    fn reader(&self) -> FileLog {
        FileLog::open_reader(self.dir.path() as &Path).unwrap()
    }
}

/// Writes through the writer, reads through a handle such as another process has.
struct ReadElsewhere {
    writer: InTempDir,
    reader: FileLog,
}

macro_rules! delegate {
    ($name:ty, $write:ident, $read:ident) => {
        impl EventLog for $name {
            fn create_source(&self, name: &str, partitions: u32) -> Result<()> {
                self.$write.create_source(name, partitions)
            }
            fn sources(&self) -> Result<Vec<String>> {
                self.$read.sources()
            }
            fn partitions(&self, source: &str) -> Result<u32> {
                self.$read.partitions(source)
            }
            fn start(&self) -> Result<Position> {
                self.$read.start()
            }
            fn head(&self) -> Result<Position> {
                self.$read.head()
            }
            fn read(&self, source: &str, partition: u32, from: Offset, to: Offset, max: usize) -> Result<RecordChunk> {
                self.$read.read(source, partition, from, to, max)
            }
            fn divide(&self, source: &str, partition: u32, offset: Offset) -> Result<Offset> {
                self.$read.divide(source, partition, offset)
            }
            fn offset_at_time(&self, source: &str, partition: u32, micros: i64) -> Result<Offset> {
                self.$read.offset_at_time(source, partition, micros)
            }
            fn watch(&self) -> tokio::sync::watch::Receiver<Position> {
                self.$read.watch()
            }
            fn submit(&self, source: &str, records: Vec<Append>, durability: Option<Durability>) -> AppendFuture {
                self.$write.submit(source, records, durability)
            }
            fn submit_numbered(
                &self,
                source: &str,
                numbering: Numbering,
                records: Vec<Append>,
                durability: Option<Durability>,
            ) -> NumberedFuture {
                self.$write.submit_numbered(source, numbering, records, durability)
            }
            fn retain(&self, below: &Position, appended_before_micros: i64) -> Result<Vec<Deleted>> {
                self.$write.retain(below, appended_before_micros)
            }
        }
    };
}

delegate!(InTempDir, log, log);
delegate!(ReadElsewhere, writer, reader);

fn tiny() -> Options {
    Options {
        segment_bytes_max: 1_000,
        batch_bytes_max: 100,
        queue_bytes_max: 20_000,
        sync_threads: 2,
        ..Options::default()
    }
}

#[test]
fn memory_log_keeps_the_contract() {
    contract::check(|clock| MemoryLog::new(clock));
}

#[test]
fn file_log_keeps_the_contract() {
    contract::check(|clock| InTempDir::new(Options::default(), clock));
}

#[test]
fn file_log_with_tiny_segments_batches_and_queue_keeps_the_contract() {
    contract::check(|clock| InTempDir::new(tiny(), clock));
}

#[test]
fn file_log_that_rolls_by_age_keeps_the_contract() {
    contract::check(|clock| InTempDir::new(Options { segment_age_max_micros: 20, ..Options::default() }, clock));
}

#[test]
fn a_reader_of_another_handle_keeps_the_contract() {
    for options in [Options::default(), tiny()] {
        contract::check(|clock| {
            let writer = InTempDir::new(options.clone(), clock);
            ReadElsewhere { reader: writer.reader(), writer }
        });
    }
}
