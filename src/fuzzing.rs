//! Entries for fuzzing, those of all crates: functions that take any bytes, and fail (by a panic) only where a promise is broken.
//! `fuzz/` has a target for each; the tests run each over its corpus and changes of it. Not part of the public interface.

use bytes::Bytes;
use futures::FutureExt;
pub use watershed_pipelines::fuzzing::Target;

use crate::{
    QueryLimits,
    config::Config,
    control::{
        Acknowledged, REQUEST_BODY_BYTES_MAX, Reply, Request, decode_payloads, encode_payloads, read_frame, write_frame,
    },
    error::Kind,
};

/// All entries.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    use {watershed_batch::fuzzing as batch, watershed_log::fuzzing as log, watershed_pipelines::fuzzing as pipelines};
    let of_others = [log::TARGETS, pipelines::TARGETS, batch::TARGETS];
    of_others.into_iter().flatten().chain(TARGETS)
}

/// The entries of this crate.
const TARGETS: &[Target] = &[("control", control, frames), ("answer", answer, answers), ("config", config, configs)];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory is never waited for")
}

/// Takes any bytes as what a peer of the control socket sends: frames, until it ends.
pub fn control(bytes: &[u8]) {
    let mut requests = bytes;
    while let Ok(Some(frame)) = block_on(read_frame::<Request>(&mut requests, REQUEST_BODY_BYTES_MAX)) {
        again(&frame.head, &frame.body);
        if let Ok(payloads) = decode_payloads(frame.body.clone()) {
            assert_eq!(encode_payloads(&payloads), frame.body);
        }
    }
    let mut replies = bytes;
    while let Ok(Some(frame)) = block_on(read_frame::<Reply>(&mut replies, REQUEST_BODY_BYTES_MAX)) {
        again(&frame.head, &frame.body);
    }
}

fn again<T>(head: &T, body: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = encoded(head, body);
    let frame =
        block_on(read_frame::<T>(&mut &*bytes, REQUEST_BODY_BYTES_MAX)).ok().flatten().expect("what was written");
    assert_eq!((&frame.head, &*frame.body), (head, body));
}

fn encoded(head: &impl serde::Serialize, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(write_frame(&mut bytes, head, body)).expect("memory can be written");
    bytes
}

fn frames() -> Vec<Vec<u8>> {
    let payloads = encode_payloads(&[Bytes::from_static(b"{}"), Bytes::new(), Bytes::from_static(b"\xff\x00")]);
    let requests = [
        Request::Epoch,
        Request::Status,
        Request::Published { manifest: 7 },
        Request::Query {
            sql: "SELECT 1".to_owned(),
            at_least: serde_json::from_str(r#"{"payments":[1,2]}"#).ok(),
            as_of: Some(3),
            limits: QueryLimits { max_rows: Some(1), ..QueryLimits::default() },
        },
    ];
    let mut acknowledged = Acknowledged::default();
    acknowledged.add(3, 99);
    let replies = [
        Reply::Appended(acknowledged),
        Reply::Done,
        Reply::NotLive,
        Reply::Failed { kind: Kind::Busy, message: "é\u{1b}".to_owned() },
    ];
    let requests = requests.iter().map(|request| encoded(request, &payloads));
    requests.chain(replies.iter().map(|reply| encoded(reply, b""))).collect()
}

/// Takes any bytes as the rows that a running process has sent.
pub fn answer(bytes: &[u8]) {
    let _ = crate::project::read_rows(Bytes::copy_from_slice(bytes));
}

fn answers() -> Vec<Vec<u8>> {
    crate::project::sample_rows().into_iter().collect()
}

/// Takes any text as `watershed.toml`.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(config) = Config::from_toml(&text) else { return };
    assert!(config.lines().len() > 10);
}

fn configs() -> Vec<Vec<u8>> {
    let template = include_str!("templates/watershed.toml");
    let all = template.lines().map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line));
    let all: String = all.map(|line| format!("{line}\n")).collect();
    [
        template,
        &all,
        "[log]\nsegment_bytes = 4096\nsegment_age = \"1 hour 3 s\"\n",
        "[store]\nurl = \"s3://b/p\"\n",
        "x = {",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
