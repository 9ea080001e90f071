//! The gate before a manifest: a run that differs from the speed layer publishes nothing.

use watershed_batch::{BatchError, ParityPolicy, ParityReport, Report};
use watershed_log::EventLog;
use watershed_pipelines::{
    decode::{ColumnSet, Decoder, RawRecord},
    partial::{CoreKernel, Partials},
};

use super::super::{batch::BatchOptions, holder::LogHolder, live::Live, *};
use crate::{
    datagen::{Payments, Settings},
    error::Kind,
};

/// A project whose log is held and whose speed layer is stepped by hand.
struct Held {
    project: Project,
    writer: Writer,
    live: Arc<Live>,
}

impl Held {
    async fn new(project: Project) -> Held {
        let writer = project.local_writer().await.unwrap();
        let holder = Arc::clone(writer.holder().unwrap());
        let live = Arc::new(project.start_live(Arc::clone(&holder.log) as Arc<dyn EventLog>).await.unwrap());
        let _ = holder.live.set(Arc::clone(&live));
        Held { project, writer, live }
    }

    fn holder(&self) -> Arc<LogHolder> {
        Arc::clone(self.writer.holder().unwrap())
    }

    async fn append(&self, seed: u64, count: usize) {
        let payments = Payments::new(Settings { seed, bad: 0.01, ..Settings::default() }).take(count);
        self.writer.append("payments", payments.map(Into::into).collect(), None).await.unwrap();
    }

    /// A batch run up to now, compared with the speed layer here.
    async fn run(&self) -> Result<Report, Error> {
        let epoch = self.holder().epoch().await?;
        while self.live.speed.step()? {}
        self.project.batch_to(epoch.number, None, &BatchOptions::default(), Some(&self.live)).await
    }

    /// The same, after a view's slices were made wrong.
    async fn run_with_slices(
        &self,
        view: &str,
        replace: impl Fn(&CoreKernel, &Partials) -> Partials,
    ) -> Result<Report, Error> {
        let epoch = self.holder().epoch().await?;
        while self.live.speed.step()? {}
        self.live.speed.replace_slices_for_tests(view, replace);
        self.project.batch_to(epoch.number, None, &BatchOptions::default(), Some(&self.live)).await
    }

    fn manifests(&self) -> Vec<u64> {
        self.project.store().unwrap().manifest_numbers().unwrap()
    }

    /// Another process takes over.
    async fn restarted(self) -> Held {
        self.writer.close().await.unwrap();
        Held::new(self.project).await
    }

    async fn follow(&self) {
        let manifest = self.project.store().unwrap().latest_manifest().unwrap().unwrap();
        self.live.speed.advance_cut(&watershed_serving::built_by(&manifest)).unwrap();
    }
}

fn open(directory: &Path, settings: &[(&str, &str)]) -> Project {
    if !directory.join(CONFIG_FILE).exists() {
        Project::init(directory).unwrap();
    }
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Project::open_with(directory, Registry::new(), &Overrides { settings, ..Overrides::default() }).unwrap()
}

fn differs(result: Result<Report, Error>) -> ParityReport {
    match result {
        Err(Error::Batch(BatchError::ParityDiffers(report))) => *report,
        other => panic!("the gate let it pass: {other:?}"),
    }
}

fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// Every record of the slices counted twice.
fn twice(kernel: &CoreKernel, partials: &Partials) -> Partials {
    kernel.merge(&[partials, partials]).unwrap()
}

/// Nothing in the slices, and the books say so.
fn lost(kernel: &CoreKernel, _: &Partials) -> Partials {
    kernel.empty()
}

/// The rows are lost, the books are not.
fn rows_lost(kernel: &CoreKernel, partials: &Partials) -> Partials {
    let mut empty = kernel.empty();
    empty.counts = partials.counts;
    empty
}

/// The rows are right, the books are not.
fn books_wrong(_: &CoreKernel, partials: &Partials) -> Partials {
    let mut wrong = partials.clone();
    wrong.counts.filtered += 1;
    wrong
}

/// A row of a month that no record belongs to, in a partition that the run does not have.
fn one_more(kernel: &CoreKernel, partials: &Partials) -> Partials {
    let source = &kernel.core().source;
    let payload = br#"{"event_id":"1","ts":"1999-01-01T00:00:30Z","card":"c","amount":1,"status":"approved"}"#;
    let record = RawRecord { offset: 0, append_time_micros: 1_000_000_000_000_000, payload };
    let decoded = Decoder::new(source).decode(0, [record].into_iter(), &ColumnSet::all(source));
    let mut builder = kernel.builder();
    builder.push(&decoded.batch).unwrap();
    let mut more = kernel.merge(&[partials, &builder.finish()]).unwrap();
    more.counts = partials.counts;
    more
}

#[tokio::test(flavor = "multi_thread")]
async fn books_and_partitions_that_only_one_side_has_are_differences() {
    let directory = tempfile::tempdir().unwrap();
    let held = Held::new(open(directory.path(), &[])).await;
    held.append(1, 100).await;
    let report = differs(held.run_with_slices("card_minute", books_wrong).await);
    let view = &report.views["card_minute"];
    assert!(view.counts.is_some() && view.differing.is_empty(), "{report:?}");
    let held = held.restarted().await;
    let report = differs(held.run_with_slices("card_minute", one_more).await);
    let view = &report.views["card_minute"];
    // Once for each of the slices' runs, one key.
    assert_eq!((view.differing.len(), view.keys, view.counts.as_ref()), (1, 1, None), "{report:?}");
    let row = &view.listed[0];
    assert!(row.key.contains("1999-01-01") && row.left.is_none() && row.right.is_some(), "{row:?}");
    assert!(held.manifests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_agree_with_the_speed_layer_are_published() {
    let directory = tempfile::tempdir().unwrap();
    let mut held = Held::new(open(directory.path(), &[])).await;
    for round in 1..=3 {
        held.append(round, 500).await;
        let report = held.run().await.unwrap();
        assert_eq!(report.published, Some(round));
        let parity = report.parity.expect("a speed layer runs");
        assert!(!parity.differs() && parity.not_compared.is_none(), "{parity:?}");
        let view = &parity.views["card_minute"];
        assert!(view.not_compared.is_none() && view.partitions > 0, "{view:?}");
        held.follow().await;
        if round == 2 {
            held = held.restarted().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_slice_stops_the_manifest_until_it_is_mended() {
    type Replace = fn(&CoreKernel, &Partials) -> Partials;
    for replace in [twice as Replace, lost, rows_lost] {
        let directory = tempfile::tempdir().unwrap();
        let held = Held::new(open(directory.path(), &[])).await;
        held.append(1, 500).await;
        held.run().await.unwrap();
        held.follow().await;
        held.append(2, 300).await;
        let result = held.run_with_slices("card_minute", replace).await;
        assert_eq!(result.as_ref().unwrap_err().kind(), Kind::Different);
        let report = differs(result);
        let view = &report.views["card_minute"];
        assert!(view.differs() && !view.differing.is_empty() && !view.listed.is_empty(), "{report:?}");
        assert!(view.keys >= view.listed.len() as u64);
        for row in &view.listed {
            assert!(row.key.contains("card = ") && row.key.contains("window_start = "), "{row:?}");
            assert!(row.left.as_ref().is_some_and(|left| left.contains("n = ")), "{row:?}");
            assert_ne!(row.left, row.right);
        }
        // The old cut stays, with all that its manifest names and nothing else.
        assert_eq!(held.manifests(), [1]);
        let store = held.project.store().unwrap();
        let manifest = store.latest_manifest().unwrap().unwrap();
        let files =
            files_below(&directory.path().join("store/data")) + files_below(&directory.path().join("store/archive"));
        assert_eq!(files, manifest.files().count());
        let verified = held.project.verify(&VerifyOptions::default()).await.unwrap();
        assert!(verified.iter().all(Verified::is_equal), "{verified:?}");

        let held = held.restarted().await;
        assert_eq!(held.run().await.unwrap().published, Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_what_follows_from_a_difference() {
    for (policy, published) in [("warn", true), ("off", true), ("enforce", false)] {
        let directory = tempfile::tempdir().unwrap();
        let held = Held::new(open(directory.path(), &[("batch.parity", policy)])).await;
        held.append(1, 200).await;
        let result = held.run_with_slices("card_minute", twice).await;
        assert_eq!(!held.manifests().is_empty(), published, "{policy}");
        match held.project.config().batch.parity {
            ParityPolicy::Warn => assert!(result.unwrap().parity.unwrap().differs()),
            ParityPolicy::Off => assert_eq!(result.unwrap().parity, None),
            ParityPolicy::Enforce => assert!(differs(result).differs()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_named_and_published() {
    let directory = tempfile::tempdir().unwrap();
    let held = Held::new(open(directory.path(), &[("speed.max_bytes", "1000")])).await;
    held.append(1, 500).await;
    let report = held.run().await.unwrap();
    assert_eq!(report.published, Some(1));
    let why = report.parity.unwrap().views["card_minute"].not_compared.clone().expect("it is stalled");
    assert!(why.contains("stalled"), "{why}");

    // A run of a process that has another definition than the one that runs the speed layer.
    let view = directory.path().join("definitions/views.sql");
    let text = std::fs::read_to_string(&view).unwrap().replace("MAX(amount)", "MIN(amount)");
    std::fs::write(&view, text).unwrap();
    let other = open(directory.path(), &[]);
    held.append(2, 10).await;
    let epoch = held.holder().epoch().await.unwrap();
    while held.live.speed.step().unwrap() {}
    let report = other.batch_to(epoch.number, None, &BatchOptions::default(), Some(&held.live)).await.unwrap();
    let why = report.parity.unwrap().views["card_minute"].not_compared.clone().expect("another definition");
    assert!(why.contains("another definition"), "{why}");
}
