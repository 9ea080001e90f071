//! Appending JSON lines: whole files, or a stream that goes on for days.

use std::{
    io::{ErrorKind, Read},
    sync::Arc,
    thread,
};

use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::JoinSet};
use watershed_log::Numbering;
use watershed_pipelines::decode::{ColumnSet, Decoder, RawRecord};

use super::Project;
use crate::{config::Durability, control::Acknowledged, error::Error};

/// Bytes that are asked of the input at once. What is there is appended at once; a slow input makes small appends.
const READ_BYTES: usize = 1 << 20;
/// Longest line: the largest record that the log takes.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Appends under way.
const IN_FLIGHT_MAX: usize = 4;

/// How lines are appended.
#[derive(Clone, Debug, Default)]
pub struct AppendOptions {
    /// When a record counts as acknowledged; as configured if absent.
    pub durability: Option<Durability>,
    /// Checks every record against the table's schema, to count what will be dead letters. Nothing is refused.
    pub check: bool,
    /// Who numbers the lines, and the first one's number: what of them the log has is not appended again.
    pub numbering: Option<Numbering>,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub struct AppendReport {
    /// What is in the log.
    pub acknowledged: Acknowledged,
    /// How many of the lines that were sent will be dead letters, if that was checked.
    pub dead: Option<u64>,
    /// Why it ended before the input did. What is acknowledged is in the log nevertheless.
    pub failure: Option<Error>,
}

/// Lines of an input, read on a thread of their own. Blank lines are left out.
#[derive(Debug)]
pub struct Lines {
    chunks: mpsc::Receiver<Result<Vec<Bytes>, Error>>,
}

impl Lines {
    /// Begins to read. `name` is the input's name in errors.
    pub fn read(name: &str, input: impl Read + Send + 'static) -> Lines {
        let (sender, chunks) = mpsc::channel(2);
        let name = name.to_owned();
        thread::spawn(move || {
            if let Err(error) =
                read_lines(&name, input, LINE_BYTES_MAX, &mut |lines| sender.blocking_send(Ok(lines)).is_ok())
            {
                // Nobody hears it if the receiver has gone.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Lines { chunks }
    }
}

/// Gives the lines in pieces as they arrive; `give` returns whether to go on.
fn read_lines(
    name: &str,
    mut input: impl Read,
    line_bytes_max: usize,
    give: &mut dyn FnMut(Vec<Bytes>) -> bool,
) -> Result<(), Error> {
    let mut buffer = BytesMut::new();
    let mut chunk = vec![0u8; READ_BYTES];
    let mut lines_read = 0u64;
    let too_long = |line: u64| Error::usage(format!("{name}: line {line} is longer than {line_bytes_max} bytes"));
    loop {
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", name)(error)),
        };
        let searched = buffer.len();
        buffer.extend_from_slice(&chunk[..count]);
        let whole = match buffer[searched..].iter().rposition(|byte| *byte == b'\n') {
            Some(last) => buffer.split_to(searched + last + 1).freeze(),
            None if count == 0 => buffer.split().freeze(),
            None => Bytes::new(),
        };
        let mut lines = Vec::new();
        let mut long = false;
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            lines_read += 1;
            let line = line.trim_ascii();
            if line.len() > line_bytes_max {
                long = true;
                break;
            }
            if !line.is_empty() {
                lines.push(whole.slice_ref(line));
            }
        }
        if !lines.is_empty() && !give(lines) {
            return Ok(());
        }
        if long {
            return Err(too_long(lines_read));
        }
        if buffer.len() > line_bytes_max {
            return Err(too_long(lines_read + 1));
        }
        if count == 0 {
            return Ok(());
        }
    }
}

impl Project {
    /// Appends records to a table. See [`Project::writer`] for many appends.
    pub async fn append<P: Into<Bytes>>(
        &self,
        table: &str,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<Acknowledged, Error> {
        self.table(table)?;
        let writer = self.writer().await?;
        let acknowledged = writer.append(table, payloads.into_iter().map(Into::into).collect(), None).await;
        writer.close().await?;
        acknowledged
    }

    /// Appends lines until they end or `stop` completes; `progress` is told how many are acknowledged.
    pub async fn append_lines(
        &self,
        table: &str,
        lines: Lines,
        options: &AppendOptions,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(u64),
    ) -> Result<AppendReport, Error> {
        let source = self.table(table)?;
        let mut writer = self.writer().await?;
        let mut report = AppendReport::default();
        let decoder = options.check.then(|| Arc::new(Decoder::new(source)));
        let mut checks = JoinSet::new();
        let mut chunks = Some(lines.chunks);
        let mut stop = std::pin::pin!(stop);
        let mut pipeline = writer.pipeline();
        let mut numbering = options.numbering.clone();
        loop {
            let room = pipeline.waiting() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                acknowledged = pipeline.receive(), if pipeline.waiting() > 0 => match acknowledged {
                    Ok(acknowledged) => {
                        report.acknowledged.merge(&acknowledged);
                        progress(report.acknowledged.records);
                    }
                    Err(error) => {
                        chunks = None;
                        report.failure.get_or_insert(error);
                    }
                },
                () = &mut stop, if chunks.is_some() => chunks = None,
                chunk = next(&mut chunks), if chunks.is_some() && room => match chunk {
                    Some(Ok(lines)) => {
                        if let Some(decoder) = &decoder {
                            let (decoder, lines, now) = (Arc::clone(decoder), lines.clone(), self.clock().now_micros());
                            checks.spawn_blocking(move || count_dead(&decoder, &lines, now));
                        }
                        let numbers = numbering.clone();
                        if let Some(numbering) = &mut numbering {
                            numbering.first = numbering.first.saturating_add(lines.len() as u64);
                        }
                        if let Err(error) = pipeline.send(table, lines, options.durability, numbers).await {
                            chunks = None;
                            report.failure.get_or_insert(error);
                        }
                    }
                    Some(Err(error)) => {
                        chunks = None;
                        report.failure = Some(error);
                    }
                    None => chunks = None,
                },
                else => break,
            }
        }
        if options.check {
            report.dead = Some(checks.join_all().await.into_iter().sum());
        }
        if let Err(error) = writer.close().await {
            report.failure.get_or_insert(error);
        }
        Ok(report)
    }

    /// The declared table.
    pub(super) fn table(&self, name: &str) -> Result<&Arc<watershed_pipelines::source::Source>, Error> {
        self.catalog().source(name).ok_or_else(|| {
            let known: Vec<&str> = self.catalog().sources.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "none is defined".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            Error::usage(format!("there is no table {name:?} ({known})"))
        })
    }
}

async fn next(chunks: &mut Option<mpsc::Receiver<Result<Vec<Bytes>, Error>>>) -> Option<Result<Vec<Bytes>, Error>> {
    match chunks {
        Some(chunks) => chunks.recv().await,
        None => None,
    }
}

fn count_dead(decoder: &Decoder, lines: &[Bytes], now_micros: i64) -> u64 {
    let records =
        (0u64..).zip(lines).map(|(offset, payload)| RawRecord { offset, append_time_micros: now_micros, payload });
    decoder.decode(0, records, &ColumnSet::default()).counts.dead
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Gives its pieces one by one, then an error or the end.
    struct Pieces(Vec<io::Result<&'static [u8]>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0)?;
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: Vec<io::Result<&'static [u8]>>) -> (Vec<Vec<Bytes>>, Option<String>) {
        let mut given = Vec::new();
        let error = read_lines("in", Pieces(pieces), 8, &mut |lines| {
            given.push(lines);
            true
        });
        (given, error.err().map(|error| error.to_string()))
    }

    #[test]
    fn whole_lines_are_given_as_they_arrive() {
        let (given, error) = lines(vec![Ok(b"{1}\n{2"), Ok(b"}\r\n\n  \n{3}\n"), Ok(b"{4}")]);
        assert_eq!(given, [vec!["{1}"], vec!["{2}", "{3}"], vec!["{4}"]]);
        assert_eq!(error, None);
    }

    #[test]
    fn what_came_before_a_failure_is_given() {
        let failed = || Err(io::Error::other("unplugged"));
        let (given, error) = lines(vec![Ok(b"{1}\n{2"), failed()]);
        assert_eq!(given, [vec!["{1}"]]);
        assert_eq!(error.unwrap(), "cannot read in: unplugged");
        for pieces in [vec![Ok(&b"{1}\n{23456789}\n{2}\n"[..])], vec![Ok(&b"{1}\n"[..]), Ok(b"{23456789")]] {
            let (given, error) = lines(pieces);
            assert_eq!(given, [vec!["{1}"]]);
            assert_eq!(error.unwrap(), "in: line 2 is longer than 8 bytes");
        }
    }
}
