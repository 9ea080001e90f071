//! A source with a column of every type, random rows for it, and views with every aggregate.

use std::sync::Arc;

use polars::prelude::DataFrame;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    aggregate::{AggregateCall, AggregateFunction as F},
    columns::{self, bitmap},
    core::{Core, Key, Partitioning, TimeBucket, Window, WindowUnit},
    decode::Batch,
    expr::{Expr, Function},
    partial::{CoreKernel, Partials},
    registry::Registry,
    source::Source,
    types::{DataType, Field, Schema, Value},
};

pub(super) const CENTS: DataType = DataType::Decimal { precision: 38, scale: 2 };

/// Columns of the source.
pub(super) const TS: usize = 0;
pub(super) const K: usize = 1;
const B: usize = 2;
const I: usize = 3;
const L: usize = 4;
const X: usize = 5;
const D: usize = 6;
const T: usize = 7;
const DAY: usize = 8;
/// Where the test of hopping windows puts a window's start.
pub(super) const W: usize = 9;
const KEEP: usize = 10;

pub(super) fn source() -> Arc<Source> {
    let field = |(name, data_type): (&str, DataType)| Field { name: name.to_owned(), data_type, nullable: true };
    let fields = [
        ("ts", DataType::Timestamp),
        ("k", DataType::Text),
        ("b", DataType::Boolean),
        ("i", DataType::Int),
        ("l", DataType::BigInt),
        ("x", DataType::Double),
        ("d", CENTS),
        ("t", DataType::Text),
        ("day", DataType::Date),
        ("w", DataType::Timestamp),
        ("keep", DataType::Boolean),
    ];
    Arc::new(Source {
        name: "s".to_owned(),
        schema: Schema { fields: fields.into_iter().map(field).collect() },
        event_time: Some(TS),
        partitions: 3,
        partition_by: None,
        lateness_micros: 0,
        max_ahead_micros: 0,
    })
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) ts: i64,
    pub(super) k: Option<String>,
    pub(super) b: Option<bool>,
    pub(super) i: Option<i32>,
    pub(super) l: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) d: Option<i128>,
    pub(super) t: Option<String>,
    pub(super) day: Option<i32>,
    pub(super) w: Option<i64>,
    pub(super) keep: Option<bool>,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

fn texts() -> impl Strategy<Value = String> {
    select(vec!["", "a", "a\0", "a\0\u{1}", "\0", "\u{ff}b", "b", "ab", "ä🦆", "%_'\"\\"]).prop_map(str::to_owned)
}

pub(super) fn doubles() -> impl Strategy<Value = f64> {
    let special =
        vec![0.0, -0.0, 1.0, -1.0, 0.1, 0.1, 1e308, -1e308, f64::MAX, 5e-324, -2.5e-310, 1e-20, 1e15, 1.0 / 3.0];
    prop_oneof![
        6 => select(special),
        3 => -1000.0..1000.0,
        1 => any::<f64>(),
        1 => select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

/// Event times over `span_days` days around a change of clocks in Berlin, with ties.
pub(super) fn rows(count: usize, span_days: i64) -> impl Strategy<Value = Vec<Row>> {
    use proptest::option::weighted;
    // 2024-03-30T00:00:00Z
    let start = 1_711_756_800_000_000i64;
    let ts = (0..span_days * 96).prop_map(move |quarter| start + quarter * 900_000_000);
    let numbers = (
        weighted(0.8, prop_oneof![-3..3i32, any::<i32>()]),
        weighted(0.8, prop_oneof![-3..3i64, any::<i64>()]),
        weighted(0.8, doubles()),
        weighted(0.8, prop_oneof![-500..500i128, -10i128.pow(35)..10i128.pow(35)]),
    );
    let others = (
        weighted(0.8, any::<bool>()),
        weighted(0.8, texts()),
        weighted(0.9, 0..4i32),
        weighted(0.9, proptest::bool::weighted(0.9)),
    );
    vec((ts, weighted(0.8, texts()), numbers, others), 0..count).prop_map(|rows| {
        let row = |(n, (ts, k, (i, l, x, d), (b, t, day, keep)))| Row {
            ts,
            k,
            b,
            i,
            l,
            x,
            d,
            t,
            day,
            w: None,
            keep,
            partition: (n % 3) as i32,
            offset: (n / 3) as i64,
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

pub(super) fn batch(rows: &[Row]) -> Batch {
    fn plain<T: Default>(
        rows: &[Row],
        value: impl Fn(&Row) -> Option<T>,
    ) -> (Vec<T>, Option<polars_arrow::bitmap::Bitmap>) {
        let validity = bitmap(rows.iter().map(|r| value(r).is_some()));
        (rows.iter().map(|r| value(r).unwrap_or_default()).collect(), validity)
    }
    let bigint = |name, data_type, value: &dyn Fn(&Row) -> Option<i64>| {
        let (values, validity) = plain(rows, value);
        columns::bigint_column(name, data_type, values, validity)
    };
    let int = |name, data_type, value: &dyn Fn(&Row) -> Option<i32>| {
        let (values, validity) = plain(rows, value);
        columns::int_column(name, data_type, values, validity)
    };
    let (x, x_validity) = plain(rows, |r| r.x);
    let (d, d_validity) = plain(rows, |r| r.d);
    let frame = DataFrame::new(
        rows.len(),
        vec![
            bigint("ts", DataType::Timestamp, &|r| Some(r.ts)),
            columns::text_column("k", rows.iter().map(|r| r.k.as_deref())),
            columns::boolean_column("b", rows.iter().map(|r| r.b)),
            int("i", DataType::Int, &|r| r.i),
            bigint("l", DataType::BigInt, &|r| r.l),
            columns::double_column("x", x, x_validity),
            columns::decimal_column("d", CENTS, d, d_validity),
            columns::text_column("t", rows.iter().map(|r| r.t.as_deref())),
            int("day", DataType::Date, &|r| r.day),
            bigint("w", DataType::Timestamp, &|r| r.w),
            columns::boolean_column("keep", rows.iter().map(|r| r.keep)),
            int("_partition", DataType::Int, &|r| Some(r.partition)),
            bigint("_offset", DataType::BigInt, &|r| Some(r.offset)),
            bigint("_append_time", DataType::Timestamp, &|r| Some(r.ts)),
        ],
    );
    Batch { frame: frame.unwrap() }
}

pub(super) fn column(index: usize) -> Expr {
    Expr::column(&source().row_schema(), index)
}

pub(super) fn call(name: &str, function: F, argument: Option<Expr>, data_type: DataType) -> AggregateCall {
    AggregateCall { name: name.to_owned(), function, argument, filter: None, data_type }
}

/// Every aggregate, over every type that it takes.
pub(super) fn aggregates() -> Vec<AggregateCall> {
    use DataType::*;
    let mut calls = vec![
        call("n", F::CountStar, None, BigInt),
        call("sum_i", F::Sum, Some(column(I)), BigInt),
        call("sum_l", F::Sum, Some(column(L)), Decimal { precision: 38, scale: 0 }),
        call("sum_d", F::Sum, Some(column(D)), CENTS),
        call("sum_x", F::Sum, Some(column(X)), Double),
        call("all_b", F::BoolAnd, Some(column(B)), Boolean),
        call("any_b", F::BoolOr, Some(column(B)), Boolean),
    ];
    for (name, index) in [("b", B), ("i", I), ("l", L), ("x", X), ("d", D), ("t", T), ("day", DAY), ("ts", TS)] {
        let argument = column(index);
        let data_type = argument.data_type();
        for (prefix, function, data_type) in [
            ("count", F::Count, BigInt),
            ("distinct", F::CountDistinct, BigInt),
            ("min", F::Min, data_type),
            ("max", F::Max, data_type),
            ("first", F::First, data_type),
            ("last", F::Last, data_type),
            ("approx", F::ApproxCountDistinct, BigInt),
        ] {
            calls.push(call(&format!("{prefix}_{name}"), function, Some(argument.clone()), data_type));
        }
        if data_type.is_numeric() {
            for (prefix, function) in [
                ("avg", F::Avg),
                ("var_pop", F::VarPop),
                ("var_samp", F::VarSamp),
                ("stddev_pop", F::StddevPop),
                ("stddev_samp", F::StddevSamp),
                ("median", F::ApproxPercentile { fraction: 0.5 }),
            ] {
                calls.push(call(&format!("{prefix}_{name}"), function, Some(argument.clone()), Double));
            }
        }
    }
    let if_b = |call: AggregateCall| AggregateCall { filter: Some(column(B)), ..call };
    calls.push(if_b(call("sum_x_if_b", F::Sum, Some(column(X)), Double)));
    calls.push(if_b(call("distinct_t_if_b", F::CountDistinct, Some(column(T)), BigInt)));
    // Fails for l = 0.
    let inverse = Expr::Call {
        function: Function::Divide,
        args: vec![Expr::Literal { value: Value::Int(60), data_type: BigInt }, column(L)],
        data_type: BigInt,
    };
    calls.push(if_b(call("sum_inverse", F::Sum, Some(inverse), Decimal { precision: 38, scale: 0 })));
    calls
}

pub(super) fn window(unit: WindowUnit, size: i64, slide: i64, zone: Option<&str>) -> Window {
    let offset_micros = if unit == WindowUnit::Micros { slide / 3 } else { 0 };
    Window { time: TS, unit, size, slide, offset_micros, time_zone: zone.map(str::to_owned) }
}

const HOUR: i64 = 3_600_000_000;

pub(super) fn windows() -> impl Strategy<Value = Window> {
    select(vec![
        window(WindowUnit::Micros, HOUR, HOUR, None),
        window(WindowUnit::Micros, 4 * HOUR, HOUR, None),
        window(WindowUnit::Micros, 5 * HOUR, 2 * HOUR, None),
        window(WindowUnit::Days, 1, 1, Some("Europe/Berlin")),
        window(WindowUnit::Days, 7, 1, Some("Europe/Berlin")),
        window(WindowUnit::Days, 5, 3, None),
        window(WindowUnit::Months, 3, 2, Some("America/Sao_Paulo")),
    ])
}

pub(super) fn key() -> Key {
    Key::Expr { name: "k".to_owned(), expr: column(K) }
}

/// A view with every aggregate.
pub(super) fn core(window: Option<Window>, window_first: bool) -> Core {
    let mut keys = vec![key()];
    if window.is_some() {
        keys.insert(if window_first { 0 } else { 1 }, Key::WindowStart);
    }
    let partitioning =
        if window.is_some() { Partitioning::Time(TimeBucket::Day) } else { Partitioning::Hash { buckets: 4 } };
    Core { source: source(), filter: Some(column(KEEP)), window, keys, aggregates: aggregates(), partitioning }
}

pub(super) fn views() -> impl Strategy<Value = CoreKernel> {
    (proptest::option::weighted(0.8, windows()), any::<bool>())
        .prop_map(|(window, first)| CoreKernel::compile(&core(window, first), &Registry::new()).unwrap())
}

pub(super) fn partials(kernel: &CoreKernel, rows: &[Row]) -> Partials {
    let mut builder = kernel.builder();
    builder.push(&batch(rows)).unwrap();
    builder.finish()
}

/// The same, as far as anyone may tell.
pub(super) fn assert_same(kernel: &CoreKernel, a: &Partials, b: &Partials) {
    assert_eq!(a.counts, b.counts);
    assert_eq!(a.rejected, b.rejected);
    let mut theirs = kernel.canonical(b);
    for (key, row) in kernel.canonical(a) {
        let (their_key, their_row) = theirs.next().expect("as many rows");
        assert_eq!(key, their_key, "{} {}", kernel.describe_key(&key), kernel.describe_key(&their_key));
        assert_eq!(row, their_row, "{}", kernel.describe_key(&key));
    }
    assert!(theirs.next().is_none());
    assert_eq!(kernel.digest(a), kernel.digest(b));
}

/// Some rows, always the same.
pub(super) fn proptest_rows() -> Vec<Row> {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    std::iter::repeat_with(|| rows(40, 5).new_tree(&mut runner).unwrap().current())
        .find(|rows| rows.len() > 20)
        .unwrap()
}
