//! A soak: records at a rate, epochs, batch runs, queries, garbage collection and retention, for as long as one likes.

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    books, down,
    memory::{Limits, files_below, open_files, resident_mib},
    one,
    plot::Chart,
    status, up,
};
use crate::support::{
    command::{Running, Workplace},
    wait,
};

const DEFINITIONS: &str = "
CREATE TABLE events (at TIMESTAMP NOT NULL, id BIGINT NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), score DOUBLE)
WITH (event_time = 'at', partitions = 4, partition_by = 'card');

CREATE MATERIALIZED VIEW minutes AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, AVG(score) AS score
FROM TUMBLE(events, at, INTERVAL '1 minute') GROUP BY card, window_start;

CREATE MATERIALIZED VIEW cards AS
SELECT card, COUNT(*) AS n, SUM(amount) AS total, MAX(id) AS latest, APPROX_COUNT_DISTINCT(id) AS ids FROM events GROUP BY card;

CREATE VIEW busy AS SELECT card, n, total FROM cards WHERE n > 10;
";

const LIMITS: Limits = Limits { views: 2, view: 64, step: 8, batch: 64, producers: 1 };

/// What is done, and how often.
struct Plan {
    rounds: u64,
    /// Records of a round.
    records: u64,
    /// Rounds between batch runs.
    batch_every: u64,
    /// How long a round lasts at least; in it, nothing more is done.
    pace: Duration,
}

/// What was seen after a round.
struct Sample {
    minutes: f64,
    resident_mib: f64,
    open_files: f64,
    log_files: f64,
    store_files: f64,
    live_mib: f64,
}

/// Record `i`: a thousand cards, event times that move on with `i` and are late now and then.
fn event(i: u64) -> String {
    let second = i / 50;
    let late = if i.is_multiple_of(101) { 90 } else { 0 };
    let second = (second + 100 - late) % 86_400;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{{\"at\":\"2026-03-01T{hour:02}:{minute:02}:{:02}Z\",\"id\":{i},\"card\":\"c{}\",\"amount\":{}.50,\"score\":{}.1}}\n",
        second % 60,
        i * 7 % 1000,
        i % 500,
        i % 10
    )
}

fn soak(plan: &Plan) -> Vec<Sample> {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(&format!(
        "{}keep_manifests = 2\nkeep_minutes = 0\n\n[epochs]\nevery = \"500 ms\"\n\n[log]\nsegment_bytes = \"256 KiB\"\nretention = \"1 ms\"\n",
        LIMITS.sections()
    ));
    let running = up(&place);
    let mut producer = place.start(["append", "events", "-", "--no-check", "--ack", "--format", "json"]);
    let mut input = producer.take_input();
    let begun = Instant::now();
    let mut samples = Vec::new();
    for round in 1..=plan.rounds {
        let round_begun = Instant::now();
        let lines: String = ((round - 1) * plan.records..round * plan.records).map(event).collect();
        input.write_all(lines.as_bytes()).and_then(|()| input.flush()).expect("the producer reads");
        acknowledged(&mut producer, round * plan.records);
        if round % plan.batch_every == 0 {
            place.run(["batch"]).ok();
            place.run(["gc"]).ok();
        }
        let row = one(&place, "SELECT SUM(n) AS n FROM cards");
        assert_eq!(row["n"].as_u64(), Some(round * plan.records), "round {round}");
        assert!(one(&place, "SELECT COUNT(*) AS busy FROM busy")["busy"].is_u64());
        samples.push(sample(&place, running.id(), begun.elapsed()));
        while let Some(left) = plan.pace.checked_sub(round_begun.elapsed()) {
            thread::park_timeout(left);
        }
    }
    producer.close_input();
    drop(input);
    assert!(producer.wait().status.success());
    LIMITS
        .check_up(&format!("a soak of {} records in {} rounds", plan.rounds * plan.records, plan.rounds), running.id());
    down(running);
    books(&place, "events", plan.rounds * plan.records);
    place.run(["verify"]).ok();
    samples
}

fn acknowledged(producer: &mut Running, records: u64) {
    wait::until("acknowledgements", || {
        let line = producer.line().unwrap_or_else(|| panic!("the producer ended: {}", producer.errors()));
        let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        (told["acknowledged"].as_u64() >= Some(records)).then_some(())
    });
}

fn sample(place: &Workplace, pid: u32, elapsed: Duration) -> Sample {
    let status = status(place);
    let live: u64 =
        status["views"].as_array().expect("a list").iter().filter_map(|view| view["live_bytes"].as_u64()).sum();
    Sample {
        minutes: elapsed.as_secs_f64() / 60.0,
        resident_mib: resident_mib(pid).expect("up runs"),
        open_files: open_files(pid) as f64,
        log_files: files_below(&place.file("log")) as f64,
        store_files: files_below(&place.file("store")) as f64,
        live_mib: live as f64 / f64::from(1 << 20),
    }
}

/// The median of a part of the samples.
fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What grows with the records, where it must not, grows from the second third to the last.
fn check(samples: &[Sample]) {
    let third = samples.len() / 3;
    let (middle, end) = (&samples[third..2 * third], &samples[2 * third..]);
    let growth = |name: &str, of: fn(&Sample) -> f64, slack: f64| {
        let (before, after) = (median(middle, of), median(end, of));
        eprintln!("soak: {name}: {before:.1} in the middle, {after:.1} at the end");
        assert!(after <= before * 1.25 + slack, "{name} grew from {before:.1} to {after:.1}");
    };
    growth("resident memory (MiB)", |sample| sample.resident_mib, 24.0);
    growth("open files", |sample| sample.open_files, 8.0);
    growth("files in the log", |sample| sample.log_files, 8.0);
    growth("files in the store", |sample| sample.store_files, 8.0);
}

fn picture(samples: &[Sample]) -> String {
    let x: Vec<f64> = samples.iter().map(|sample| sample.minutes).collect();
    let line = |of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<f64>>();
    let mut chart = Chart::new("minutes", &x);
    chart.panel("resident memory of `up`, MiB", &line(|s| s.resident_mib));
    chart.panel("live part of the views, MiB", &line(|s| s.live_mib));
    chart.panel("open files of `up`", &line(|s| s.open_files));
    chart.panel("files in the log", &line(|s| s.log_files));
    chart.panel("files in the store", &line(|s| s.store_files));
    chart.svg()
}

#[test]
fn a_short_soak_grows_nowhere() {
    let samples = soak(&Plan { rounds: 18, records: 2_000, batch_every: 3, pace: Duration::ZERO });
    check(&samples);
    let svg = picture(&samples);
    assert!(svg.starts_with("<svg") && svg.matches("<polyline").count() == 5, "{svg}");
}

/// `WATERSHED_SOAK_MINUTES` (120) and `WATERSHED_SOAK_PICTURE` (`soak.svg` in the folder of temporary files of the target).
#[test]
#[ignore = "takes two hours, or as long as one says"]
fn two_hours() {
    let minutes = env::var("WATERSHED_SOAK_MINUTES").map_or(120, |text| text.parse().expect("a number of minutes"));
    let pace = Duration::from_secs(2);
    let rounds = minutes * 60 / pace.as_secs();
    // About 1,000 records a second, and a batch run each minute.
    let samples = soak(&Plan { rounds, records: 2_000, batch_every: 30, pace });
    let default = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak.svg");
    let file = env::var_os("WATERSHED_SOAK_PICTURE").map_or_else(default, PathBuf::from);
    fs::write(&file, picture(&samples)).expect("it can be written");
    eprintln!("soak: {} samples over {minutes} minutes; {}", samples.len(), file.display());
    check(&samples);
}
