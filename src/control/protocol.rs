//! Frames and messages.
//!
//! A frame is 16 bytes of header (magic `WSHD`, version, three zero bytes, the head's and the body's length as little-endian
//! `u32`), then the head (JSON), then the body (bytes whose meaning the head gives). Lengths are checked against limits before
//! anything is read, so a hostile peer can neither make this process panic nor take more than the limits.

use std::{collections::BTreeMap, io};

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use watershed_batch::ParityQuestion;
use watershed_log::Place;
use watershed_pipelines::{
    key::KeyFilter,
    types::{Schema, Value},
};

use crate::{QueryLimits, error::Kind};

/// Raised when frames or messages change. Peers of different versions refuse each other.
pub const PROTOCOL_VERSION: u8 = 2;
/// Largest body of a request: the largest record that the log takes, and some beside it.
pub const REQUEST_BODY_BYTES_MAX: u32 = 72 << 20;
/// Largest body of a reply.
pub const REPLY_BODY_BYTES_MAX: u32 = u32::MAX;
/// Most payloads of a request: each takes more memory than its bytes.
const PAYLOADS_MAX: usize = 1 << 20;
/// Largest head.
const HEAD_BYTES_MAX: u32 = 4 << 20;
const MAGIC: &[u8; 4] = b"WSHD";
const HEADER_BYTES: usize = 16;

/// Why the socket could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The operating system refused.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Its answer.
        #[source]
        cause: io::Error,
    },
    /// The peer went away in the middle of a frame, or before it replied.
    #[error("the other process closed the connection")]
    Closed,
    /// The peer does not speak this protocol.
    #[error("the other side does not speak Watershed's control protocol")]
    NotOurs,
    /// The peer is another version of Watershed.
    #[error(
        "the other process speaks version {theirs} of the control protocol, this one {PROTOCOL_VERSION}; run the same watershed on both sides"
    )]
    Version {
        /// Its version.
        theirs: u8,
    },
    /// A frame above the limits.
    #[error("a message of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A message that cannot be read.
    #[error("a message cannot be read: {0}")]
    Malformed(String),
}

impl ControlError {
    /// Turns an operating system's error into a [`ControlError`].
    pub fn io(action: &'static str) -> impl FnOnce(io::Error) -> ControlError {
        move |cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ControlError::Closed
            }
            _ => ControlError::Io { action, cause },
        }
    }
}

/// What is asked of the holder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Append the body's payloads ([`encode_payloads`]).
    Append {
        /// The source.
        source: String,
        /// `true`: acknowledge after `fsync`; `false`: after the write; absent: as the holder is configured.
        fsync: Option<bool>,
        /// Who numbers the records, if anyone does: those that the log has are not appended again.
        producer: Option<ProducerRecords>,
    },
    /// Record an epoch at the head.
    Epoch,
    /// A manifest was published by another process.
    Published {
        /// Its number.
        manifest: u64,
    },
    /// Answer a query.
    Query {
        /// The SQL.
        sql: String,
        /// Wait until the answer covers this position (JSON of a position).
        at_least: Option<serde_json::Value>,
        /// Answer as of this epoch.
        as_of: Option<u64>,
        /// What the answer may take; no more than the holder is configured for.
        #[serde(default)]
        limits: QueryLimits,
    },
    /// Rows of a view by key.
    Lookup {
        /// The view.
        view: String,
        /// Values of the first key columns.
        key: Vec<Value>,
    },
    /// Rows of a view, keys within bounds.
    Scan {
        /// The view.
        view: String,
        /// The bounds.
        keys: KeyFilter,
    },
    /// Live figures.
    Status,
    /// Digests of what the speed layer made of the records between two cuts.
    Parity {
        /// Which ones.
        question: ParityQuestion,
    },
    /// What it made of them in one partition of a view.
    ParityRows {
        /// The records.
        question: ParityQuestion,
        /// The view.
        view: String,
        /// The view's partition.
        partition: String,
    },
}

/// Who appends, and which of its records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerRecords {
    /// The producer's name.
    pub id: String,
    /// The number of the first record.
    pub first: u64,
}

/// What the holder replies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// The records are durable as asked.
    Appended(Acknowledged),
    /// The epoch.
    Epoch {
        /// Its number.
        number: u64,
    },
    /// Nothing to say.
    Done,
    /// Rows: the body is an Arrow IPC stream.
    Answer(Answered),
    /// Live figures.
    Live {
        /// What the speed layer holds, as JSON.
        figures: serde_json::Value,
    },
    /// What a batch run is compared with: the body is the JSON of a [`ParitySummary`](watershed_batch::ParitySummary), or rows.
    Parity,
    /// The holder runs no speed layer: the asker must look for itself.
    NotLive,
    /// The request failed.
    Failed {
        /// Whose turn it is.
        kind: Kind,
        /// What to tell the user.
        message: String,
    },
}

/// Where acknowledged records lie.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Number of records.
    pub records: u64,
    /// How many of them a producer had appended before, so that they were not appended again.
    pub repeated: u64,
    /// By partition: the first and the last offset, of those whose place is known. That of a repeated record need not be.
    pub offsets: BTreeMap<u32, (u64, u64)>,
}

impl Acknowledged {
    /// Counts one record.
    pub fn add(&mut self, partition: u32, offset: u64) {
        self.records += 1;
        let range = self.offsets.entry(partition).or_insert((offset, offset));
        *range = (range.0.min(offset), range.1.max(offset));
    }

    /// Counts one numbered record.
    pub fn add_place(&mut self, place: Place) {
        match place.at {
            Some((partition, offset)) => self.add(partition, offset),
            None => self.records += 1,
        }
        self.repeated += u64::from(place.repeated);
    }

    /// Adds other records.
    pub fn merge(&mut self, other: &Acknowledged) {
        self.records += other.records;
        self.repeated += other.repeated;
        for (&partition, &(first, last)) in &other.offsets {
            let range = self.offsets.entry(partition).or_insert((first, last));
            *range = (range.0.min(first), range.1.max(last));
        }
    }
}

/// An answer's columns and receipt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answered {
    /// The columns.
    pub schema: Schema,
    /// The receipt (JSON of [`crate::Receipt`]).
    pub receipt: serde_json::Value,
}

/// One message and its body.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame<T> {
    /// The message.
    pub head: T,
    /// The bytes with it.
    pub body: Bytes,
}

/// Writes a frame.
pub async fn write_frame<T: Serialize>(
    out: &mut (impl AsyncWrite + Unpin),
    head: &T,
    body: &[u8],
) -> Result<(), ControlError> {
    let head = serde_json::to_vec(head).map_err(|e| ControlError::Malformed(e.to_string()))?;
    let head_bytes = checked_len(head.len(), HEAD_BYTES_MAX)?;
    let body_bytes = checked_len(body.len(), REPLY_BODY_BYTES_MAX)?;
    let mut start = Vec::with_capacity(HEADER_BYTES + head.len());
    start.extend_from_slice(MAGIC);
    start.extend_from_slice(&[PROTOCOL_VERSION, 0, 0, 0]);
    start.extend_from_slice(&head_bytes.to_le_bytes());
    start.extend_from_slice(&body_bytes.to_le_bytes());
    start.extend_from_slice(&head);
    out.write_all(&start).await.map_err(ControlError::io("write to the socket"))?;
    out.write_all(body).await.map_err(ControlError::io("write to the socket"))?;
    out.flush().await.map_err(ControlError::io("write to the socket"))
}

fn checked_len(bytes: usize, bytes_max: u32) -> Result<u32, ControlError> {
    let too_large = ControlError::TooLarge { bytes: bytes as u64, bytes_max: u64::from(bytes_max) };
    u32::try_from(bytes).ok().filter(|&b| b <= bytes_max).ok_or(too_large)
}

/// Reads a frame; `None` if the peer closed the connection between frames.
pub async fn read_frame<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    body_bytes_max: u32,
) -> Result<Option<Frame<T>>, ControlError> {
    match read_header(from, body_bytes_max).await? {
        Some(header) => read_rest(from, header).await.map(Some),
        None => Ok(None),
    }
}

/// What a frame's header says of its lengths, which are within the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHeader {
    pub head_bytes: u32,
    pub body_bytes: u32,
}

/// Reads a frame's header; `None` if the peer closed the connection between frames.
pub(super) async fn read_header(
    from: &mut (impl AsyncRead + Unpin),
    body_bytes_max: u32,
) -> Result<Option<FrameHeader>, ControlError> {
    let mut header = [0u8; HEADER_BYTES];
    let first = from.read(&mut header).await.map_err(ControlError::io("read from the socket"))?;
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[first..]).await.map_err(ControlError::io("read from the socket"))?;
    let mut fields = &header[..];
    if &fields[..4] != MAGIC {
        return Err(ControlError::NotOurs);
    }
    fields.advance(4);
    let version = fields.get_u8();
    if version != PROTOCOL_VERSION {
        return Err(ControlError::Version { theirs: version });
    }
    fields.advance(3);
    let (head_bytes, body_bytes) = (fields.get_u32_le(), fields.get_u32_le());
    for (bytes, most) in [(head_bytes, HEAD_BYTES_MAX), (body_bytes, body_bytes_max)] {
        if bytes > most {
            return Err(ControlError::TooLarge { bytes: u64::from(bytes), bytes_max: u64::from(most) });
        }
    }
    Ok(Some(FrameHeader { head_bytes, body_bytes }))
}

/// Reads what follows a frame's header.
pub(super) async fn read_rest<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    FrameHeader { head_bytes, body_bytes }: FrameHeader,
) -> Result<Frame<T>, ControlError> {
    let head = read_bytes(from, head_bytes).await?;
    let head = serde_json::from_slice(&head).map_err(|e| ControlError::Malformed(e.to_string()))?;
    let body = read_bytes(from, body_bytes).await?;
    Ok(Frame { head, body: body.into() })
}

/// Grows with what really arrives: a length alone takes no memory.
async fn read_bytes(from: &mut (impl AsyncRead + Unpin), bytes: u32) -> Result<Vec<u8>, ControlError> {
    let mut buffer = Vec::with_capacity((bytes as usize).min(1 << 20));
    let read =
        from.take(u64::from(bytes)).read_to_end(&mut buffer).await.map_err(ControlError::io("read from the socket"))?;
    if read < bytes as usize { Err(ControlError::Closed) } else { Ok(buffer) }
}

/// Payloads as the body of [`Request::Append`]: each with its length before it.
pub fn encode_payloads(payloads: &[Bytes]) -> Vec<u8> {
    let mut body = Vec::with_capacity(payloads.iter().map(|p| 4 + p.len()).sum());
    for payload in payloads {
        body.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        body.extend_from_slice(payload);
    }
    body
}

/// The payloads in a body, without copying them.
pub fn decode_payloads(mut body: Bytes) -> Result<Vec<Bytes>, ControlError> {
    let mut payloads = Vec::new();
    while !body.is_empty() {
        let cut_off = || ControlError::Malformed("a payload is cut off".to_owned());
        let bytes = body.try_get_u32_le().map_err(|_| cut_off())? as usize;
        if bytes > body.len() {
            return Err(cut_off());
        }
        if payloads.len() == PAYLOADS_MAX {
            return Err(ControlError::Malformed(format!(
                "it has more than {PAYLOADS_MAX} records; append fewer at a time"
            )));
        }
        payloads.push(body.split_to(bytes));
    }
    Ok(payloads)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn encoded(head: &impl Serialize, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        block_on(write_frame(&mut bytes, head, body)).unwrap();
        bytes
    }

    fn decoded(mut bytes: &[u8]) -> Result<Option<Frame<Request>>, ControlError> {
        block_on(read_frame(&mut bytes, 1 << 20))
    }

    proptest! {
        #[test]
        fn frames_come_back(sql in ".*", as_of in any::<Option<u64>>(), body in any::<Vec<u8>>()) {
            let head = Request::Query { sql, at_least: None, as_of, limits: QueryLimits::default() };
            let frame = decoded(&encoded(&head, &body)).unwrap().unwrap();
            prop_assert_eq!(frame, Frame { head, body: body.into() });
        }

        #[test]
        fn payloads_come_back(payloads in any::<Vec<Vec<u8>>>()) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(decode_payloads(encode_payloads(&payloads).into()).unwrap(), payloads);
        }

        #[test]
        fn cut_off_frames_are_errors(body in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&Request::Append { source: "payments".to_owned(), fsync: Some(true), producer: None }, &body);
            let cut = cut.index(bytes.len());
            let result = decoded(&bytes[..cut]);
            let is_right = if cut == 0 { matches!(result, Ok(None)) } else { result.is_err() };
            prop_assert!(is_right);
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), place in 0usize..64, byte in any::<u8>()) {
            let _ = decoded(&bytes);
            let _ = decode_payloads(bytes.clone().into());
            let mut frame = encoded(&Request::Epoch, &bytes);
            if let Some(target) = frame.get_mut(place) {
                *target = byte;
            }
            let _ = decoded(&frame);
        }
    }

    #[test]
    fn limits_and_versions() {
        let mut frame = encoded(&Request::Status, b"");
        frame[4] = PROTOCOL_VERSION + 1;
        assert!(matches!(decoded(&frame), Err(ControlError::Version { .. })));
        let mut frame = encoded(&Request::Status, b"");
        frame[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decoded(&frame), Err(ControlError::TooLarge { .. })));
        assert!(matches!(decoded(b"GET / HTTP/1.1\r\n\r\n"), Err(ControlError::NotOurs)));
    }

    #[test]
    fn acknowledgements_add_up() {
        let mut all = Acknowledged::default();
        all.add(1, 7);
        all.add(1, 8);
        let mut more = Acknowledged::default();
        more.add(0, 3);
        more.add_place(Place { at: Some((1, 9)), repeated: false });
        more.add_place(Place { at: Some((1, 2)), repeated: true });
        more.add_place(Place { at: None, repeated: true });
        all.merge(&more);
        assert_eq!(all, Acknowledged { records: 6, repeated: 2, offsets: [(0, (3, 3)), (1, (2, 9))].into() });
    }
}
