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
    command::Workplace,
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
    /// How many records each producer had numbered.
    #[serde(default)]
    producers: BTreeMap<String, u64>,
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
        for (producer, &count) in &producers() {
            let first = count / 9 * hour as u64;
            let payloads = (0..count / 9).map(|_| payload(&mut rng, hour)).collect();
            assert_eq!(system.append_numbered("samples", producer, first, payloads).repeated, 0);
        }
        match hour {
            2 | 6 => drop(system.batch()),
            4 | 7 => drop(system.epoch()),
            _ => {}
        }
        system.advance(HOUR_MICROS);
    }
    system
}

/// How many records each producer numbers.
fn producers() -> BTreeMap<String, u64> {
    [("export".to_owned(), 45), ("second é".to_owned(), 9)].into()
}

fn expected(system: &System, producers: BTreeMap<String, u64>) -> Expected {
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
        producers,
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
    let text = serde_json::to_string_pretty(&expected(&system, producers())).expect("JSON");
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
    let mut of_today = 0;
    for (name, fixture) in &kept {
        let then = read_expected(fixture);
        let mut system = System::copy_of(fixture, BEGIN_MICROS + 10 * HOUR_MICROS);
        let views = &system.project().catalog().views;
        let same_meaning = then.fingerprints.iter().all(|(view, then)| views[view].fingerprint == *then);
        if same_meaning {
            assert_eq!(expected(&system, then.producers.clone()), then, "{name}");
        }
        assert_eq!(system.answers(), then.answers, "{name}");
        // The stored partials were read, not made anew; unless they have another meaning, then they were not.
        for (view, receipt) in system.receipt("SELECT * FROM tumbling t JOIN sketches s ON t.every = s.flag").views {
            assert_eq!(receipt.built, same_meaning, "{name}: {view}");
        }
        of_today += u64::from(same_meaning);
        // What producers sent is known, and comes no second time.
        for (producer, &count) in &then.producers {
            let again = (0..count).map(|_| payload(&mut StdRng::seed_from_u64(3), 1)).collect();
            assert_eq!(system.append_numbered("samples", producer, 0, again).repeated, count, "{name}: {producer}");
        }
        // Log and archive alone give the same, and so does the way on from here.
        system.verify();
        assert_eq!(system.archived("samples"), system.records_below_cut("samples"), "{name}");
        let full = system.batch_in_full();
        assert_eq!(system.answers(), then.answers, "{name} after {full:?}");
        assert_eq!(system.dead_letters(), then.dead_letters, "{name}");
        system.append("samples", vec![payload(&mut StdRng::seed_from_u64(2), 9)]);
        system.batch();
        system.numbers_add_up();
        system.verify();
        system.restart();
        system.verify();
    }
    assert!(of_today > 0, "no project has partials of today's meaning: write one");
    eprintln!("formats: {} projects of earlier versions read", kept.len());
}

/// A file of a project, made to look as if a later version had written it, its checksums made to fit.
struct Later {
    what: &'static str,
    /// Its path ends so.
    ends: &'static str,
    change: fn(&mut Vec<u8>),
}

fn put_version(bytes: &mut [u8], at: usize, sealed: usize) {
    bytes[at..at + 4].copy_from_slice(&99_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..sealed]);
    bytes[sealed..sealed + 4].copy_from_slice(&crc.to_le_bytes());
}

fn put_format(bytes: &mut Vec<u8>) {
    let text = String::from_utf8(std::mem::take(bytes)).expect("JSON");
    let (name, number) = text.split_once("/1\"").expect("a format");
    *bytes = format!("{name}/99\"{number}").into_bytes();
}

const LATER: &[Later] = &[
    Later { what: "segment", ends: "0/00000000000000000041.segment", change: |bytes| put_version(bytes, 8, 36) },
    Later { what: "sealed segment", ends: "1/00000000000000000044.segment", change: |bytes| put_version(bytes, 8, 36) },
    Later { what: "source", ends: "samples/source", change: |bytes| put_version(bytes, 8, 20) },
    Later {
        what: "head",
        ends: "1/head",
        change: |bytes| {
            put_version(&mut bytes[..32], 8, 24);
            put_version(&mut bytes[512..], 8, 24);
        },
    },
    Later { what: "newest slot of a head", ends: "0/head", change: |bytes| put_version(&mut bytes[512..], 8, 24) },
    Later { what: "epoch", ends: "epochs/00000000000000000004.json", change: put_format },
    Later { what: "manifest", ends: "manifests/00000000000000000002.json", change: put_format },
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn place(fixture: &Path) -> Workplace {
    let place = Workplace::new();
    for part in ["watershed.toml", "definitions", "log", "store"] {
        copy(&fixture.join(part), &place.file(part));
    }
    place
}

/// Runs what reads and what writes: at least one of them needs the file, and says that it is of a later version; none touches it.
fn refused(place: &Workplace, file: &Path, what: &str) {
    let before = fs::read(file).expect("the file");
    let mut refusals = 0;
    let record = b"{\"at\":\"2024-03-10T00:00:00Z\"}\n";
    for arguments in [
        &["query", "SELECT * FROM tumbling"][..],
        &["query", "SELECT * FROM hopping"],
        &["query", "SELECT * FROM kept"],
        &["append", "samples", "-"],
        &["epoch"],
        &["batch"],
        &["batch", "--full"],
        &["status"],
        &["verify"],
    ] {
        let ended = place.run_with(arguments, record);
        if !ended.status.success() {
            let says = ended.err.contains("format version 99") || ended.err.contains("/99\"");
            assert!(says, "{what}: {} said\n{}", ended.line, ended.err);
            refusals += 1;
        }
        assert_eq!(fs::read(file).expect("the file"), before, "{what}: {} changed it", ended.line);
    }
    assert!(refusals > 0, "{what}: nothing refused it");
}

#[test]
fn what_a_later_version_wrote_is_refused_and_left_as_it_is() {
    let fixture = fixtures().join("v1");
    for later in LATER {
        let place = place(&fixture);
        let file = files(place.path()).into_iter().find(|path| path.ends_with(later.ends));
        let file = file.unwrap_or_else(|| panic!("the fixture has no {}", later.ends));
        let mut bytes = fs::read(&file).expect("the file");
        (later.change)(&mut bytes);
        fs::write(&file, &bytes).expect("it can be written");
        refused(&place, &file, later.what);
    }
    // Tables, of a view and of the archive: the manifest names their checksums. Views are read where they have today's meaning.
    let (mut tables, of_today) = (0, kept().pop().expect("a fixture").1);
    for folder in ["data", "archive"] {
        let place = place(&of_today);
        let manifest = place.file("store/manifests/00000000000000000002.json");
        let text = fs::read_to_string(&manifest).expect("the newest manifest");
        let named = |path: &PathBuf| {
            let path = path.strip_prefix(place.file("store")).expect("below the store").to_string_lossy().into_owned();
            path.starts_with(folder)
                && path.contains(if folder == "data" { "kept" } else { "samples" })
                && text.contains(&path)
        };
        let file = files(&place.file("store")).into_iter().find(named).expect("a table that the manifest names");
        let bytes = fs::read(&file).expect("the table");
        let at = bytes.windows(17).position(|window| window == b"watershed.table/1").expect("its format");
        let mut later = bytes.clone();
        later[at..at + 17].copy_from_slice(b"watershed.tabl/99");
        fs::write(&file, &later).expect("it can be written");
        let text = text.replace(blake3::hash(&bytes).to_hex().as_str(), blake3::hash(&later).to_hex().as_str());
        fs::write(&manifest, sealed_anew(&text)).expect("it can be written");
        let before = fs::read(&file).expect("the table");
        let ended = match folder {
            "data" => place.run(["query", "SELECT * FROM kept"]),
            _ => {
                // The archive is read where the log no longer has the records.
                for partition in ["0", "1"] {
                    let folder = place.file("log/samples").join(partition);
                    for file in
                        files(&folder).iter().filter(|path| path.to_string_lossy().contains("00000000000000000000."))
                    {
                        fs::remove_file(file).expect("the oldest segment");
                    }
                }
                place.run(["batch", "--full"])
            }
        };
        assert!(ended.err.contains("/99\""), "{folder}: {} said\n{}{}", ended.line, ended.out, ended.err);
        assert!(!ended.status.success());
        assert_eq!(fs::read(&file).expect("the table"), before);
        tables += 1;
    }
    eprintln!("formats: {} files of later versions refused", LATER.len() + tables);
}

/// A sealed object whose body was changed, with the checksum of what it is now.
fn sealed_anew(text: &str) -> String {
    let (head, body) = text.split_once("\"body\":").expect("a sealed object");
    let body = body.strip_suffix('}').expect("it ends with the body");
    let (start, _) = head.split_once("\"checksum\":").expect("with a checksum");
    format!("{start}\"checksum\":\"{}\",\"body\":{body}}}", blake3::hash(body.as_bytes()).to_hex())
}
