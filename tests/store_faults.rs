//! The loop on a real S3 server, with a proxy in between that does what networks and overloaded servers do.

use std::{
    collections::BTreeMap,
    sync::{Mutex, Once},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use watershed::{BatchOptions, error::Kind};

use crate::support::{
    command::Workplace,
    fault_proxy::{Asked, Fault, FaultProxy},
    s3::{ACCESS_KEY, S3Server, SECRET_KEY},
    seeds,
    system::System,
    wait,
};

const DEFINITIONS: &str = "
CREATE TABLE payments (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, card TEXT NOT NULL, note TEXT)
WITH (event_time = 'at', partitions = 2, partition_by = 'card');

CREATE MATERIALIZED VIEW cards AS
SELECT card, window_start, COUNT(*) AS n, COUNT(DISTINCT id) AS ids
FROM TUMBLE(payments, at, INTERVAL '1 day')
GROUP BY card, window_start;
";

/// 2026-03-02T00:00:00Z: a day after the events.
const BEGIN_MICROS: i64 = 1_772_409_600_000_000;
/// The bucket of these tests; each has a folder of its own. (To this server every bucket is a set of volumes.)
const BUCKET: &str = "faults";

pub fn payments(ids: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let payment =
        |id: u64| format!(r#"{{"id":{id},"at":"2026-03-01T{:02}:00:00Z","card":"c{}"}}"#, id % 24, id % 7).into_bytes();
    ids.map(payment).collect()
}

fn make_bucket(server: &S3Server) {
    static MADE: Once = Once::new();
    MADE.call_once(|| server.make_bucket(BUCKET));
}

/// A project in this process whose store is behind the proxy, in a folder of the bucket.
pub fn system(server: &S3Server, proxy: &FaultProxy, folder: &str) -> System {
    make_bucket(server);
    let settings = [
        ("store.url", format!("s3://{BUCKET}/{folder}").as_str()),
        ("store.endpoint", proxy.endpoint().as_str()),
        ("store.region", "us-east-1"),
        ("store.path_style", "true"),
        ("store.allow_http", "true"),
        ("store.access_key_id", ACCESS_KEY),
        ("store.secret_access_key", SECRET_KEY),
        ("store.retry_timeout", "20 seconds"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    System::with_settings(&[("payments.sql", DEFINITIONS)], BEGIN_MICROS, settings.into())
}

/// A project of the command whose store is behind the proxy, in a folder of the bucket.
pub fn workplace(server: &S3Server, proxy: &FaultProxy, folder: &str) -> Workplace {
    let mut place = Workplace::with_definitions(&[("payments.sql", DEFINITIONS)]);
    make_bucket(server);
    place.configure(&store_section(proxy, folder, "retry_timeout = \"2 seconds\"\n"));
    place.environment.extend(server.credentials().map(|(name, value)| (name.to_owned(), value.to_owned())));
    place
}

pub fn store_section(proxy: &FaultProxy, folder: &str, more: &str) -> String {
    format!(
        "[store]\nurl = \"s3://{BUCKET}/{folder}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\npath_style = true\n\
         allow_http = true\n{more}",
        proxy.endpoint()
    )
}

/// How many records the views count: all of them, and all different ones.
pub fn counted(system: &System) -> (u64, u64) {
    let (_, rows) = system.ask("SELECT SUM(n) AS n, SUM(ids) AS ids FROM cards");
    let number = |cell: &Option<String>| cell.as_deref().map_or(0, |text| text.parse().expect("a number"));
    (number(&rows[0][0]), number(&rows[0][1]))
}

/// The first request of this kind meets the fault, and so do the next `times - 1`.
fn once(proxy: &FaultProxy, method: &'static str, part: &'static str, times: usize, fault: Fault) {
    let mut left = times;
    proxy.plan(move |asked| {
        let meets = left > 0 && asked.method == method && asked.path.contains(part);
        left -= usize::from(meets);
        meets.then_some(fault)
    });
}

/// One request of a batch run: method, and what its path has in it.
const REQUESTS: [(&str, &str); 9] = [
    ("PUT", "/epochs/"),
    ("PUT", "/manifests/"),
    ("PUT", "/data/"),
    ("PUT", "/archive/"),
    ("GET", "%2Fmanifests"),
    ("GET", "%2Fdata"),
    ("GET", "/manifests/"),
    ("GET", "/data/"),
    ("POST", "?delete"),
];

const FAULTS: [Fault; 14] = [
    Fault::refuse(500, "InternalError"),
    Fault::deny(500, "InternalError"),
    Fault::refuse(503, "SlowDown"),
    Fault::deny(503, "SlowDown"),
    Fault::refuse(429, "TooManyRequests"),
    Fault::Answer { status: 503, code: "SlowDown", retry_after: Some("0"), after_effect: false },
    Fault::refuse(409, "ConditionalRequestConflict"),
    Fault::refuse(412, "PreconditionFailed"),
    Fault::deny(412, "PreconditionFailed"),
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Cut,
    Fault::Short,
    Fault::Long,
];

/// Whether a server may answer so to such a request.
fn happens(method: &str, part: &str, fault: Fault) -> bool {
    let of_creates = matches!(fault, Fault::Answer { status: 409 | 412, .. });
    !of_creates || (method == "PUT" && matches!(part, "/epochs/" | "/manifests/"))
}

#[test]
fn every_fault_at_every_request_is_survived() {
    let Some(server) = S3Server::for_test("every_fault_at_every_request_is_survived") else { return };
    let proxy = FaultProxy::new(server);
    let mut system = system(server, &proxy, "each-fault");
    system.set("batch.keep_manifests", "1");
    system.set("batch.keep_minutes", "0");
    system.append("payments", payments(0..40));
    system.batch();
    let (mut records, mut manifests, mut tried) = (40, 1, 0);
    for (method, part) in REQUESTS {
        for fault in FAULTS {
            if !happens(method, part, fault) {
                continue;
            }
            system.append("payments", payments(records..records + 3));
            records += 3;
            system.advance(60_000_000);
            once(&proxy, method, part, 1, fault);
            let report = system.batch();
            manifests += 1;
            let place = format!("{fault:?} at {method} {part}");
            assert_eq!(report.published, Some(manifests), "{place}");
            assert_eq!(proxy.faults(), 1, "no request met {place}");
            proxy.calm();
            assert_eq!(counted(&system), (records, records), "{place}");
            tried += 1;
        }
    }
    system.verify();
    system.numbers_add_up();
    eprintln!("{tried} faults, each at one request of a batch run; {records} records, {manifests} manifests");
}

#[test]
fn latency_of_seconds_is_waited_for() {
    let Some(server) = S3Server::for_test("latency_of_seconds_is_waited_for") else { return };
    let proxy = FaultProxy::new(server);
    let system = system(server, &proxy, "latency");
    system.append("payments", payments(0..10));
    once(&proxy, "PUT", "/manifests/", 1, Fault::Slow(Duration::from_secs(3)));
    assert_eq!(system.batch().published, Some(1));
    assert_eq!(proxy.faults(), 1);
    assert_eq!(counted(&system), (10, 10));
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone_until_then() {
    let Some(server) = S3Server::for_test("a_server_that_asks_to_wait_is_left_alone_until_then") else { return };
    let proxy = FaultProxy::new(server);
    let system = system(server, &proxy, "retry-after");
    for (number, status) in [(1, 503), (2, 429)] {
        system.append("payments", payments(number * 10..number * 10 + 10));
        let fault = Fault::Answer { status, code: "SlowDown", retry_after: Some("2"), after_effect: false };
        once(&proxy, "PUT", "/manifests/", 1, fault);
        assert_eq!(system.batch().published, Some(number));
        let puts: Vec<Asked> =
            proxy.asked().into_iter().filter(|a| a.method == "PUT" && a.path.contains("/manifests/")).collect();
        assert_eq!(puts.len(), 2);
        let waited = puts[1].at - puts[0].at;
        assert!(waited >= Duration::from_secs(2), "asked again after {waited:?}");
    }
    // Longer than requests are repeated: at once an error that says so, for which there is a later.
    system.append("payments", payments(30..40));
    let fault = Fault::Answer { status: 503, code: "SlowDown", retry_after: Some("3600"), after_effect: false };
    proxy.plan(move |asked| (asked.method == "PUT").then_some(fault));
    let error = system.try_run(system.project().run_batch(&BatchOptions::default())).expect_err("it is not waited for");
    assert_eq!(error.kind(), Kind::Retryable, "{error}");
    assert!(error.to_string().contains("3600 seconds"), "{error}");
    assert_eq!(proxy.faults(), 1, "it was not asked again");
}

/// One of the faults, or a little latency.
fn any_fault(rng: &mut StdRng, asked: &Asked) -> Fault {
    loop {
        if rng.random_bool(0.1) {
            return Fault::Slow(Duration::from_millis(rng.random_range(1..200)));
        }
        let fault = FAULTS[rng.random_range(0..FAULTS.len())];
        let part = if asked.path.contains("/manifests/") { "/manifests/" } else { "" };
        if happens(&asked.method, part, fault) {
            return fault;
        }
    }
}

/// Faults at random, with this share of the requests.
fn rain(proxy: &FaultProxy, seed: u64, share: f64) {
    let mut rng = StdRng::seed_from_u64(seed);
    proxy.plan(move |asked| rng.random_bool(share).then(|| any_fault(&mut rng, asked)));
}

#[test]
fn under_a_rain_of_faults_nothing_is_lost_or_counted_twice() {
    let Some(server) = S3Server::for_test("under_a_rain_of_faults_nothing_is_lost_or_counted_twice") else { return };
    let proxy = FaultProxy::new(server);
    let tally = Mutex::new((0, 0, 0));
    seeds::each(4, |seed| {
        let mut system = system(server, &proxy, &format!("rain-{seed}"));
        let (mut records, mut published) = (0, Vec::new());
        for round in 0..6 {
            system.append("payments", payments(records..records + 20));
            records += 20;
            system.advance(60_000_000);
            rain(&proxy, seed << 8 | round, 0.25);
            match system.try_run(system.project().run_batch(&BatchOptions::default())) {
                Ok(report) => published.extend(report.published),
                // What may pass is told as such; nothing else comes of it.
                Err(error) => assert_eq!(error.kind(), Kind::Retryable, "seed {seed}: {error}"),
            }
            let answered = system.try_run(system.project().query("SELECT SUM(n) AS n FROM cards"));
            if let Err(error) = answered {
                assert_eq!(error.kind(), Kind::Retryable, "seed {seed}: {error}");
            }
            let mut tally = tally.lock().expect("no panic yet");
            *tally = (tally.0 + proxy.asked().len(), tally.1 + proxy.faults(), tally.2);
            drop(tally);
            proxy.calm();
            assert_eq!(counted(&system), (records, records), "seed {seed}, round {round}");
        }
        let mut once = published.clone();
        once.dedup();
        assert_eq!(once, published, "each number is published once");
        system.batch();
        system.verify();
        tally.lock().expect("no panic yet").2 += published.len();
    });
    let (requests, faults, published) = tally.into_inner().expect("no panic");
    eprintln!("{requests} requests, {faults} of them with a fault; {published} manifests");
    assert!(faults > 0);
}

#[test]
fn of_processes_that_race_under_faults_each_number_has_one_winner() {
    let Some(server) = S3Server::for_test("of_processes_that_race_under_faults_each_number_has_one_winner") else {
        return;
    };
    let proxy = FaultProxy::new(server);
    let tally: Mutex<BTreeMap<String, u64>> = Mutex::default();
    seeds::each(6, |seed| {
        let place = workplace(server, &proxy, &format!("race-{seed}"));
        let mut records = 0;
        let mut winners: BTreeMap<u64, u64> = BTreeMap::new();
        for round in 0..2 {
            let lines = payments(records..records + 50).join(&b'\n');
            records += 50;
            proxy.calm();
            place.run_with(["append", "payments", "-"], &lines).ok();
            place.run(["epoch"]).ok();
            // Most faults hit what commits.
            let mut rng = StdRng::seed_from_u64(seed << 8 | round);
            proxy.plan(move |asked| {
                let share = if asked.method == "PUT" && asked.path.contains("/manifests/") { 0.6 } else { 0.08 };
                rng.random_bool(share).then(|| any_fault(&mut rng, asked))
            });
            let racers: Vec<_> = (0..2 + seed % 2).map(|_| place.start(["batch", "--format", "json"])).collect();
            for racer in racers {
                let ended = racer.wait();
                let code = ended.status.code().expect("it was not killed");
                // Published or nothing to do; lost the race; the store failed for now.
                assert!(matches!(code, 0 | 5 | 75), "{code}: {}", ended.err);
                *tally.lock().expect("no panic yet").entry(format!("exit code {code}")).or_default() += 1;
                if code == 0 {
                    let report: Value = serde_json::from_str(&ended.out).expect("a report");
                    if let Some(number) = report["published"].as_u64() {
                        *winners.entry(number).or_default() += 1;
                    }
                }
            }
            *tally.lock().expect("no panic yet").entry("faults".to_owned()).or_default() += proxy.faults() as u64;
        }
        assert!(winners.values().all(|told| *told == 1), "{winners:?}");
        proxy.calm();
        place.run(["batch"]).ok();
        let sum = place.run(["query", "SELECT SUM(n) AS n, SUM(ids) AS ids FROM cards", "--format", "json"]).json();
        assert_eq!((sum["n"].as_u64(), sum["ids"].as_u64()), (Some(records), Some(records)), "{sum}");
        place.run(["verify"]).ok();
    });
    eprintln!("{:?}", tally.lock().expect("no panic"));
}

#[test]
fn errors_of_the_store_say_what_to_do_and_whether_to_try_again() {
    let Some(server) = S3Server::for_test("errors_of_the_store_say_what_to_do_and_whether_to_try_again") else {
        return;
    };
    let proxy = FaultProxy::new(server);
    let place = workplace(server, &proxy, "errors");
    place.run_with(["append", "payments", "-"], &payments(0..20).join(&b'\n')).ok();
    place.run(["batch"]).ok();
    let bounded = |of: &str| {
        let mut by_path: BTreeMap<String, usize> = BTreeMap::new();
        for asked in proxy.asked() {
            *by_path.entry(format!("{} {}", asked.method, asked.path)).or_default() += 1;
        }
        // Six times again, in each of three tries to create.
        assert!(by_path.values().all(|times| *times <= 21), "{of}: {by_path:?}");
    };
    for (status, code, exit, word) in [
        (400, "ExpiredToken", 2, "renew"),
        (403, "AccessDenied", 2, "policies"),
        (403, "InvalidAccessKeyId", 2, "access_key_id"),
        (403, "SignatureDoesNotMatch", 2, "secret_access_key"),
        (404, "NoSuchBucket", 2, "create the bucket"),
        (301, "PermanentRedirect", 2, "region"),
        (403, "RequestTimeTooSkewed", 75, "clock"),
        (429, "TooManyRequests", 75, "fewer requests"),
        (503, "SlowDown", 75, "fewer requests"),
        (500, "InternalError", 75, "later"),
    ] {
        for method in ["GET", "PUT"] {
            place.run_with(["append", "payments", "-"], &payments(20..22).join(&b'\n')).ok();
            proxy.plan(move |asked| (asked.method == method).then_some(Fault::refuse(status, code)));
            let message = place.run(["batch"]).fails(exit);
            assert!(message.contains(word), "{code} at {method}: {message}");
            assert!(message.contains("/faults/errors/") || message.contains("/faults?"), "the bucket: {message}");
            assert!(!message.contains(SECRET_KEY), "{message}");
            bounded(code);
            proxy.calm();
        }
    }
    // A server that does not answer at all.
    place.configure(&store_section(&proxy, "errors", "retry_timeout = \"1 second\"\nrequest_timeout = \"1 second\"\n"));
    proxy.plan(|_| Some(Fault::Hang));
    let message = place.run(["batch"]).fails(75);
    assert!(message.contains("later"), "{message}");
    bounded("no answer");
    // And none of it did any harm.
    proxy.calm();
    place.configure(&store_section(&proxy, "errors", ""));
    place.run(["batch"]).ok();
    place.run(["verify"]).ok();
}

/// Records that make a file of the archive larger than one part of an upload: they do not compress well.
fn large(ids: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(ids.start);
    ids.map(|id| {
        let note: String = (0..500_000).map(|_| char::from(rng.random_range(b'#'..=b'Z'))).collect();
        format!(r#"{{"id":{id},"at":"2026-03-01T00:00:00Z","card":"c0","note":{}}}"#, Value::String(note)).into_bytes()
    })
    .collect()
}

#[test]
fn uploads_in_parts_are_whole_or_not_there() {
    let Some(server) = S3Server::for_test("uploads_in_parts_are_whole_or_not_there") else { return };
    let proxy = FaultProxy::new(server);
    let mut system = system(server, &proxy, "parts");
    let mut records = 0;
    let faults = [
        ("POST", "?uploads", Fault::deny(503, "SlowDown")),
        ("POST", "?uploads", Fault::Cut),
        ("PUT", "partNumber=2", Fault::refuse(503, "SlowDown")),
        ("PUT", "partNumber=1", Fault::ResetAfter),
        ("POST", "?uploadId", Fault::refuse(500, "InternalError")),
        ("POST", "?uploadId", Fault::deny(500, "InternalError")),
        ("POST", "?uploadId", Fault::ResetAfter),
        ("POST", "?uploadId", Fault::Cut),
    ];
    for (number, (method, part, fault)) in (1..).zip(faults) {
        system.append("payments", large(records..records + 48));
        records += 48;
        system.advance(60_000_000);
        once(&proxy, method, part, 1, fault);
        assert_eq!(system.batch().published, Some(number), "{fault:?} at {method} {part}");
        assert_eq!(proxy.faults(), 1, "no request met {fault:?} at {method} {part}");
        proxy.calm();
        assert_eq!(counted(&system), (records, records));
    }
    // One part that never arrives: the upload is given up, the run fails, and nothing of it is seen.
    system.append("payments", large(records..records + 48));
    records += 48;
    system.set("store.retry_timeout", "1 second");
    proxy.plan(|asked| asked.path.contains("partNumber=2").then_some(Fault::refuse(503, "SlowDown")));
    let error = system.try_run(system.project().run_batch(&BatchOptions::default())).expect_err("a part is missing");
    assert_eq!(error.kind(), Kind::Retryable, "{error}");
    let given_up = |asked: &Asked| asked.method == "DELETE" && asked.path.contains("uploadId");
    assert!(proxy.asked().iter().any(given_up), "the upload was given up");
    proxy.calm();
    assert_eq!(counted(&system), (records, records));
    let report = system.batch();
    assert_eq!(report.published, Some(faults.len() as u64 + 1));
    assert_eq!(system.archived("payments").len() as u64, records);
    system.verify();
}

#[test]
fn an_upload_that_a_killed_process_leaves_does_no_harm() {
    let Some(server) = S3Server::for_test("an_upload_that_a_killed_process_leaves_does_no_harm") else { return };
    let proxy = FaultProxy::new(server);
    let place = workplace(server, &proxy, "left-behind");
    place.run_with(["append", "payments", "-"], &large(0..48).join(&b'\n')).ok();
    proxy.plan(|asked| asked.path.contains("partNumber=2").then_some(Fault::Hang));
    let batch = place.start(["batch"]);
    wait::until("the second part", || (proxy.faults() > 0).then_some(()));
    drop(batch.kill());
    proxy.calm();
    place.run(["batch"]).ok();
    place.run(["gc"]).ok();
    let sum = place.run(["query", "SELECT SUM(n) AS n FROM cards", "--format", "json"]).json();
    assert_eq!(sum["n"].as_u64(), Some(48));
    place.run(["verify"]).ok();
}
