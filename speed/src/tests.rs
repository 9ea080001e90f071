//! The promise: whatever the micro-batches, epochs and cuts, batch (≤ cut) ⊕ slices (> cut) = all records folded at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use watershed_log::{Append, EventLog, ManualClock, MemoryLog, Position};
use watershed_pipelines::{
    catalog::Catalog,
    decode::{Decoder, RawRecord},
    partial::{CoreKernel, Partials},
    registry::Registry,
    source::SourceCounts,
    sql::SqlFile,
};

use crate::{Built, SpeedError, SpeedLayer, SpeedOptions, SpeedSnapshot, ViewState, replay};

const DEFINITIONS: &str = "
CREATE TABLE events (
    id BIGINT NOT NULL, ts TIMESTAMP NOT NULL, k TEXT, x DOUBLE, d DECIMAL(12,2), n INT, flag BOOLEAN
) WITH (event_time = 'ts', partitions = 3, lateness = '10 seconds');
CREATE TABLE others (id BIGINT NOT NULL) WITH (partitions = 1);

CREATE MATERIALIZED VIEW everything AS
SELECT k, COUNT(*) AS c, COUNT(x) AS cx, COUNT(DISTINCT n) AS dn, SUM(x) AS sx, SUM(d) AS sd, SUM(n) AS sn, AVG(x) AS ax,
       AVG(d) AS ad, MIN(x) AS lox, MAX(d) AS hid, VAR_POP(x) AS vx, STDDEV_SAMP(n) AS dev, BOOL_AND(flag) AS every,
       BOOL_OR(flag) AS any_flag, FIRST(n) AS first_n, LAST(x) AS last_x, APPROX_COUNT_DISTINCT(id) AS about,
       APPROX_PERCENTILE(x, 0.5) AS median, SUM(x) FILTER (WHERE flag) AS sx_flag
FROM events GROUP BY k;

CREATE MATERIALIZED VIEW minutes AS
SELECT k, window_start, COUNT(*) AS c, SUM(x) AS sx, MAX(d) AS hid
FROM TUMBLE(events, ts, INTERVAL '1 minute') WHERE flag GROUP BY k, window_start;

CREATE MATERIALIZED VIEW sliding AS
SELECT window_start, COUNT(*) AS c, SUM(100 / n) AS s, COUNT(DISTINCT k) AS ks
FROM HOP(events, ts, INTERVAL '30 seconds', INTERVAL '2 minutes') GROUP BY window_start;

CREATE MATERIALIZED VIEW picked AS SELECT id, k, n FROM events WHERE n > 2;

CREATE MATERIALIZED VIEW total AS SELECT COUNT(*) AS c, SUM(x) AS sx FROM events;
";

fn catalog() -> Arc<Catalog> {
    let file = SqlFile::new("definitions.sql", DEFINITIONS);
    Arc::new(Catalog::from_sql(&[file], &Registry::new()).expect("the definitions are right"))
}

struct World {
    catalog: Arc<Catalog>,
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        log.create_source("events", 3).unwrap();
        log.create_source("others", 1).unwrap();
        World { catalog: catalog(), log, clock }
    }

    fn layer(&self, options: SpeedOptions, built: &Built) -> SpeedLayer {
        SpeedLayer::new(self.catalog.clone(), &Registry::new(), self.log.clone(), options, built).unwrap()
    }

    fn append(&self, records: &[Input]) {
        let records = records.iter().map(|r| Append::new(r.partition, r.payload.clone())).collect();
        self.log.append("events", records).unwrap();
        self.clock.advance(1_000_000);
    }

    fn kernel(&self, view: &str) -> CoreKernel {
        CoreKernel::compile(self.catalog.view(view).unwrap().core.as_ref().unwrap(), &Registry::new()).unwrap()
    }

    /// What a batch run keeps: one builder over all records, partition by partition.
    fn fold(&self, view: &str, low: &Position, high: &Position) -> (Partials, SourceCounts) {
        let kernel = self.kernel(view);
        let source = &kernel.core().source;
        let decoder = Decoder::new(source);
        let mut builder = kernel.builder();
        let mut counts = SourceCounts::default();
        for partition in 0..source.partitions {
            let mut from = low.partition(&source.name, partition);
            let to = high.partition(&source.name, partition);
            while from < to {
                let chunk = self.log.read(&source.name, partition, from, to, 1 << 20).unwrap();
                let records = chunk.iter().map(|r| RawRecord {
                    offset: r.offset,
                    append_time_micros: r.append_time_micros,
                    payload: r.payload,
                });
                let decoded = decoder.decode(partition, records, &kernel.columns_needed());
                counts.merge(&decoded.counts);
                builder.push(&decoded.batch).unwrap();
                from = chunk.next_offset();
            }
        }
        (builder.finish(), counts)
    }

    /// Checks every view of the snapshot against the records.
    fn check(&self, snapshot: &SpeedSnapshot, built: &Built) {
        let zero = Position::new();
        let mut edges: Vec<&Position> = vec![snapshot.cut()];
        edges.extend(snapshot.bounds());
        for (view, core) in self.catalog.materialized() {
            let kernel = self.kernel(&view.name);
            let (expected, _) = self.fold(&view.name, &zero, snapshot.position());
            let expected_rows = kernel.finish(&expected).unwrap();
            for low in &edges {
                let mut parts = Vec::new();
                if built.fingerprints.contains_key(&view.name) {
                    parts.push(Arc::new(self.fold(&view.name, &zero, low).0));
                    parts.extend(snapshot.view(&view.name, Some(low), None).unwrap());
                } else {
                    parts.extend(snapshot.view(&view.name, None, None).unwrap());
                }
                let merged = kernel.merge(&parts.iter().map(|p| &**p).collect::<Vec<_>>()).unwrap();
                assert_eq!(merged.counts, expected.counts, "{}", view.name);
                assert_eq!(kernel.digest(&merged), kernel.digest(&expected), "{}", view.name);
                assert_eq!(kernel.finish(&merged).unwrap(), expected_rows, "{}", view.name);
                let (_, below) = self.fold(&view.name, &zero, low);
                let (_, all) = self.fold(&view.name, &zero, snapshot.position());
                let mut counts = snapshot.source_counts(&core.source.name, low, None).unwrap();
                counts.merge(&below);
                assert_eq!(counts, all);
            }
        }
    }

    fn built(&self, cut: &Position, views: &[&str]) -> Built {
        let fingerprints: BTreeMap<String, String> = self
            .catalog
            .materialized()
            .filter(|(view, _)| views.contains(&view.name.as_str()))
            .map(|(view, _)| (view.name.clone(), view.fingerprint.clone()))
            .collect();
        Built { cut: cut.clone(), fingerprints }
    }
}

const ALL: &[&str] = &["everything", "minutes", "sliding", "picked", "total"];

#[derive(Clone, Debug)]
struct Input {
    partition: u32,
    payload: String,
}

fn input() -> impl Strategy<Value = Input> {
    let x = prop_oneof![
        Just("null".to_owned()),
        any::<i32>().prop_map(|i| format!("{}", f64::from(i) * 1e-3)),
        Just("1e300".into())
    ];
    let fields = (0u32..3, 0u8..5, 0i64..300, x, -10_000i64..10_000, 0i32..5, any::<Option<bool>>());
    let good = fields.prop_map(|(partition, k, second, x, cents, n, flag)| {
        let k = if k == 0 { "null".to_owned() } else { format!("\"k{k}\"") };
        let flag = flag.map_or("null".to_owned(), |flag| flag.to_string());
        let ts = format!("2023-11-14T22:{:02}:{:02}Z", 10 + second / 60, second % 60);
        let d = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let payload = format!(r#"{{"id":{second},"ts":"{ts}","k":{k},"x":{x},"d":{d},"n":{n},"flag":{flag}}}"#);
        Input { partition, payload }
    });
    let dead = (0u32..3).prop_map(|partition| Input { partition, payload: "{\"id\":".to_owned() });
    prop_oneof![9 => good, 1 => dead]
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<Input>),
    Step,
    /// Records an epoch at the head; the layer hears of it at once, or only after so many operations.
    Epoch {
        delay: usize,
    },
    /// A manifest at one of the epochs.
    Cut {
        epoch: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec(input(), 1..12).prop_map(Op::Append),
        4 => Just(Op::Step),
        2 => (0usize..4).prop_map(|delay| Op::Epoch { delay }),
        1 => (0usize..8).prop_map(|epoch| Op::Cut { epoch }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_split_gives_the_same_partials(
        ops in prop::collection::vec(op(), 1..40),
        step_bytes_max in prop_oneof![Just(1usize), Just(600), Just(1 << 20)],
        unbuilt in prop::option::of(0..ALL.len()),
    ) {
        let world = World::new();
        let views: Vec<&str> = ALL.iter().enumerate().filter(|(i, _)| Some(*i) != unbuilt).map(|(_, v)| *v).collect();
        let options = SpeedOptions { step_bytes_max, ..SpeedOptions::default() };
        let mut built = world.built(&Position::new(), &views);
        let layer = world.layer(options, &built);
        let mut epochs: Vec<Position> = Vec::new();
        let mut unheard: Vec<(usize, Position)> = Vec::new();
        for op in &ops {
            for (delay, position) in &mut unheard {
                if *delay == 0 {
                    layer.add_epoch(position).unwrap();
                }
                *delay = delay.wrapping_sub(1);
            }
            unheard.retain(|(delay, _)| *delay != usize::MAX);
            match op {
                Op::Append(records) => world.append(records),
                Op::Step => {
                    layer.step().unwrap();
                }
                Op::Epoch { delay } => {
                    let head = world.log.head().unwrap();
                    epochs.push(head.clone());
                    unheard.push((*delay, head));
                }
                Op::Cut { epoch } => {
                    if let Some(cut) = epochs.get(*epoch) {
                        let manifest = world.built(cut, &views);
                        layer.advance_cut(&manifest).unwrap();
                        if built.cut.le(cut) {
                            built = manifest;
                        }
                    }
                }
            }
        }
        while layer.step().unwrap() {}
        let snapshot = layer.snapshot();
        prop_assert!(snapshot.reaches(&world.log.head().unwrap()));
        world.check(&snapshot, &built);

        // The same from a replay, up to any epoch at or above the cut.
        for epoch in epochs.iter().filter(|epoch| built.cut.le(epoch)) {
            let (catalog, log) = (world.catalog.clone(), world.log.clone());
            let replayed = replay(catalog, &Registry::new(), log, SpeedOptions::default(), &built, Some(epoch)).unwrap();
            prop_assert!(replayed.covers(&built.cut, Some(epoch)));
            world.check(&replayed, &built);
        }
    }
}

fn some_records(count: usize) -> Vec<Input> {
    (0..count)
        .map(|i| {
            let payload = format!(
                r#"{{"id":{i},"ts":"2023-11-14T22:13:{:02}Z","k":"key {i}","x":{i}.5,"d":1.25,"n":{},"flag":true}}"#,
                i % 60,
                1 + i % 4
            );
            Input { partition: (i % 3) as u32, payload }
        })
        .collect()
}

#[test]
fn a_view_at_its_bound_stalls_alone_and_returns_when_the_cut_moves() {
    let world = World::new();
    let built = world.built(&Position::new(), ALL);
    let layer = world.layer(SpeedOptions { view_bytes_max: 200_000, ..SpeedOptions::default() }, &built);
    let wants_batch = layer.wants_batch();
    world.append(&some_records(5_000));
    while layer.step().unwrap() {}
    let snapshot = layer.snapshot();
    let error = snapshot.view("everything", Some(&built.cut), None).unwrap_err();
    assert!(matches!(error, SpeedError::Stalled { .. }), "{error}");
    assert_eq!(snapshot.views()["everything"], (ViewState::Stalled, 0));
    assert!(snapshot.view("total", Some(&built.cut), None).is_ok());
    assert!(*wants_batch.borrow());
    assert!(snapshot.reaches(&world.log.head().unwrap()), "the log is followed all the same");

    let head = world.log.head().unwrap();
    world.append(&some_records(10));
    while layer.step().unwrap() {}
    let built = world.built(&head, ALL);
    layer.advance_cut(&built).unwrap();
    while layer.step().unwrap() {}
    world.check(&layer.snapshot(), &built);
    assert!(!*wants_batch.borrow());
}

#[test]
fn dropping_slices_leaves_held_snapshots_alone() {
    let world = World::new();
    let built = world.built(&Position::new(), ALL);
    let layer = world.layer(SpeedOptions::default(), &built);
    world.append(&some_records(100));
    while layer.step().unwrap() {}
    let (held, head) = (layer.snapshot(), world.log.head().unwrap());
    layer.advance_cut(&world.built(&head, ALL)).unwrap();
    assert!(layer.snapshot().covers(&head, None) && !layer.snapshot().covers(&built.cut, None));
    world.check(&held, &built);
}

#[test]
fn positions_off_the_chain_are_refused() {
    let world = World::new();
    let layer = world.layer(SpeedOptions::default(), &Built::default());
    let at = |offsets: Vec<u64>| -> Position { [("events".to_owned(), offsets)].into_iter().collect() };
    world.append(&some_records(9));
    layer.add_epoch(&at(vec![1, 2, 1])).unwrap();
    assert!(matches!(layer.add_epoch(&at(vec![2, 1, 2])), Err(SpeedError::NotOnChain { .. })));
    layer.add_epoch(&at(vec![1, 1, 0])).unwrap();
    assert_eq!(layer.snapshot().bounds(), [at(vec![1, 1, 0]), at(vec![1, 2, 1])]);
}

#[test]
fn waiting_ends_when_the_position_is_reached() {
    let world = World::new();
    let layer = Arc::new(world.layer(SpeedOptions::default(), &Built::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(layer.clone().run(async {
            let _ = stopped.await;
        }));
        for _ in 0..5 {
            world.append(&some_records(3));
            let head = world.log.head().unwrap();
            assert!(layer.wait_for(&head).await.unwrap().reaches(&head));
        }
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
        let beyond: Position = [("events".to_owned(), vec![1000])].into_iter().collect();
        assert!(matches!(layer.wait_for(&beyond).await, Err(SpeedError::Stopped { reason: None })));
        let waited = layer.wait_until(&mut |s| s.reaches(&beyond), Duration::from_secs(60));
        assert!(matches!(waited, Err(SpeedError::Stopped { .. })));
    });
}

#[test]
fn merges_on_other_threads_change_nothing() {
    let world = World::new();
    let built = world.built(&Position::new(), ALL);
    let options = SpeedOptions { inline_merge_records_max: 8, ..SpeedOptions::default() };
    let layer = Arc::new(world.layer(options, &built));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(layer.clone().run(async {
            let _ = stopped.await;
        }));
        let mut epoch = Position::new();
        for round in 0..60 {
            world.append(&some_records(1 + round % 7));
            let head = world.log.head().unwrap();
            layer.wait_for(&head).await.unwrap();
            match round {
                20 => epoch = head,
                23 => layer.add_epoch(&epoch).unwrap(),
                40 => layer.advance_cut(&world.built(&epoch, ALL)).unwrap(),
                _ => {}
            }
        }
        world.check(&layer.snapshot(), &world.built(&epoch, ALL));
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    });
}
