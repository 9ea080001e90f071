//! Verification finds what is wrong: it is not a check that cannot fail.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use watershed::{DataType, Project, Registry, Value, VerifyOptions};

const DEFINITION: &str =
    "CREATE MATERIALIZED VIEW calls AS SELECT card, MAX(impure(card)) AS latest FROM payments GROUP BY card;";

#[tokio::test]
async fn a_function_that_is_not_pure_is_found_out() {
    let count = Arc::new(AtomicI64::new(0));
    let registry = Registry::new().scalar("impure", 1, &[DataType::Text], DataType::BigInt, move |_| {
        Ok(Value::Int(count.fetch_add(1, Ordering::Relaxed)))
    });
    let directory = tempfile::tempdir().expect("a directory");
    Project::init(directory.path()).expect("a project");
    std::fs::write(directory.path().join("definitions/impure.sql"), DEFINITION).expect("a definition");
    let project = Project::open(directory.path(), registry).expect("it opens");
    let payment = r#"{"event_id": "1", "ts": "2026-01-01T00:00:30Z", "card": "c1", "amount": 1, "status": "approved"}"#;
    project.append("payments", [payment]).await.expect("it is acknowledged");

    let verified = project.verify(&VerifyOptions::default()).await.expect("it runs");
    let of = |name: &str| verified.iter().find(|v| v.view == name).expect("it is verified");
    assert!(of("card_minute").is_equal(), "{verified:?}");
    let wrong = of("calls");
    assert!(!wrong.is_equal(), "{verified:?}");
    assert!(wrong.differences.iter().all(|difference| difference.key.contains("c1")), "{:?}", wrong.differences);
}
