//! Answers do not depend on where the cut lies, on what is pinned meanwhile, or on which process holds the live part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use watershed_batch::{Asked, BatchError, Manifest, SourceState, ViewState, WriterId, declaration};
use watershed_log::{Append, EventLog, ManualClock, MemoryLog, Position};
use watershed_pipelines::{
    catalog::Catalog,
    key::{KeyBound, KeyFilter},
    partial::{CoreKernel, Partials},
    registry::Registry,
    sql::SqlFile,
    types::Value as Scalar,
};
use watershed_speed::{Built, SpeedLayer, SpeedOptions, SpeedSnapshot, replay};

use crate::{Answer, BatchSide, FixedSpeed, ReadOptions, Serving, ServingError, built_by};

const DEFINITIONS: &str = "
CREATE TABLE payments (ts TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), ok BOOLEAN)
WITH (event_time = 'ts', partitions = 2, partition_by = 'card', lateness = '10 seconds');
CREATE MATERIALIZED VIEW cards AS
SELECT card, COUNT(*) AS n, SUM(amount) AS total, COUNT(DISTINCT ok) AS kinds FROM payments GROUP BY card;
CREATE MATERIALIZED VIEW minutes AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total
FROM HOP(payments, ts, INTERVAL '1 minute', INTERVAL '3 minutes') WHERE ok GROUP BY card, window_start;
CREATE VIEW busy AS SELECT card, n FROM cards WHERE n > 1;
CREATE VIEW ranked AS SELECT card, ROW_NUMBER() OVER (ORDER BY total DESC) AS place FROM cards;
";

const QUERIES: &[&str] = &[
    "SELECT * FROM cards",
    "SELECT * FROM minutes",
    "SELECT * FROM minutes WHERE card = 'c1' AND window_start >= TIMESTAMP '2023-11-14 22:14:00'",
    "SELECT * FROM busy",
    "SELECT * FROM ranked ORDER BY place LIMIT 3",
    "SELECT c.card, c.total, m.window_start, m.n FROM cards c LEFT JOIN minutes m ON c.card = m.card",
];

/// A batch side in memory.
struct FakeBatch {
    catalog: Arc<Catalog>,
    log: Arc<MemoryLog>,
    state: Mutex<FakeState>,
}

#[derive(Default)]
struct FakeState {
    epochs: Vec<Position>,
    manifests: Vec<(Arc<Manifest>, BTreeMap<String, Partials>)>,
    /// Manifests whose files were collected.
    gone: BTreeSet<u64>,
}

impl FakeBatch {
    fn record_epoch(&self) -> Position {
        let head = self.log.head().unwrap();
        self.state.lock().unwrap().epochs.push(head.clone());
        head
    }

    /// Publishes a manifest at an epoch, unless the cut would move back.
    fn publish(&self, epoch: usize) -> Option<Arc<Manifest>> {
        let mut state = self.state.lock().unwrap();
        let cut = state.epochs.get(epoch)?.clone();
        let number = state.manifests.len() as u64 + 1;
        if state.manifests.last().is_some_and(|(last, _)| last.epoch > epoch as u64 + 1) {
            return None;
        }
        // All records up to the cut, folded from the beginning.
        let folded = live(&self.catalog, &self.log, &Built::default(), Some(&cut));
        let mut views = BTreeMap::new();
        let mut partials = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for (view, core) in self.catalog.materialized() {
            let kernel = CoreKernel::compile(core, &Registry::new()).unwrap();
            let parts = folded.view(&view.name, None, None).unwrap();
            let merged = kernel.merge(&parts.iter().map(|p| &**p).collect::<Vec<_>>()).unwrap();
            let stored = ViewState {
                fingerprint: view.fingerprint.clone(),
                source: core.source.name.clone(),
                partitions: BTreeMap::new(),
                counts: merged.counts,
                rejected: Vec::new(),
            };
            views.insert(view.name.clone(), stored);
            partials.insert(view.name.clone(), merged);
            let counts = folded.source_counts(&core.source.name, &Position::new(), None).unwrap();
            sources.insert(
                core.source.name.clone(),
                SourceState { declaration: declaration(&core.source), counts, ..SourceState::default() },
            );
        }
        let manifest = Arc::new(Manifest {
            number,
            previous: None,
            writer: WriterId::from_u64(1),
            created_at_micros: 0,
            epoch: epoch as u64 + 1,
            cut,
            views,
            sources,
        });
        state.manifests.push((manifest.clone(), partials));
        Some(manifest)
    }
}

impl BatchSide for FakeBatch {
    fn newest(&self, _known: Option<&Arc<Manifest>>) -> Result<Option<Arc<Manifest>>, BatchError> {
        Ok(self.state.lock().unwrap().manifests.last().map(|(manifest, _)| manifest.clone()))
    }

    fn at_or_below(&self, epoch: u64) -> Result<Option<Arc<Manifest>>, BatchError> {
        let state = self.state.lock().unwrap();
        let kept = state.manifests.iter().rev().map(|(manifest, _)| manifest);
        Ok(kept.filter(|m| !state.gone.contains(&m.number)).find(|m| m.epoch <= epoch).cloned())
    }

    fn epoch(&self, epoch: u64) -> Result<Option<Position>, BatchError> {
        Ok(self.state.lock().unwrap().epochs.get((epoch as usize).wrapping_sub(1)).cloned())
    }

    fn oldest_epoch(&self) -> Result<Option<u64>, BatchError> {
        Ok(self.state.lock().unwrap().manifests.first().map(|(manifest, _)| manifest.epoch))
    }

    fn read(&self, manifest: &Arc<Manifest>, asked: &Asked<'_>, _filter: &KeyFilter) -> Result<Partials, BatchError> {
        let state = self.state.lock().unwrap();
        if state.gone.contains(&manifest.number) {
            return Err(BatchError::Gone { object: format!("{}.parquet", asked.view) });
        }
        Ok(state.manifests[manifest.number as usize - 1].1[asked.view].clone())
    }
}

fn live(catalog: &Arc<Catalog>, log: &Arc<MemoryLog>, built: &Built, until: Option<&Position>) -> Arc<SpeedSnapshot> {
    replay(catalog.clone(), &Registry::new(), log.clone(), SpeedOptions::default(), built, until).unwrap()
}

struct World {
    catalog: Arc<Catalog>,
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
    batch: Arc<FakeBatch>,
    speed: Arc<SpeedLayer>,
    serving: Serving,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        log.create_source("payments", 2).unwrap();
        let files = [SqlFile::new("definitions.sql", DEFINITIONS)];
        let catalog = Arc::new(Catalog::from_sql(&files, &Registry::new()).unwrap());
        let batch = Arc::new(FakeBatch { catalog: catalog.clone(), log: log.clone(), state: Mutex::default() });
        let options = SpeedOptions::default();
        let speed =
            SpeedLayer::new(catalog.clone(), &Registry::new(), log.clone(), options, &Built::default()).unwrap();
        let speed = Arc::new(speed);
        let serving = Serving::new(catalog.clone(), Arc::new(Registry::new()), batch.clone(), speed.clone())
            .unwrap()
            .with_log(log.clone(), SpeedOptions::default());
        World { catalog, log, clock, batch, speed, serving }
    }

    fn append(&self, amounts: &[u8]) {
        let records = amounts.iter().map(|amount| {
            let (card, second) = (amount % 5, u32::from(*amount) % 240);
            let (minute, second) = (13 + second / 60, second % 60);
            let payload = format!(
                r#"{{"ts":"2023-11-14T22:{minute}:{second:02}Z","card":"c{card}","amount":{amount}.25,"ok":{}}}"#,
                amount % 3 > 0
            );
            Append::new(u32::from(card % 2), if *amount == 255 { "damaged".to_owned() } else { payload })
        });
        self.log.append("payments", records.collect()).unwrap();
        self.clock.advance(1_000_000);
    }

    fn step(&self) {
        while self.speed.step().unwrap() {}
    }

    /// A process that has only the log.
    fn by_log(&self, until: Option<&Position>) -> Serving {
        let batch = FakeBatch { catalog: self.catalog.clone(), log: self.log.clone(), state: Mutex::default() };
        let speed = FixedSpeed(live(&self.catalog, &self.log, &Built::default(), until));
        Serving::new(self.catalog.clone(), Arc::new(Registry::new()), Arc::new(batch), Arc::new(speed)).unwrap()
    }

    fn check(&self, expected: &Serving, options: &ReadOptions) {
        let plain = ReadOptions::default();
        let same = |ours: Answer, theirs: Answer, what: &str| {
            assert_eq!(ours.frame, theirs.frame, "{what}");
            assert_eq!(ours.receipt.sources, theirs.receipt.sources, "{what}");
            for (name, view) in &ours.receipt.views {
                assert_eq!(view.counts, theirs.receipt.views[name].counts, "{what}");
            }
        };
        for sql in QUERIES {
            same(self.serving.sql(sql, options).unwrap(), expected.sql(sql, &plain).unwrap(), sql);
        }
        let card = [Scalar::Text("c2".into())];
        for view in ["cards", "minutes", "busy"] {
            same(
                self.serving.lookup(view, &card, options).unwrap(),
                expected.lookup(view, &card, &plain).unwrap(),
                view,
            );
        }
        let range = KeyBound::Range { lower: Some((Scalar::Text("c1".into()), false)), upper: None };
        let filter = KeyFilter { columns: vec![range] };
        same(
            self.serving.scan("minutes", &filter, options).unwrap(),
            expected.scan("minutes", &filter, &plain).unwrap(),
            "scan",
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<u8>),
    Step,
    Epoch,
    Publish {
        epoch: usize,
    },
    /// The process hears of the newest manifest.
    Follow,
    Refresh,
    /// The files of all manifests but the newest are collected.
    Collect,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Op::Append),
        3 => Just(Op::Step),
        2 => Just(Op::Epoch),
        2 => (0usize..6).prop_map(|epoch| Op::Publish { epoch }),
        1 => Just(Op::Follow),
        1 => Just(Op::Refresh),
        1 => Just(Op::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn answers_do_not_depend_on_the_cut(ops in prop::collection::vec(op(), 1..24)) {
        let world = World::new();
        for op in ops {
            match op {
                Op::Append(amounts) => world.append(&amounts),
                Op::Step => world.step(),
                Op::Epoch => {
                    let position = world.batch.record_epoch();
                    world.speed.add_epoch(&position).unwrap();
                }
                Op::Publish { epoch } => {
                    world.batch.publish(epoch);
                }
                Op::Follow => {
                    let newest = world.batch.newest(None).unwrap();
                    if let Some(manifest) = newest {
                        world.speed.advance_cut(&built_by(&manifest)).unwrap();
                    }
                }
                Op::Refresh => {
                    world.serving.refresh().unwrap();
                }
                Op::Collect => {
                    let mut state = world.batch.state.lock().unwrap();
                    let newest = state.manifests.len() as u64;
                    state.gone.extend(1..newest);
                }
            }
        }
        world.step();
        world.check(&world.by_log(None), &ReadOptions::default());
        let epochs = world.batch.state.lock().unwrap().epochs.clone();
        for (number, position) in (1..).zip(&epochs) {
            world.check(&world.by_log(Some(position)), &ReadOptions::default().as_of(number));
        }
    }
}

/// Windows that overlap share their panes: the first ones behind a bound have panes that belong to others, too.
#[test]
fn what_is_asked_for_by_key_is_what_the_whole_has_there() {
    let world = World::new();
    world.append(&(0..=254).collect::<Vec<u8>>());
    world.step();
    let options = ReadOptions::default();
    let rows = |filter: &KeyFilter| -> Vec<Vec<Scalar>> {
        world.serving.scan("minutes", filter, &options).unwrap().rows().collect()
    };
    let all = rows(&KeyFilter::all());
    let starts: BTreeSet<i64> =
        all.iter().filter_map(|row| if let Scalar::Timestamp(start) = row[1] { Some(start) } else { None }).collect();
    assert!(starts.len() > 4, "{starts:?}");
    for start in starts {
        let at = |inclusive| Some((Scalar::Timestamp(start), inclusive));
        let in_place = |bound| KeyFilter { columns: vec![KeyBound::Any, bound] };
        let inside = |is: &dyn Fn(i64) -> bool| -> Vec<Vec<Scalar>> {
            let is = |row: &&Vec<Scalar>| matches!(row[1], Scalar::Timestamp(start) if is(start));
            all.iter().filter(is).cloned().collect()
        };
        let one = KeyBound::In(vec![Scalar::Timestamp(start)]);
        assert_eq!(rows(&in_place(one)), inside(&|s| s == start));
        assert_eq!(rows(&in_place(KeyBound::Range { lower: at(true), upper: None })), inside(&|s| s >= start));
        assert_eq!(rows(&in_place(KeyBound::Range { lower: at(false), upper: at(true) })), inside(&|_| false));
        assert_eq!(rows(&in_place(KeyBound::Range { lower: None, upper: at(false) })), inside(&|s| s < start));
    }
}

#[test]
fn receipts_say_what_an_answer_covers() {
    let world = World::new();
    world.append(&[1, 2, 3, 255]);
    world.step();
    let epoch = world.batch.record_epoch();
    world.speed.add_epoch(&epoch).unwrap();
    world.batch.publish(0).unwrap();
    world.serving.refresh().unwrap();
    world.append(&[4, 5, 255]);
    world.step();
    let receipt = world.serving.sql("SELECT * FROM busy", &ReadOptions::default()).unwrap().receipt;
    assert_eq!((receipt.manifest, receipt.epoch), (Some(1), Some(1)));
    assert_eq!((&receipt.cut, &receipt.head), (&epoch, &world.log.head().unwrap()));
    let payments = receipt.sources["payments"];
    assert_eq!((payments.records, payments.accepted, payments.dead), (7, 5, 2));
    let cards = &receipt.views["cards"];
    assert_eq!((cards.counts.accepted, cards.counts.counted, cards.built), (5, 5, true));
    let json = serde_json::to_string(&receipt).unwrap();
    assert_eq!(serde_json::from_str::<crate::Receipt>(&json).unwrap(), receipt);
    assert!(receipt.to_string().contains("7 records = 5 accepted"), "{receipt}");
}

#[test]
fn own_writes_are_read_or_the_wait_ends() {
    let world = World::new();
    world.append(&[1]);
    let head = world.log.head().unwrap();
    let options = ReadOptions { timeout: Duration::from_millis(1), ..ReadOptions::default().at_least(head) };
    let early = world.serving.sql("SELECT * FROM cards", &options);
    assert!(matches!(early, Err(ServingError::NotReached { .. })));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let patient = ReadOptions { timeout: Duration::from_secs(60), ..options.clone() };
            world.serving.sql("SELECT * FROM cards", &patient).unwrap().len()
        });
        world.step();
        assert_eq!(asking.join().unwrap(), 1);
    });
}

#[test]
fn what_cannot_be_answered_says_why() {
    let world = World::new();
    let options = ReadOptions::default();
    let missing = world.serving.scan("nothing", &KeyFilter::all(), &options).unwrap_err();
    assert!(missing.to_string().contains("busy, cards, minutes, ranked"), "{missing}");
    let c1 = Scalar::Text("c1".into());
    assert!(matches!(
        world.serving.lookup("ranked", std::slice::from_ref(&c1), &options),
        Err(ServingError::NoKey { .. })
    ));
    assert!(matches!(world.serving.lookup("cards", &[Scalar::Int(1)], &options), Err(ServingError::Key { .. })));
    assert!(matches!(world.serving.lookup("cards", &[Scalar::Null], &options), Err(ServingError::Key { .. })));
    assert!(matches!(world.serving.lookup("cards", &[c1.clone(), c1], &options), Err(ServingError::Key { .. })));
    assert!(matches!(world.serving.sql("SELECT * FROM payments", &options), Err(ServingError::Query(_))));
    assert!(matches!(world.serving.sql("SELECT * FROM cards", &options.as_of(7)), Err(ServingError::NotKept { .. })));
}

#[test]
fn rows_as_json_keep_their_digits() {
    let world = World::new();
    world.append(&[4]);
    world.step();
    let answer = world.serving.sql("SELECT card, n, total FROM cards", &ReadOptions::default()).unwrap();
    assert_eq!(answer.to_json_lines(), "{\"card\":\"c4\",\"n\":1,\"total\":4.25}\n");
    assert_eq!(answer.to_json_rows().len(), 1);
    let expected = vec![Scalar::Text("c4".into()), Scalar::Int(1), Scalar::Decimal(425)];
    assert_eq!(answer.rows().collect::<Vec<_>>(), [expected]);
}
