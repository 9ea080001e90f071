//! What reads all records, while the log is shortened, and where a power failure has left its heads behind.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::*;
use crate::datagen::{Payments, Settings};

const RECORDS: u64 = 600;

fn new_project(directory: &Path) -> Project {
    Project::init(directory).unwrap();
    Project::open(directory, Registry::new()).unwrap()
}

fn payments(seed: u64, count: u64) -> Vec<String> {
    Payments::new(Settings { seed, bad: 0.05, ..Settings::default() }).take(count as usize).collect()
}

/// Deletes from the log what the archive holds, once, when the records are about to be read.
struct Shortens {
    project: Project,
    done: AtomicBool,
}

impl VerifyProgress for Shortens {
    fn records_planned(&self, _: u64) {
        if self.done.swap(true, Ordering::SeqCst) {
            return;
        }
        let archived = self.project.store().unwrap().latest_manifest().unwrap().unwrap().archived();
        let log = self.project.open_log_writer(None).unwrap();
        log.seal("payments").unwrap();
        assert!(!log.delete_sealed_below(&archived).unwrap().is_empty());
        log.close().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_shortened_while_it_is_checked_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let project = new_project(directory.path());
    project.append("payments", payments(1, RECORDS)).await.unwrap();
    project.run_batch(&BatchOptions::default()).await.unwrap();
    let progress = Arc::new(Shortens { project: project.clone(), done: AtomicBool::new(false) });
    let options = VerifyOptions { progress: Some(Arc::clone(&progress) as _), ..VerifyOptions::default() };
    let verified = project.verify(&options).await.unwrap();
    assert!(progress.done.load(Ordering::SeqCst));
    for view in verified.iter().filter(|view| view.materialized) {
        assert!(view.is_equal() && view.complete && view.records == RECORDS, "{view:?}");
    }
    assert!(!project.log().unwrap().start().unwrap().is_zero());
    let dead = project.dead_letters("payments", usize::MAX).await.unwrap();
    assert_eq!(dead.len() as u64, project.status().await.unwrap().sources[0].dead);
}

/// Makes the heads of all partitions tell what they told some acknowledgements ago, as they may after a power failure.
fn set_heads_back(project: &Project) {
    let mut set_back = 0;
    for partition in std::fs::read_dir(project.log_directory().join("payments")).unwrap() {
        let path = partition.unwrap().path().join("head");
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        let durable = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
        for slot in [0, 512] {
            bytes[slot + 16..slot + 24].copy_from_slice(&(durable - durable.min(3)).to_le_bytes());
            let crc = crc32c::crc32c(&bytes[slot..slot + 24]);
            bytes[slot + 24..slot + 28].copy_from_slice(&crc.to_le_bytes());
        }
        std::fs::write(path, bytes).unwrap();
        set_back += u64::from(durable > 3);
    }
    assert!(set_back > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_lag_behind_hide_nothing_from_anyone() {
    let directory = tempfile::tempdir().unwrap();
    let project = new_project(directory.path());
    project.append("payments", payments(1, RECORDS)).await.unwrap();
    project.run_batch(&BatchOptions::default()).await.unwrap();
    // One by one, so that later records know of earlier ones.
    for payment in payments(2, 60) {
        project.append("payments", [payment]).await.unwrap();
    }
    let (all, dead) = (RECORDS + 60, project.dead_letters("payments", usize::MAX).await.unwrap());
    let view = project.catalog().materialized().next().unwrap().0.name.clone();
    let rejected = project.rejected(&view, usize::MAX).await.unwrap();
    let rows = project.query(&format!("SELECT * FROM {view}")).await.unwrap().to_json_lines();

    set_heads_back(&project);
    let verified = project.verify(&VerifyOptions::default()).await.unwrap();
    for view in verified.iter().filter(|view| view.materialized) {
        assert!(view.is_equal() && view.complete && view.records == all, "{view:?}");
    }
    set_heads_back(&project);
    assert_eq!(project.dead_letters("payments", usize::MAX).await.unwrap(), dead);
    set_heads_back(&project);
    assert_eq!(project.rejected(&view, usize::MAX).await.unwrap(), rejected);
    set_heads_back(&project);
    assert_eq!(project.status().await.unwrap().sources[0].records, all);
    set_heads_back(&project);
    assert_eq!(project.query(&format!("SELECT * FROM {view}")).await.unwrap().to_json_lines(), rows);
    set_heads_back(&project);
    let report = project.run_batch(&BatchOptions { full: true, ..BatchOptions::default() }).await.unwrap();
    assert_eq!(report.cut.get("payments").unwrap().iter().sum::<u64>(), all);
}
