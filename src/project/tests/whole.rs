//! The whole way: init, append, batch, query, verify; alone, and beside a running speed layer.

use tokio::sync::oneshot;

use super::super::*;
use crate::datagen::{Payments, Settings};

const TOTALS: &str = "SELECT COUNT(*) AS rows_in_all, SUM(n) AS n, SUM(total) AS total FROM card_minute";

fn new_project(directory: &Path) -> Project {
    Project::init(directory).unwrap();
    Project::open(directory, Registry::new()).unwrap()
}

fn payments(seed: u64, count: usize) -> Vec<String> {
    Payments::new(Settings { seed, bad: 0.01, ..Settings::default() }).take(count).collect()
}

async fn rows(project: &Project, sql: &str) -> Vec<Vec<Value>> {
    project.query(sql).await.unwrap().rows().collect()
}

use watershed_pipelines::types::Value;

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_does_not_depend_on_where_the_cut_lies() {
    let directory = tempfile::tempdir().unwrap();
    let project = new_project(directory.path());
    assert_eq!(rows(&project, TOTALS).await[0][0], Value::Int(0));
    project.append("payments", payments(1, 3_000)).await.unwrap();
    let live_only = rows(&project, TOTALS).await;
    let report = project.run_batch(&BatchOptions::default()).await.unwrap();
    assert_eq!(report.published, Some(1));
    assert_eq!(rows(&project, TOTALS).await, live_only);
    project.append("payments", payments(2, 500)).await.unwrap();
    let merged = project.query(TOTALS).await.unwrap();
    assert_eq!(merged.receipt.sources["payments"].records, 3_500);
    project.run_batch(&BatchOptions { full: true, ..BatchOptions::default() }).await.unwrap();
    assert_eq!(rows(&project, TOTALS).await, merged.rows().collect::<Vec<_>>());

    let verified = project.verify(&VerifyOptions { seed: 7, ..VerifyOptions::default() }).await.unwrap();
    assert!(
        verified.iter().all(|view| {
            view.is_equal()
                && view.complete
                && (view.cuts.len() >= 7 && view.stored_partitions > 0 || !view.materialized)
        }),
        "{verified:?}"
    );
    let status = project.status().await.unwrap();
    assert!(status.ledger.adds_up(), "{status:?}");
    assert_eq!((status.above_cut, status.views[0].state.as_str()), (0, "current"));
    let dead = project.dead_letters("payments", usize::MAX).await.unwrap();
    assert_eq!(dead.len() as u64, status.sources[0].dead);
    // As of the first epoch: the same answer as then.
    let options = QueryOptions { as_of: Some(1), ..QueryOptions::default() };
    let then = project.query_with(TOTALS, options).await.unwrap();
    assert_eq!(then.rows().collect::<Vec<_>>(), live_only);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_speed_layer_answers_other_processes() {
    let directory = tempfile::tempdir().unwrap();
    let project = new_project(directory.path());
    project.append("payments", payments(1, 1_000)).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = oneshot::channel::<()>();
    let service = project.clone();
    let up = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        service.up(stopped, || ready.send(()).unwrap()).await
    });
    is_ready.await.unwrap();

    let other = Project::open(directory.path(), Registry::new()).unwrap();
    assert_eq!(other.up(std::future::pending(), || {}).await.unwrap_err().kind(), crate::error::Kind::Busy);
    // What was acknowledged before the question is in the answer.
    for seed in 2..6 {
        other.append("payments", payments(seed, 200)).await.unwrap();
        let answer = other.query(TOTALS).await.unwrap();
        assert_eq!(answer.receipt.sources["payments"].records, 1_000 + 200 * (seed - 1));
    }
    let before = rows(&other, TOTALS).await;
    let status = other.status().await.unwrap();
    assert_eq!(status.pid, Some(std::process::id()));
    assert!(status.ledger.adds_up(), "{status:?}");
    let report = other.run_batch(&BatchOptions::default()).await.unwrap();
    assert_eq!(report.published, Some(1));
    assert_eq!(rows(&other, TOTALS).await, before);

    let one = other.query("SELECT card, window_start, n FROM card_minute ORDER BY n DESC LIMIT 1").await.unwrap();
    let key: Vec<Value> = one.rows().next().unwrap()[..2].to_vec();
    let found = other.lookup("card_minute", &key).await.unwrap();
    assert_eq!(found.rows().next().unwrap()[..2], key);
    let stalled =
        other.query_with(TOTALS, QueryOptions { as_of: Some(99), ..QueryOptions::default() }).await.unwrap_err();
    assert_eq!(stalled.kind(), crate::error::Kind::Unavailable, "{stalled}");

    stop.send(()).unwrap();
    let summary = up.await.unwrap().unwrap();
    assert_eq!((summary.records, summary.failed_batches), (800, 0));
    // Alone again: the same answer from a replay.
    assert_eq!(rows(&other, TOTALS).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_shown_in_their_text() {
    let directory = tempfile::tempdir().unwrap();
    let project = new_project(directory.path());
    let Err(Error::Definitions(mistakes)) = project.query("SELECT nothing FROM card_minute").await else {
        panic!("that column does not exist")
    };
    assert_eq!(mistakes.diagnostics[0].span, 7..14);
    std::fs::write(directory.path().join("definitions/bad.sql"), "CREATE VIEW v AS SELECT x FROM nowhere;").unwrap();
    let Err(Error::Definitions(mistakes)) = Project::open(directory.path(), Registry::new()) else {
        panic!("that table does not exist")
    };
    assert_eq!(mistakes.diagnostics[0].file, "definitions/bad.sql");
}
