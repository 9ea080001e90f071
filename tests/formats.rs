//! What earlier versions of Watershed wrote is read with the same answers; what later ones may write is refused.
//!
//! `tests/fixtures/<name>/` is a small project as some version wrote it: its log, epochs, manifests, views and archive, with
//! the answers that it gave then. `WATERSHED_WRITE_FIXTURE=<name>` on the test below writes one with today's formats; it is
//! written once and then kept for ever.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{
    records::BEGIN_MICROS,
    system::{Answers, System, copy},
};

const DEFINITIONS: &str = include_str!("support/fixture.sql");
const EXPECTED: &str = "expected.json";
const HOUR_MICROS: i64 = 3_600_000_000;

/// What a fixture's project answered when it was written.
#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Expected {
    answers: Answers,
    dead_letters: u64,
    /// By view and partition, from the newest manifest.
    digests: BTreeMap<String, BTreeMap<String, String>>,
    fingerprints: BTreeMap<String, String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn payload(rng: &mut StdRng, hour: i64) -> Vec<u8> {
    const KEYS: [Option<&str>; 6] = [None, Some(""), Some("../a/b"), Some("e\u{301}"), Some("\u{0}"), Some("plain")];
    const REALS: [f64; 8] = [0.1, 0.2, -0.0, 1e300, -1e300, 5e-324, 1e16, 2.5];
    if rng.random_bool(0.05) {
        return br#"{"at": "yesterday"}"#.to_vec();
    }
    // Some are late by more than a day.
    let back = if rng.random_bool(0.2) { rng.random_range(1..30) } else { 0 };
    let at = BEGIN_MICROS + (hour - back) * HOUR_MICROS - rng.random_range(0..HOUR_MICROS);
    let at = chrono::DateTime::from_timestamp_micros(at).expect("in range");
    let money = rng.random_range(-99_999..99_999_i64);
    let record = json!({
        "at": at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        "key": KEYS[rng.random_range(0..KEYS.len())],
        "small": rng.random_range(-2..3),
        "big": if rng.random_bool(0.1) { i64::MAX } else { rng.random_range(-1000..1000) },
        "real": REALS[rng.random_range(0..REALS.len())],
        "money": format!("{}{}.{:02}", if money < 0 { "-" } else { "" }, money.abs() / 100, money.abs() % 100),
        "flag": rng.random_bool(0.3),
        "day": "2024-02-29",
        "detail": if rng.random_bool(0.5) { json!({"a": "x"}) } else { json!({"a": 1.5, "b": [null, 2]}) },
    });
    record.to_string().into_bytes()
}

/// A project with two batch runs behind it, records above the cut, and several segments.
fn written() -> System {
    let mut system = System::new(&[("fixture.sql", DEFINITIONS)], BEGIN_MICROS);
    system.set("log.segment_bytes", "8 KiB");
    system.set("batch.keep_minutes", "100000");
    let mut rng = StdRng::seed_from_u64(1);
    for hour in 0..9 {
        system.append("samples", (0..20).map(|_| payload(&mut rng, hour)).collect());
        match hour {
            2 | 6 => drop(system.batch()),
            4 | 7 => drop(system.epoch()),
            _ => {}
        }
        system.advance(HOUR_MICROS);
    }
    system
}

fn expected(system: &System) -> Expected {
    let project = system.project();
    let manifest = project.store().expect("a store").latest_manifest().expect("it is read").expect("there is one");
    Expected {
        answers: system.answers(),
        dead_letters: system.dead_letters(),
        digests: (manifest.views.iter())
            .map(|(name, view)| {
                let digests = view.partitions.iter().map(|(name, state)| (name.clone(), state.digest.clone()));
                (name.clone(), digests.collect())
            })
            .collect(),
        fingerprints: manifest.views.iter().map(|(name, view)| (name.clone(), view.fingerprint.clone())).collect(),
    }
}

fn write(name: &str) {
    let folder = fixtures().join(name);
    assert!(!folder.exists(), "{} is kept: formats once written do not change", folder.display());
    let system = written();
    fs::create_dir_all(&folder).expect("a folder");
    for part in ["watershed.toml", "definitions", "log", "store"] {
        copy(&system.project().directory().join(part), &folder.join(part));
    }
    let _ = fs::remove_file(folder.join("log/lock"));
    let text = serde_json::to_string_pretty(&expected(&system)).expect("JSON");
    fs::write(folder.join(EXPECTED), text + "\n").expect("a file");
}

fn kept() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(fixtures()).expect("tests/fixtures");
    let mut kept: Vec<_> = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().into_string().expect("a name"), entry.path()))
        .collect();
    kept.sort();
    kept
}

fn read_expected(fixture: &Path) -> Expected {
    serde_json::from_slice(&fs::read(fixture.join(EXPECTED)).expect("expected.json")).expect("JSON")
}

#[test]
fn what_earlier_versions_wrote_gives_the_same_answers() {
    if let Ok(name) = std::env::var("WATERSHED_WRITE_FIXTURE") {
        write(&name);
    }
    let kept = kept();
    assert!(!kept.is_empty());
    for (name, fixture) in &kept {
        let then = read_expected(fixture);
        let mut system = System::copy_of(fixture, BEGIN_MICROS + 10 * HOUR_MICROS);
        let now = expected(&system);
        assert_eq!(now, then, "{name}");
        // The stored partials were read, not made anew.
        for (view, receipt) in system.receipt("SELECT * FROM tumbling t JOIN sketches s ON t.every = s.flag").views {
            assert!(receipt.built, "{name}: {view} was not read from the store");
        }
        // Log and archive alone give the same, and so does the way on from here.
        system.verify();
        assert_eq!(system.archived("samples"), system.records_below_cut("samples"), "{name}");
        let full = system.batch_in_full();
        assert_eq!(system.answers(), then.answers, "{name} after {full:?}");
        system.append("samples", vec![payload(&mut StdRng::seed_from_u64(2), 9)]);
        system.batch();
        system.numbers_add_up();
        system.verify();
        system.restart();
        system.verify();
    }
    eprintln!("formats: {} projects of earlier versions read", kept.len());
}
