//! Limits on what a query and a definition may take: one hostile query must not take down the process that serves others.

use crate::support::{
    command::{Running, Workplace},
    wait,
};

/// Keys of the view, and so rows.
const KEYS: usize = 20_000;
/// The whole process that answers may have so much address space (KiB): a query that is not stopped would soon want more.
const ADDRESS_SPACE_KIB: u64 = 12 << 20;
/// What `up` may hold in memory at most (KiB), with four queries at a time of 64 MiB each.
const RESIDENT_KIB: u64 = 1 << 20;

const DEFINITIONS: &str = "
CREATE TABLE events (at TIMESTAMP NOT NULL, k TEXT NOT NULL, v BIGINT, note TEXT) WITH (event_time = 'at', partition_by = 'k');

CREATE MATERIALIZED VIEW m AS SELECT k, COUNT(*) AS n, MAX(note) AS note, SUM(v) AS v FROM events GROUP BY k;

-- Ten thousand windows hold each record.
CREATE MATERIALIZED VIEW wide AS
SELECT k, window_start, COUNT(*) AS n FROM HOP(events, at, INTERVAL '1 second', INTERVAL '10000 seconds') GROUP BY k, window_start;
";

pub(super) fn place() -> Workplace {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(
        "[query]\nmax_rows = 50000\nmax_bytes = \"64 MiB\"\ntimeout = \"20 seconds\"\nconcurrent = 4\n\
         [batch]\nschedule = \"\"\n",
    );
    let records: String = (0..KEYS)
        .map(|i| {
            let note = "x".repeat(100);
            format!("{{\"at\":\"2026-03-01T{:02}:00:00Z\",\"k\":\"key-{i}\",\"v\":{i},\"note\":\"{note}\"}}\n", i % 24)
        })
        .collect();
    place.run_with(["append", "events", "-"], records.as_bytes()).ok();
    place.run(["batch"]).ok();
    place
}

/// `watershed up` that cannot take the machine with it.
pub(super) fn up(place: &Workplace) -> Running {
    let binary = env!("CARGO_BIN_EXE_watershed");
    let line = format!("ulimit -v {ADDRESS_SPACE_KIB}; exec {binary} up");
    let mut up = place.start_program("sh", ["-c", &line]);
    wait::until("up to answer", || {
        assert!(up.is_running(), "{}", up.errors());
        place.run(["status", "--format", "json"]).json()["pid"].as_u64()
    });
    up
}

/// Most memory that a process has held so far, in KiB.
pub(super) fn resident_most_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux tells of its processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("with their memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
}

/// Queries that would take all memory or all time, each in its own way.
fn explosions() -> Vec<(&'static str, String)> {
    // Each step is made of the one before it.
    let nested = |step: &str, times: usize, first: &str| {
        let steps = (0..times).map(|i| format!(", a{} AS (SELECT {step} AS s FROM a{i})", i + 1));
        format!("WITH a0 AS ({first}){} SELECT s FROM a{times}", steps.collect::<String>())
    };
    let x = "x".repeat(1000);
    vec![
        ("a product", "SELECT a.k FROM m a CROSS JOIN m b".to_owned()),
        ("a product of three", "SELECT COUNT(*) AS c FROM m a CROSS JOIN m b CROSS JOIN m c".to_owned()),
        ("a join on a key that all have", "SELECT SUM(a.v + b.v) AS s FROM m a JOIN m b ON a.n = b.n".to_owned()),
        ("a join that compares", "SELECT a.k FROM m a JOIN m b ON a.v < b.v".to_owned()),
        ("a product, sorted", "SELECT a.k FROM m a CROSS JOIN m b ORDER BY b.note, a.k LIMIT 1".to_owned()),
        ("a product, distinct", "SELECT DISTINCT a.k, b.k AS l FROM m a CROSS JOIN m b".to_owned()),
        ("an outer join on NULLIF", "SELECT a.k FROM m a FULL JOIN m b ON a.n = b.n".to_owned()),
        (
            "a product, ranked",
            "SELECT a.k, ROW_NUMBER() OVER (ORDER BY b.note) AS r FROM m a CROSS JOIN m b".to_owned(),
        ),
        ("sixteen times as many rows", vec!["SELECT * FROM m"; 16].join(" UNION ALL ")),
        ("a text that doubles", nested("s || s", 30, "SELECT note AS s FROM m")),
        ("a text that grows from one row", nested("s || s || s || s", 25, "SELECT 'x' AS s")),
        ("a replacement of each by many", nested(&format!("REPLACE(s, 'x', '{x}')"), 4, "SELECT note AS s FROM m")),
        (
            "a match many times",
            nested(&format!("REGEXP_REPLACE(s, '.+', '{}')", "$0".repeat(500)), 4, "SELECT note AS s FROM m"),
        ),
        ("windows without end", "SELECT COUNT(*) AS c FROM wide".to_owned()),
    ]
}

#[test]
fn a_hostile_query_ends_with_an_error_and_up_goes_on() {
    let place = place();
    let mut up = up(&place);
    let tried = explosions();
    for (name, sql) in &tried {
        let message = place.run(["query", sql]).fails(4);
        assert!(message.contains("query.max_bytes") || message.contains("query.timeout"), "{name}: {message}");
        assert!(up.is_running(), "{name}: {}", up.errors());
    }
    // All at once, and an honest question among them.
    let many: Vec<_> = tried.iter().map(|(_, sql)| place.start(["query", sql])).collect();
    let answer = place.run(["query", "SELECT COUNT(*) AS c, SUM(n) AS n FROM m", "--format", "json"]).ok();
    assert_eq!(answer.trim(), format!("{{\"c\":{KEYS},\"n\":{KEYS}}}"));
    for query in many {
        query.wait().fails(4);
    }
    assert!(up.is_running(), "{}", up.errors());
    let most = resident_most_kib(up.id());
    eprintln!("hostile queries: {} tried alone and at once; up held {} MiB at most", tried.len(), most >> 10);
    assert!(most < RESIDENT_KIB, "up held {most} KiB");
    up.signal("TERM");
    assert_eq!(up.wait().status.code(), Some(0));
}

#[test]
fn limits_can_be_lowered_by_anyone_and_raised_in_ones_own_process_only() {
    let place = place();
    let all = |flags: &[&str]| {
        let arguments = ["query", "SELECT k FROM m UNION ALL SELECT k FROM m UNION ALL SELECT k FROM m"];
        place.run(arguments.iter().chain(flags))
    };
    let some = |flags: &[&str]| place.run(["query", "SELECT k FROM m", "--format", "csv"].iter().chain(flags));
    let check = |has_up: bool| {
        assert_eq!(some(&[]).ok().lines().count(), KEYS + 1);
        assert!(some(&["--max-rows", "19999"]).fails(4).contains("more than 19999 rows"));
        assert_eq!(some(&["--max-rows", "20000"]).ok().lines().count(), KEYS + 1);
        assert!(some(&["--max-bytes", "100 KiB"]).fails(4).contains("102400 bytes"));
        assert!(some(&["--timeout", "0 s"]).fails(4).contains("query.timeout"));
        assert!(all(&[]).fails(4).contains("query.max_rows"));
        let raised = all(&["--max-rows", "60000"]);
        if has_up { drop(raised.fails(4)) } else { drop(raised.ok()) }
    };
    check(false);
    let up = up(&place);
    check(true);
    // What is configured wins over what stands in the file, as everywhere.
    assert!(place.run(["--set", "query.max_rows=0", "validate"]).ok().contains('m'));
    place.run(["--set", "query.concurrent=0", "validate"]).fails(2);
    drop(up);
}

/// Texts that planning refuses, and what the message says.
fn refused_texts() -> Vec<(String, &'static str)> {
    let chain = |op: &str, count: usize| vec!["n"; count].join(op);
    let patterns = |count: usize| -> String {
        (0..count).map(|i| format!("REGEXP_LIKE(k, 'a{i}') AS c{i}")).collect::<Vec<_>>().join(", ")
    };
    vec![
        (format!("SELECT {}n{} FROM m", "(".repeat(5000), ")".repeat(5000)), "nested"),
        (format!("SELECT {} n FROM m", "NOT ".repeat(5000)), "NOT"),
        (format!("SELECT {} FROM m", chain(" + ", 5000)), "chain"),
        (format!("SELECT {} FROM m", chain(", ", 11_000)), "words"),
        (format!("SELECT {} FROM m", chain(", ", 2000)), "columns"),
        (format!("SELECT * FROM {}m{}", "(SELECT * FROM ".repeat(400), ")".repeat(400)), ""),
        (format!("SELECT '{}' AS s", "x".repeat(2 << 20)), "bytes"),
        (format!("SELECT {} FROM m", patterns(17)), "regular expressions"),
        ("SELECT k FROM m WHERE REGEXP_LIKE(k, '(((a{1000}){1000}){1000}){1000}')".to_owned(), "regular expression"),
        ("SELECT k FROM m WHERE REGEXP_LIKE(k, '\\pL{1000}')".to_owned(), "regular expression"),
        (vec!["SELECT k FROM m"; 300].join(" UNION ALL "), "chain"),
    ]
}

#[test]
fn texts_that_cannot_be_planned_within_bounds_are_refused() {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    let refused = refused_texts();
    for (sql, says) in &refused {
        let start = &sql[..sql.len().min(60)];
        let message = place.run_with(["query", "-"], sql.as_bytes()).fails(2);
        assert!(message.contains(says), "{start} …: {}", &message[..message.len().min(500)]);
    }
    // Long, but of a kind that people write.
    let list: Vec<String> = (0..5000).map(|i| format!("'key-{i}'")).collect();
    place.run_with(["query", "-"], format!("SELECT k FROM m WHERE k IN ({})", list.join(", ")).as_bytes()).ok();

    let columns = |count: usize| -> String { (0..count).map(|i| format!("c{i} INT")).collect::<Vec<_>>().join(", ") };
    let mut definitions = vec![
        (format!("CREATE TABLE t ({});", columns(1025)), "columns"),
        ((0..5).map(|i| format!("CREATE TABLE t{i} (a INT) WITH (partitions = 4096);")).collect(), "partitions"),
        ("CREATE VIEW v AS SELECT 1 AS a;".repeat(5000), "statements"),
        (format!("CREATE VIEW v AS SELECT '{}' AS a;", "x".repeat(2 << 20)), "bytes"),
        (
            "CREATE TABLE t (at TIMESTAMP NOT NULL) WITH (event_time = 'at');\nCREATE MATERIALIZED VIEW w AS SELECT window_start, \
             COUNT(*) AS n FROM HOP(t, at, INTERVAL '1 millisecond', INTERVAL '1 hour') GROUP BY window_start;"
                .to_owned(),
            "parts",
        ),
    ];
    let doubled: String = (1..60)
        .map(|i| format!("CREATE VIEW v{i} AS SELECT a.k FROM v{} a JOIN v{} b USING (k);", i - 1, i - 1))
        .collect();
    definitions.push((format!("{DEFINITIONS} CREATE VIEW v0 AS SELECT k FROM m; {doubled}"), "the plan has grown"));
    for (text, says) in &definitions {
        let place = Workplace::with_definitions(&[("hostile.sql", text)]);
        let message = place.run(["validate"]).fails(2);
        assert!(message.contains(says), "{} …: {}", &text[..60], &message[..message.len().min(500)]);
    }
    eprintln!("hostile texts: {} queries and {} definitions refused", refused.len(), definitions.len());
}
