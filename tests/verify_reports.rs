//! What `verify` covers, and that it says so: quick and thorough, over histories, damage, retention and little memory.

use serde_json::Value;
use watershed::{Project, Registry, Verified, VerifyOptions, config::Overrides};

use crate::support::{command::Workplace, system::System};

/// 2026-03-10T00:00:00Z, after all visits.
const NOW_MICROS: i64 = 1_773_100_800_000_000;

const DEFINITIONS: &str = "
CREATE TABLE visits (at TIMESTAMP NOT NULL, page TEXT NOT NULL, spent DOUBLE, cents DECIMAL(12,2), n INT)
WITH (event_time = 'at', partitions = 3, partition_by = 'page');

CREATE MATERIALIZED VIEW pages AS
SELECT page, COUNT(*) AS n, SUM(spent) AS spent, COUNT(DISTINCT n) AS ns, SUM(100 / n) AS quotients FROM visits GROUP BY page;

CREATE MATERIALIZED VIEW hours AS
SELECT page, window_start, COUNT(*) AS n, SUM(cents) AS cents
FROM HOP(visits, at, INTERVAL '1 hour', INTERVAL '3 hours') GROUP BY page, window_start;

CREATE VIEW ranked AS SELECT page, n, ROW_NUMBER() OVER (ORDER BY spent DESC) AS place FROM pages;

CREATE VIEW busy AS SELECT p.page, p.n, h.window_start FROM pages p JOIN hours h ON p.page = h.page WHERE h.n > 2;
";

/// Record `i`: some pages, out of order, a division by zero now and then, and what the schema refuses.
fn visit(i: usize) -> Vec<u8> {
    if i % 97 == 13 {
        return b"{\"page\": 7}".to_vec();
    }
    let (page, hour, minute) = (i * i % 41, i * 7 % 24, i * 13 % 60);
    let (spent, cents, n) = (i as f64 * 0.1, i * 31 % 1000, i % 29);
    format!(
        "{{\"at\":\"2026-03-{:02}T{hour:02}:{minute:02}:00Z\",\"page\":\"p{page}\",\"spent\":{spent},\"cents\":{cents}.25,\"n\":{n}}}",
        1 + i % 3
    )
    .into_bytes()
}

/// Batch runs and epochs over so many records, the last ones above the cut.
fn history(runs: usize, each: usize) -> System {
    let mut system = System::new(&[("visits.sql", DEFINITIONS)], NOW_MICROS);
    for run in 0..=runs {
        system.append("visits", (run * each..(run + 1) * each).map(visit).collect());
        system.advance(60_000_000);
        system.epoch();
        if run < runs {
            system.batch();
        }
    }
    system
}

fn verify(system: &System, options: &VerifyOptions) -> Vec<Verified> {
    system.run(system.project().verify(options))
}

fn all_equal(verified: &[Verified]) {
    assert!(verified.iter().all(Verified::is_equal), "{verified:#?}");
    // Nothing would be equal, too.
    let counted = |view: &Verified| !view.materialized || (view.rows > 0 && view.counts.counted > 0);
    assert!(verified.iter().all(counted), "{verified:#?}");
}

#[test]
fn a_quick_check_of_a_short_history_covers_all_of_it() {
    let system = history(3, 400);
    let verified = verify(&system, &VerifyOptions::default());
    all_equal(&verified);
    let names: Vec<&str> = verified.iter().map(|view| view.view.as_str()).collect();
    assert_eq!(names, ["hours", "pages", "busy", "ranked"]);
    for view in &verified {
        assert!(view.complete && view.not_covered.is_empty() && view.rows > 0 && !view.digest.is_empty(), "{view:?}");
    }
    for view in &verified[..2] {
        assert_eq!((view.records, view.records_in_all), (1600, 1600));
        assert_eq!(view.stored_partitions, view.stored_partitions_in_all);
        assert!(view.stored_partitions > 0 && view.cuts.len() >= 9, "{view:?}");
        assert!(view.ways.iter().any(|way| way == "speed only"), "{view:?}");
    }
    assert!(verified[2..].iter().all(|answer| answer.cuts.len() >= 3 && answer.ways.len() == 5), "{verified:#?}");
}

#[test]
fn a_quick_check_of_a_long_history_says_what_it_did_not_cover() {
    let system = history(5, 400);
    // Room for the last two runs only: the rows before them are those of a kept manifest.
    let options = VerifyOptions { records_max: 1000, stored_bytes_max: 10, ..VerifyOptions::default() };
    let verified = verify(&system, &options);
    all_equal(&verified);
    for view in &verified[..2] {
        assert!(!view.complete && view.records == 800 && view.records_in_all == 2400, "{view:?}");
        assert!(view.not_covered.iter().any(|what| what.contains("are taken from manifest 4")), "{view:?}");
        assert!(view.stored_partitions < view.stored_partitions_in_all, "{view:?}");
        assert!(view.not_covered.iter().any(|what| what.starts_with("0 of ")), "{view:?}");
    }
    assert!(verified[2..].iter().all(|answer| !answer.complete && !answer.not_covered.is_empty()), "{verified:?}");
    // Room for less than what lies above the newest cut.
    let verified = verify(&system, &VerifyOptions { records_max: 100, ..options });
    all_equal(&verified);
    assert!(verified[0].records <= 100 && verified[0].not_covered[0].contains("are not recomputed"), "{verified:?}");
}

#[test]
fn a_thorough_check_sweeps_splits_cuts_and_runs() {
    let system = history(4, 300);
    let options = VerifyOptions { seed: 3, random_cuts: 30, ..VerifyOptions::thorough() };
    let verified = verify(&system, &options);
    all_equal(&verified);
    for view in &verified[..2] {
        assert!(view.not_covered.is_empty(), "{view:?}");
        // Five epochs and thirty random cuts.
        assert!(view.cuts.len() >= 35, "{}", view.cuts.len());
        for way in ["speed only", "incremental batch runs", "a batch run in full", "merged at epoch 2"] {
            assert!(view.ways.iter().any(|known| known == way), "{way} is missing in {:?}", view.ways);
        }
        assert!(view.ways.iter().filter(|way| way.contains("micro-batches")).count() == 5, "{:?}", view.ways);
    }
    let scratch = system.project().directory().join(".watershed-scratch");
    let left = std::fs::read_dir(scratch).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the scratch directory is empty again");
}

#[test]
fn little_memory_changes_nothing_but_where_partials_are_kept() {
    let system = history(2, 2_000);
    let roomy = verify(&system, &VerifyOptions { seed: 5, ..VerifyOptions::thorough() });
    let tight = verify(&system, &VerifyOptions { seed: 5, memory_bytes_max: 20_000, ..VerifyOptions::thorough() });
    all_equal(&roomy);
    all_equal(&tight);
    for (roomy, tight) in roomy.iter().zip(&tight).filter(|(view, _)| view.materialized) {
        assert_eq!((&roomy.digest, roomy.rows, roomy.counts), (&tight.digest, tight.rows, tight.counts));
        // The rows of derived views, and answers of tails, are made in memory.
        assert!(tight.not_covered.iter().all(|what| what.contains("its answers")), "{tight:?}");
    }
}

#[test]
fn what_retention_deleted_comes_from_the_archive() {
    let mut system = System::new(&[("visits.sql", DEFINITIONS)], NOW_MICROS);
    system.set("log.retention", "1 ms");
    system.set("log.segment_bytes", "4096");
    for run in 0..3 {
        system.append("visits", (run * 300..(run + 1) * 300).map(visit).collect());
        system.advance(3_600_000_000);
        system.batch();
    }
    system.append("visits", (900..1000).map(visit).collect());
    let before = verify(&system, &VerifyOptions::default());
    all_equal(&before);
    let deleted = system.delete_archived_segments();
    assert!(deleted > 0, "retention deletes");
    for options in [VerifyOptions::default(), VerifyOptions { random_cuts: 20, ..VerifyOptions::thorough() }] {
        let after = verify(&system, &options);
        all_equal(&after);
        let view = &after[0];
        assert!(view.cuts.iter().any(|cut| cut == "the log's start") && view.complete, "{view:?}");
        assert!(!view.ways.iter().any(|way| way == "speed only"), "{view:?}");
        assert_eq!(view.digest, before[0].digest);
    }
}

#[test]
fn damage_and_wrong_rows_are_told_with_both_values_and_end_with_3() {
    let place = Workplace::with_definitions(&[("visits.sql", DEFINITIONS)]);
    let lines =
        |from: usize, to: usize| -> Vec<u8> { (from..to).flat_map(|i| [visit(i), b"\n".to_vec()].concat()).collect() };
    place.run_with(["append", "visits", "-"], &lines(0, 500)).ok();
    place.run(["batch"]).ok();
    place.run_with(["append", "visits", "-"], &lines(500, 700)).ok();
    let views =
        |out: &str| -> Vec<Value> { out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() };
    let well = views(&place.run(["verify", "--format", "json", "--seed", "4"]).ok());
    assert_eq!(well.len(), 4);
    for view in &well {
        assert_eq!((view["differing"].as_u64(), view["complete"].as_bool()), (Some(0), Some(true)), "{view}");
        assert!(view["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{view}");
    }
    // Another project's rows, whole and with a manifest of their own, in the place of these.
    let other = Workplace::with_definitions(&[("visits.sql", DEFINITIONS)]);
    other.run_with(["append", "visits", "-"], &lines(1, 501)).ok();
    other.run(["batch"]).ok();
    std::fs::remove_dir_all(place.file("store")).expect("it can be removed");
    crate::support::system::copy(&other.file("store"), &place.file("store"));
    let ended = place.run(["verify", "--format", "json"]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.err);
    let found = views(&ended.out);
    let pages = found.iter().find(|view| view["view"] == "pages").expect("it is verified");
    let first = &pages["differences"][0];
    assert!(pages["differing"].as_u64() > Some(0), "{pages}");
    assert!(
        pages["differences"].as_array().expect("a list").iter().any(|difference| {
            difference["way"] == "stored by manifest 1"
                && difference["key"].as_str().is_some_and(|key| key.starts_with("page = p"))
                && difference["expected"].as_str().is_some_and(|value| value.contains("n = "))
                && difference["expected"] != difference["found"]
        }),
        "{first}"
    );
    place.run(["verify"]).fails(3);
}

#[test]
fn a_damaged_file_is_a_difference() {
    let system = history(2, 300);
    let data = system.store_directory().join("data");
    let file =
        walk(&data).into_iter().filter(|path| path.ends_with("groups/hash-00000.parquet")).max().expect("a file");
    let mut bytes = std::fs::read(&file).expect("it can be read");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("it can be written");
    let verified = verify(&system, &VerifyOptions::default());
    let wrong: Vec<&Verified> = verified.iter().filter(|view| !view.is_equal()).collect();
    assert_eq!(wrong.len(), 1, "{verified:?}");
    let told = &wrong[0].differences;
    assert!(
        told.iter().any(|d| d.found.as_ref().is_some_and(|found| found.contains("hash-00000.parquet"))),
        "{told:?}"
    );
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn only_the_views_asked_for_are_checked() {
    let system = history(1, 50);
    let of = |view: &str| -> Vec<String> {
        let options = VerifyOptions { views: vec![view.to_owned()], ..VerifyOptions::default() };
        verify(&system, &options).into_iter().map(|verified| verified.view).collect()
    };
    assert_eq!(of("hours"), ["hours"]);
    assert_eq!(of("ranked"), ["pages", "ranked"]);
    let options = VerifyOptions { views: vec!["nothing".to_owned()], ..VerifyOptions::default() };
    let directory = system.project().directory().to_owned();
    let project = Project::open_with(directory, Registry::new(), &Overrides::default()).expect("it opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(project.verify(&options)).expect_err("there is no such view");
    assert_eq!(error.kind().exit_code(), 2);
}
