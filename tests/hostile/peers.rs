//! Peers of the control socket that do not keep the protocol: `up` closes their connections and goes on.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use watershed::fuzzing::targets;

use super::{
    fuzz::changed,
    limits::{place, resident_most_kib, up},
};
use crate::support::command::Workplace;

/// Frames that are changed and sent.
const FRAMES: usize = 300;
/// What `up` may hold in memory at most (KiB).
const RESIDENT_KIB: u64 = 1 << 20;

fn socket(place: &Workplace) -> PathBuf {
    let lock = std::fs::read(place.file("log/lock")).expect("the lock file");
    let holder: serde_json::Value = serde_json::from_slice(&lock).expect("JSON");
    holder["socket"].as_str().expect("a socket").into()
}

fn header(head_bytes: u32, body_bytes: u32) -> Vec<u8> {
    let version = watershed::control::PROTOCOL_VERSION;
    [&b"WSHD"[..], &[version, 0, 0, 0], &head_bytes.to_le_bytes(), &body_bytes.to_le_bytes()].concat()
}

/// Sends bytes, and reads what comes back until the connection is closed; how many bytes that is.
fn sent(socket: &PathBuf, bytes: &[u8]) -> usize {
    let mut stream = UnixStream::connect(socket).expect("up listens");
    // It may close before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    reply.len()
}

#[test]
fn peers_that_do_not_keep_the_protocol_do_not_take_up_down() {
    let place = place();
    let mut up = up(&place);
    let socket = socket(&place);
    let most_body = watershed::control::REQUEST_BODY_BYTES_MAX;
    let append = br#"{"append":{"source":"events","fsync":null}}"#;
    let nested = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
    let tiny = vec![0; 12 << 20];
    let hostile = [
        header(u32::MAX, u32::MAX),
        header(4 << 20, most_body),
        header(0, 0),
        [header(nested.len() as u32, 0), nested].concat(),
        // Three million records without a byte.
        [header(append.len() as u32, tiny.len() as u32), append.to_vec(), tiny].concat(),
        [header(append.len() as u32, 8), append.to_vec(), vec![0xff; 8]].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let mut answered = 0;
    for bytes in &hostile {
        answered += usize::from(sent(&socket, bytes) > 0);
        assert!(up.is_running(), "{}", up.errors());
    }
    let (_, _, corpus) = targets().find(|(name, ..)| *name == "control").expect("a target");
    let corpus = corpus();
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..FRAMES {
        let mut pick = || &corpus[rng.random_range(0..corpus.len())];
        let (frame, other) = (pick(), pick());
        let bytes = changed(frame, other, &mut rng);
        answered += usize::from(sent(&socket, &bytes) > 0);
    }
    // Half of all places for connections are taken by peers who announce much and send nothing.
    let stalled: Vec<UnixStream> = (0..32)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).expect("up listens");
            stream.write_all(&header(64, most_body)).expect("a header is taken");
            stream
        })
        .collect();
    let answer = place.run(["query", "SELECT COUNT(*) AS c FROM m", "--format", "json"]).ok();
    assert_eq!(answer.trim(), "{\"c\":20000}");
    drop(stalled);
    assert!(up.is_running(), "{}", up.errors());
    let most = resident_most_kib(up.id());
    eprintln!(
        "hostile peers: {} frames sent, {answered} of them answered, {} MiB held at most",
        hostile.len() + FRAMES,
        most >> 10
    );
    assert!(answered > FRAMES / 3 && most < RESIDENT_KIB, "{answered} answered, {most} KiB held");
    up.signal("TERM");
    assert_eq!(up.wait().status.code(), Some(0));
}
