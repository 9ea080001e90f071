//! A small log with a file of every kind, and what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use watershed_log::{
    Append, EventLog, FileLog, ManualClock, Numbered, Numbering, Offset, Options, Position, ProducerId, Result,
};

/// A record: offset, append time, key, payload.
pub type Whole = (Offset, i64, Option<Vec<u8>>, Vec<u8>);

/// Everything that can be read, by source and partition.
pub type Contents = BTreeMap<(String, u32), Vec<Whole>>;

/// A log at rest.
pub struct Specimen {
    pub dir: TempDir,
    /// What is in it.
    pub contents: Contents,
    /// Where it begins and ends.
    pub start: Position,
    pub head: Position,
}

pub fn options() -> Options {
    Options { segment_bytes_max: 330, sync_threads: 1, ..Options::default() }
}

/// A directory where `fsync` costs nothing, if there is one.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Two sources: `s` with sealed and active segments in two partitions of the same sizes, `t` with a partition whose records
/// retention has deleted, all of them, so that only a note tells the last append time.
pub fn specimen() -> Specimen {
    let dir = directory();
    let clock = Arc::new(ManualClock::new(1_000));
    let log = FileLog::open_writer(dir.path(), options(), clock.clone()).unwrap();
    log.create_source("s", 2).unwrap();
    log.create_source("t", 1).unwrap();
    for round in 0..7 {
        clock.advance(10);
        let records = (0..4).map(|n| {
            let (partition, n) = (n % 2, round * 2 + n / 2);
            let record = Append::new(partition, format!("{{\"p\": {partition}, \"n\": {n:02}}}"));
            if n % 3 == 0 { record.with_key(format!("key-{n:02}")) } else { record }
        });
        log.append("s", records.collect()).unwrap();
    }
    log.append("t", vec![Append::new(0, "gone"), Append::new(0, "too")]).unwrap();
    log.seal("t").unwrap();
    let mut below = Position::new();
    below.set("t", 0, 2);
    log.retain(&below, i64::MAX).unwrap();
    log.close().unwrap();
    let (start, head) = (log.start().unwrap(), log.head().unwrap());
    let contents = read_all(&FileLog::open_reader(dir.path()).unwrap(), &start, &head).unwrap();
    Specimen { dir, contents, start, head }
}

/// Producers of [`numbered_specimen`], and how many records each has sent.
pub const PRODUCERS: [&str; 2] = ["first", "second"];
pub const NUMBERED: u64 = 14;

/// The record of a producer with this number.
pub fn numbered(producer: &str, number: u64) -> Append {
    Append::new((number % 2) as u32, format!("{producer}:{number:02}"))
}

/// Sends those of a producer's records that have these numbers.
pub fn send(log: &FileLog, producer: &str, numbers: std::ops::Range<u64>) -> Result<Numbered> {
    let numbering = Numbering { producer: ProducerId::new(producer).unwrap(), first: numbers.start };
    log.append_numbered("s", numbering, numbers.map(|number| numbered(producer, number)).collect())
}

/// One source in two partitions, whose records two producers number: sealed segments and active ones, which say so.
pub fn numbered_specimen() -> Specimen {
    let dir = directory();
    let clock = Arc::new(ManualClock::new(1_000));
    let log = FileLog::open_writer(dir.path(), options(), clock.clone()).unwrap();
    log.create_source("s", 2).unwrap();
    for round in 0..7 {
        clock.advance(10);
        for producer in PRODUCERS {
            send(&log, producer, round * 2..round * 2 + 2).unwrap();
        }
        if round == 4 {
            log.seal("s").unwrap();
        }
    }
    log.close().unwrap();
    let (start, head) = (log.start().unwrap(), log.head().unwrap());
    let contents = read_all(&FileLog::open_reader(dir.path()).unwrap(), &start, &head).unwrap();
    Specimen { dir, contents, start, head }
}

/// Everything in a log from `start` on, which is where it is known to begin; up to its head, which must reach `least`.
pub fn read_all(log: &FileLog, start: &Position, least: &Position) -> Result<Contents> {
    let head = log.head()?;
    let mut contents = Contents::new();
    for (source, partition, least) in least.iter() {
        let mut at = start.partition(source, partition);
        let to = head.partition(source, partition).max(least);
        let mut records = Vec::new();
        while at < to {
            let chunk = log.read(source, partition, at, to, 1 << 16)?;
            records.extend(chunk.iter().map(|record| {
                (record.offset, record.append_time_micros, record.key.map(<[u8]>::to_vec), record.payload.to_vec())
            }));
            assert!(chunk.next_offset() > at, "a read that gets nowhere");
            at = chunk.next_offset();
        }
        contents.insert((source.to_owned(), partition), records);
    }
    Ok(contents)
}

impl Specimen {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Every file, by its path below the log's directory.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_in(self.path())
    }

    /// A copy of the log.
    pub fn copy(&self) -> TempDir {
        let copy = directory();
        write_files(copy.path(), &self.files());
        copy
    }
}

pub fn files_in(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(dir, dir, &mut files);
    files
}

/// Makes the directory hold exactly these files.
pub fn write_files(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files_in(dir).into_keys().filter(|path| !files.contains_key(path)) {
        fs::remove_file(dir.join(path)).unwrap();
    }
    for (path, bytes) in files {
        let path = dir.join(path);
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// Ways to damage a file, each with what it does.
pub fn damages(bytes: &[u8], flips: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let mut damages = vec![("missing".to_owned(), None)];
    for at in 0..bytes.len() {
        for flip in flips {
            let mut bad = bytes.to_vec();
            bad[at] ^= flip;
            damages.push((format!("byte {at} ^ {flip:#04x}"), Some(bad)));
        }
        damages.push((format!("cut to {at} bytes"), Some(bytes[..at].to_vec())));
    }
    for more in [1, 7, 48, 512] {
        damages.push((format!("{more} zeros more"), Some([bytes, &vec![0; more]].concat())));
        let garbage: Vec<u8> = (0..more).map(|n| (n * 37 + 11) as u8).collect();
        damages.push((format!("{more} bytes more"), Some([bytes, &garbage].concat())));
        damages.push((
            format!("its own first {more} bytes more"),
            Some([bytes, &bytes[..more.min(bytes.len())]].concat()),
        ));
    }
    damages
}
