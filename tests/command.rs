//! The command, as a person or a scheduler uses it.

use serde_json::Value;

use crate::support::command::Workplace;

fn rows(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// A new project, as `init` makes it, with payments in its log.
fn with_payments(count: u32) -> Workplace {
    let place = Workplace::new();
    place.run(["init", "."]).ok();
    let payments = place.run(["datagen", "--count", &count.to_string(), "--start", "2026-03-01T00:00:00Z"]).ok();
    assert_eq!(payments.lines().count() as u32, count);
    place.run_with(["append", "payments", "-"], payments.as_bytes()).ok();
    place
}

#[test]
fn a_new_project_works_as_it_is() {
    let place = with_payments(5_000);
    let views = place.run(["validate", "--format", "json"]).ok();
    let names: Vec<_> = rows(&views).iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names, ["payments", "card_minute", "hot_cards"]);

    let ask = || place.run(["query", "SELECT * FROM card_minute ORDER BY card, window_start", "--format", "json"]).ok();
    let before = ask();
    assert!(rows(&before).len() > 100);
    place.run(["batch"]).ok();
    assert_eq!(ask(), before, "the cut moved, the answer did not");
    place.run(["verify"]).ok();

    let status = place.run(["status", "--format", "json"]).json();
    let source = &status["ledger"]["sources"]["payments"]["counts"];
    let number = |name: &str| source[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"));
    assert_eq!(number("records"), 5_000);
    assert_eq!(number("accepted") + number("dead"), 5_000);

    let dead = rows(&place.run(["dead-letters", "payments", "--format", "json"]).ok());
    assert_eq!(dead.len() as u64, number("dead"));
    assert!(dead.iter().all(|row| row["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
}

#[test]
fn answers_come_as_tables_json_and_csv() {
    let place = with_payments(200);
    let sql = "SELECT COUNT(*) AS cards, SUM(n) AS n FROM card_minute";
    let json = rows(&place.run(["query", sql, "--format", "json"]).ok());
    assert_eq!(json.len(), 1);
    let csv = place.run(["query", sql, "--format", "csv"]).ok();
    assert_eq!(csv.lines().next(), Some("cards,n"));
    assert!(place.run(["query", sql]).ok().contains("(1 row)"));
}

#[test]
fn exit_codes_tell_what_to_do() {
    let place = with_payments(10);
    // 2: a mistake in the arguments, the configuration or a definition.
    place.run(["no-such-command"]).fails(2);
    let message = place.run(["query", "SELECT nothing FROM card_minute"]).fails(2);
    assert!(message.contains("nothing"), "{message}");
    let message = place.run(["query", "SELECT * FROM payments"]).fails(2);
    assert!(message.contains("payments"), "{message}");
    place.run(["append", "no_such_table", "-"]).fails(2);
    let elsewhere = Workplace::new();
    let message = elsewhere.run(["status"]).fails(2);
    assert!(message.contains("watershed init"), "{message}");
    // 4: the answer cannot be had.
    place.run(["query", "SELECT * FROM card_minute", "--as-of", "99"]).fails(4);
    // 1: something failed.
    place.run(["append", "payments", "no-such-file.json"]).fails(1);
}

#[test]
fn init_overwrites_nothing() {
    let place = Workplace::new();
    std::fs::write(place.file("README.md"), "mine").expect("a file");
    place.run(["init", "."]).ok();
    assert_eq!(std::fs::read_to_string(place.file("README.md")).expect("it is still there"), "mine");
    let message = place.run(["init", "."]).fails(2);
    assert!(message.contains("holds a project already"), "{message}");
}

#[test]
fn mistakes_in_definitions_are_shown_in_their_text_all_at_once() {
    let place = with_payments(1);
    let text = "CREATE MATERIALIZED VIEW lottery AS SELECT card, RANDOM() AS r FROM payments;\n\
                CREATE MATERIALIZED VIEW typo AS SELECT crad, COUNT(*) AS n FROM payments GROUP BY crad;\n";
    std::fs::write(place.file("definitions/wrong.sql"), text).expect("a file");
    let message = place.run(["validate"]).fails(2);
    for part in ["wrong.sql", "RANDOM()", "crad", "card"] {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
}

#[test]
fn unknown_keys_of_the_configuration_are_mistakes() {
    let place = with_payments(1);
    place.configure("[speed]\nmax_bites = \"1 MiB\"\n");
    let message = place.run(["status"]).fails(2);
    assert!(message.contains("max_bites"), "{message}");
    place.configure("[speed]\nmax_bytes = \"1 MiB\"\n");
    place.run(["status"]).ok();
    let message = place.run(["status", "--set", "log.pth=/tmp"]).fails(2);
    assert!(message.contains("pth"), "{message}");
    let mut place = place;
    place.environment.push(("WATERSHED__LOG__SEGMENT_BYTES".to_owned(), "1 apple".to_owned()));
    let message = place.run(["status"]).fails(2);
    assert!(message.contains("apple") || message.contains("segment_bytes"), "{message}");
}

#[test]
fn secrets_are_never_printed() {
    let mut place = with_payments(1);
    const SECRET: &str = "hunter2-hunter2-hunter2";
    place.environment.push(("WATERSHED__STORE__ACCESS_KEY_ID".to_owned(), "AKIAHUNTER2".to_owned()));
    place.environment.push(("WATERSHED__STORE__SECRET_ACCESS_KEY".to_owned(), SECRET.to_owned()));
    // A port on which nothing listens.
    place.configure(
        "[store]\nurl = \"s3://bucket/prefix\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"us-east-1\"\npath_style = true\n\
         allow_http = true\nretry_timeout = \"1 second\"\n",
    );
    for arguments in
        [vec!["validate", "--config"], vec!["status"], vec!["batch"], vec!["--log-level", "trace", "batch"]]
    {
        let ended = place.run(&arguments);
        assert!(
            !ended.out.contains(SECRET) && !ended.err.contains(SECRET),
            "{arguments:?} wrote\n{}{}",
            ended.out,
            ended.err
        );
    }
    // The store failed for now: 75.
    place.run(["batch"]).fails(75);
}

#[test]
fn completions_are_made_for_the_usual_shells() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(["completions", shell]).ok();
        assert!(script.contains("dead-letters"), "{shell}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let place = with_payments(2_000);
    let mut query = place.start(["query", "SELECT * FROM card_minute", "--format", "json"]);
    assert!(query.line().is_some());
    let ended = query.close_output();
    assert!(ended.status.success(), "{}", ended.err);
    assert_eq!(ended.err, "");
}
