//! Verification finds what is wrong: it is not a check that cannot fail.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use watershed::{BatchOptions, DataType, Project, Registry, Value, VerifyOptions};

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

/// A function whose answer depends on when it is called, until it is mended.
#[derive(Default)]
struct Impure {
    calls: AtomicI64,
    mended: AtomicBool,
}

/// A project with a view that calls it.
fn impure_project(directory: &Path, impure: &Arc<Impure>) -> Project {
    let impure = Arc::clone(impure);
    let registry = Registry::new().scalar("impure", 1, &[DataType::Text], DataType::BigInt, move |_| {
        let called = impure.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Value::Int(if impure.mended.load(Ordering::SeqCst) { 0 } else { called }))
    });
    if !directory.join("watershed.toml").exists() {
        Project::init(directory).expect("a project");
        std::fs::write(directory.join("definitions/impure.sql"), DEFINITION).expect("a definition");
    }
    Project::open(directory, registry).expect("it opens")
}

/// Runs `up` in this process while `work` goes on in another handle, which stands for another process.
async fn beside_up(project: &Project, work: impl Future<Output = ()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel::<()>();
    let service = project.clone();
    let up = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        service.up(stopped, || ready.send(()).expect("it is waited for")).await
    });
    is_ready.await.expect("up begins");
    work.await;
    stop.send(()).expect("up goes on");
    up.await.expect("no panic").expect("up ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_run_beside_up_that_differs_publishes_nothing() {
    let (directory, impure) = (tempfile::tempdir().expect("a directory"), Arc::new(Impure::default()));
    let (running, other) = (impure_project(directory.path(), &impure), impure_project(directory.path(), &impure));
    let payment = |card: &str| {
        format!(
            r#"{{"event_id": "1", "ts": "2026-01-01T00:00:30Z", "card": "{card}", "amount": 1, "status": "approved"}}"#
        )
    };
    beside_up(&running, async {
        let payments: Vec<String> = (0..40).map(|card| payment(&format!("c{card}"))).collect();
        other.append("payments", payments).await.expect("they are acknowledged");
        let ask = || other.query("SELECT card, n FROM card_minute ORDER BY card");
        let before: Vec<_> = ask().await.expect("an answer").rows().collect();
        let failed = other.run_batch(&BatchOptions::default()).await.expect_err("the gate is shut");
        assert_eq!(failed.kind().exit_code(), 3, "{failed}");
        let message = failed.to_string();
        assert!(message.contains("calls: card = c") && message.contains("latest = "), "{message}");
        // Twenty keys are named, and how many there are.
        assert_eq!(message.matches("calls: card = c").count(), 20, "{message}");
        assert!(!message.contains("card_minute"), "the pure view does not differ: {message}");
        assert_eq!(other.store().expect("a store").latest_manifest().expect("it can be read"), None);
        assert_eq!(ask().await.expect("an answer").rows().collect::<Vec<_>>(), before);
    })
    .await;
    impure.mended.store(true, Ordering::SeqCst);
    beside_up(&running, async {
        let report = other.run_batch(&BatchOptions::default()).await.expect("the gate opens");
        assert_eq!(report.published, Some(1));
        let parity = report.parity.expect("it was compared");
        assert!(!parity.differs() && parity.views["calls"].partitions > 0, "{parity:?}");
    })
    .await;
}
