use std::{
    io::{self, Read},
    sync::Arc,
};

use watershed_log::{EventLog, ManualClock, Position};
use watershed_pipelines::{
    catalog::Catalog,
    source::Source,
    types::{DataType, Field, Schema},
};

use super::*;

mod gate;
mod history;
mod whole;

/// One table with two text columns, in four partitions by `card`.
fn catalog() -> Catalog {
    let field = |name: &str, nullable| Field { name: name.to_owned(), data_type: DataType::Text, nullable };
    let source = Source {
        name: "payments".to_owned(),
        schema: Schema { fields: vec![field("card", false), field("status", true)] },
        event_time: None,
        partitions: 4,
        partition_by: Some(0),
        lateness_micros: 0,
        max_ahead_micros: i64::MAX,
    };
    let mut catalog = Catalog::default();
    catalog.sources.insert(source.name.clone(), Arc::new(source));
    catalog
}

fn project(directory: &Path) -> Project {
    let clock = Arc::new(ManualClock::new(1_000_000));
    Project::builder(directory).config(Config::default()).catalog(catalog()).clock(clock).open().unwrap()
}

fn lines(count: usize) -> String {
    (0..count).map(|i| format!("{{\"card\":\"c{}\",\"status\":\"ok\"}}\n", i % 10)).collect()
}

fn records(position: &Position) -> u64 {
    Position::records_between(&Position::new(), position)
}

fn never() -> std::future::Pending<()> {
    std::future::pending()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_appends_through_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = project(directory.path());
    let writer = first.writer().await.unwrap();
    assert!(writer.is_local());
    let local = writer.append("payments", vec!["{\"card\":\"a\"}".into()], None).await.unwrap();
    assert_eq!(local.records, 1);

    // Another handle stands for another process: the lock is per handle, not per process.
    let second = project(directory.path());
    let remote = second.writer().await.unwrap();
    assert!(!remote.is_local());
    let appended = remote.append("payments", vec!["{\"card\":\"a\"}".into()], None).await.unwrap();
    let (partition, (_, last)) = local.offsets.first_key_value().unwrap();
    assert_eq!(appended.offsets.get(partition), Some(&(last + 1, last + 1)), "the same card, the next offset");

    let input = io::Cursor::new(lines(5_000).into_bytes());
    let mut seen = 0;
    let report = second
        .append_lines("payments", Lines::read("in", input), &AppendOptions::default(), never(), |count| seen = count)
        .await
        .unwrap();
    assert!(report.failure.is_none());
    assert_eq!((report.acknowledged.records, seen), (5_000, 5_000));
    assert_eq!(records(&second.log().unwrap().head().unwrap()), 5_002);

    // Epochs are recorded by the holder, and form one chain.
    let (one, two) = (remote.epoch().await.unwrap(), writer.epoch().await.unwrap());
    assert_eq!((one, two), (1, 1), "nothing was appended between the two");
    writer.append("payments", vec!["{\"card\":\"b\"}".into()], None).await.unwrap();
    assert_eq!(remote.epoch().await.unwrap(), 2);

    drop(remote);
    writer.close().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(first.log_directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("control-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let next = second.writer().await.unwrap();
    assert!(next.is_local());
    next.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_socket_are_told_off_and_do_no_harm() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let directory = tempfile::tempdir().unwrap();
    let first = project(directory.path());
    let writer = first.writer().await.unwrap();
    let socket = first.lock_holder().unwrap().unwrap().socket.unwrap();
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"WSHD\xff\0\0\0\0\0\0\0\0\0\0\0", b"WSHD\x01\0\0\0\xff\xff\xff\xff\0\0\0\0"]
    {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        assert!(String::from_utf8_lossy(&reply).contains("failed"), "{garbage:?}");
    }
    // One that says nothing more, or nothing at all, keeps nobody waiting.
    let mut half = tokio::net::UnixStream::connect(&socket).await.unwrap();
    half.write_all(b"WSHD").await.unwrap();
    let remote = project(directory.path()).writer().await.unwrap();
    assert_eq!(remote.append("payments", vec!["{}".into()], None).await.unwrap().records, 1);
    drop(remote);
    writer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_log_for_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let project = project(directory.path());
    // As a process that creates thousands of partitions.
    let held = project.open_log_writer(None).unwrap();
    let long = super::writer::ATTEMPT_WAIT * super::writer::ATTEMPTS_MAX + std::time::Duration::from_millis(300);
    let (some, lasting) = (project.clone(), project.clone());
    let some = tokio::spawn(async move { some.writer().await });
    tokio::time::sleep(long).await;
    held.close().unwrap();
    drop(held);
    let writer = some.await.unwrap().unwrap();
    writer.close().await.unwrap();
    let held = project.open_log_writer(None).unwrap();
    let lasting = tokio::spawn(async move { lasting.lasting_writer().await });
    tokio::time::sleep(long).await;
    held.close().unwrap();
    drop(held);
    lasting.await.unwrap().unwrap().close().await.unwrap();
}

/// Some lines, then an error.
struct Breaks(io::Cursor<Vec<u8>>);

impl Read for Breaks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("unplugged")),
            count => Ok(count),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_input_says_exactly_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let project = project(directory.path());
    let input = Breaks(io::Cursor::new(format!("{}{{\"card\":\"cut o", lines(1_234)).into_bytes()));
    let options = AppendOptions { check: true, ..AppendOptions::default() };
    let report = project.append_lines("payments", Lines::read("in", input), &options, never(), |_| {}).await.unwrap();
    assert_eq!(report.failure.unwrap().to_string(), "cannot read in: unplugged");
    assert_eq!((report.acknowledged.records, report.dead), (1_234, Some(0)));
    assert_eq!(records(&project.log().unwrap().head().unwrap()), 1_234);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_appended_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let project = project(directory.path());
    let input = io::Cursor::new(b"{\"card\":\"a\"}\nnot json\n{\"status\":\"no card\"}\n".to_vec());
    let options = AppendOptions { check: true, ..AppendOptions::default() };
    let report = project.append_lines("payments", Lines::read("in", input), &options, never(), |_| {}).await.unwrap();
    assert!(report.failure.is_none());
    assert_eq!((report.acknowledged.records, report.dead), (3, Some(2)));
    let mut payloads: Vec<_> =
        project.dead_letters("payments", 10).await.unwrap().into_iter().map(|d| d.payload).collect();
    payloads.sort();
    assert_eq!(payloads, ["not json", "{\"status\":\"no card\"}"]);
    assert_eq!(project.dead_letters("payments", 1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_a_stream_and_keeps_what_was_acknowledged() {
    /// Gives one line, then waits as a terminal does.
    struct Waits(Option<std::sync::mpsc::Receiver<()>>, bool);
    impl Read for Waits {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.1, true) {
                let _ = self.0.take().map(|wait| wait.recv());
                return Ok(0);
            }
            let line = b"{\"card\":\"a\"}\n";
            buffer[..line.len()].copy_from_slice(line);
            Ok(line.len())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let project = project(directory.path());
    let (_keep, wait) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut stop = Some(stop);
    let lines = Lines::read("in", Waits(Some(wait), false));
    // Told to stop once the first line is acknowledged, which is before the input ends.
    let stopped = async {
        let _ = stopped.await;
    };
    let report = project
        .append_lines("payments", lines, &AppendOptions::default(), stopped, |_| {
            let _ = stop.take().map(|stop| stop.send(()));
        })
        .await
        .unwrap();
    assert!(report.failure.is_none());
    assert_eq!(report.acknowledged.records, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tables_and_places_are_usage_errors() {
    let directory = tempfile::tempdir().unwrap();
    let unknown = project(directory.path()).append("paymnts", ["{}"]).await.unwrap_err();
    assert_eq!(unknown.kind(), crate::error::Kind::Usage);
    assert!(unknown.to_string().contains("payments"), "{unknown}");
    let nowhere = Project::open(directory.path(), Registry::new()).unwrap_err();
    assert!(matches!(nowhere, Error::NotAProject(_)), "{nowhere}");
}

#[test]
fn init_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("README.md"), "mine").unwrap();
    let written = Project::init(directory.path()).unwrap();
    assert!(written.iter().any(|path| path.ends_with("definitions/views.sql")));
    assert_eq!(std::fs::read_to_string(directory.path().join("README.md")).unwrap(), "mine");
    assert_eq!(Project::init(directory.path()).unwrap_err().kind(), crate::error::Kind::Usage);
}
