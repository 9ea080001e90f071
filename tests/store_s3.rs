//! The loop with its store on a real S3 server.

use serde_json::Value;

use crate::support::{command::Workplace, s3::S3Server};

fn on_server(server: &S3Server, bucket: &str) -> Workplace {
    let mut place = Workplace::new();
    place.run(["init", "."]).ok();
    server.make_bucket(bucket);
    place.configure(&server.store_section(bucket));
    place.environment.extend(server.credentials().map(|(name, value)| (name.to_owned(), value.to_owned())));
    place
}

fn append(place: &Workplace, seed: u32) {
    let start = format!("2026-03-0{seed}T00:00:00Z");
    let payments = place.run(["datagen", "--count", "3000", "--seed", &seed.to_string(), "--start", &start]).ok();
    place.run_with(["append", "payments", "-"], payments.as_bytes()).ok();
}

fn ask(place: &Workplace) -> String {
    place.run(["query", "SELECT * FROM card_minute ORDER BY card, window_start", "--format", "json"]).ok()
}

#[test]
fn loop_on_s3() {
    let Some(server) = S3Server::for_test("loop_on_s3") else { return };
    let place = on_server(server, "loop");
    for seed in 1..=3 {
        append(&place, seed);
        let before = ask(&place);
        place.run(["batch"]).ok();
        assert_eq!(ask(&place), before);
        assert!(!place.file("store").exists(), "nothing of the store is on the local disk");
    }
    place.run(["verify"]).ok();
    let before = ask(&place);
    place.run(["batch", "--full"]).ok();
    assert_eq!(ask(&place), before);
    place.run(["gc"]).ok();
    assert_eq!(ask(&place), before);
}

#[test]
fn of_batch_runs_at_the_same_time_each_number_is_published_once_on_s3() {
    let Some(server) = S3Server::for_test("of_batch_runs_at_the_same_time_each_number_is_published_once_on_s3") else {
        return;
    };
    let place = on_server(server, "races");
    append(&place, 1);
    let before = ask(&place);
    let runs: Vec<_> = (0..4).map(|_| place.start(["batch"])).collect();
    let codes: Vec<_> = runs.into_iter().map(|run| run.wait().status.code()).collect();
    // Each publishes, finds that there is nothing to do, or is told that another run is under way.
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}");
    assert_eq!(ask(&place), before);
    place.run(["verify"]).ok();
    let status: Value = place.run(["status", "--format", "json"]).json();
    assert!(status["manifest"].as_u64().is_some_and(|manifest| (1..=4).contains(&manifest)), "{status}");
}

#[test]
fn what_the_configuration_gets_wrong_on_s3_is_not_tried_again_and_again() {
    let Some(server) = S3Server::for_test("what_the_configuration_gets_wrong_on_s3_is_not_tried_again_and_again")
    else {
        return;
    };
    let mut place = on_server(server, "mistakes");
    append(&place, 1);
    place.configure(&server.store_section("no-such-bucket"));
    let message = place.run(["query", "SELECT * FROM card_minute"]).fails(2);
    assert!(message.contains("NoSuchBucket"), "{message}");

    place.configure(&server.store_section("mistakes"));
    const WRONG: &str = "not-the-secret-41c7";
    place.environment.push(("WATERSHED__STORE__SECRET_ACCESS_KEY".to_owned(), WRONG.to_owned()));
    let message = place.run(["batch"]).fails(2);
    assert!(!message.contains(WRONG), "{message}");
}
