//! Small cases, said exactly.

use super::fixtures::*;
use crate::{
    aggregate::AggregateFunction as F,
    core::{Core, Key, Partitioning},
    partial::{CoreKernel, Reduced, Reduction},
    registry::Registry,
    types::{DataType, Field, Schema},
};

#[test]
fn without_keys_there_is_one_row_of_nothing() {
    let global = Core { keys: Vec::new(), partitioning: Partitioning::Hash { buckets: 1 }, ..core(None, false) };
    let kernel = CoreKernel::compile(&global, &Registry::new()).unwrap();
    let rows = kernel.finish(&kernel.empty()).unwrap();
    assert_eq!(rows.height(), 1);
    assert_eq!(rows.column("n").unwrap().i64().unwrap().get(0), Some(0));
    assert_eq!(rows.column("distinct_t").unwrap().i64().unwrap().get(0), Some(0));
    assert_eq!(rows.column("sum_x").unwrap().f64().unwrap().get(0), None);
}

#[test]
fn a_view_of_rows_has_its_records() {
    let schema = source().row_schema();
    let place = |name: &str| Key::Expr { name: name.to_owned(), expr: column(schema.index_of(name).unwrap()) };
    let view = Core {
        keys: vec![place("_partition"), place("_offset")],
        aggregates: vec![call("k", F::Only, Some(column(K)), DataType::Text)],
        partitioning: Partitioning::Offset { records: 2 },
        filter: None,
        ..core(None, false)
    };
    let kernel = CoreKernel::compile(&view, &Registry::new()).unwrap();
    let rows = proptest_rows();
    let whole = partials(&kernel, &rows);
    assert_eq!(whole.len(), rows.len());
    let names: Vec<String> = kernel.split(whole.clone()).unwrap().into_keys().collect();
    assert_eq!(names[0], "rows-00000-00000000000000000000");
    let finished = kernel.finish(&whole).unwrap();
    for row in &rows {
        let place = (0..rows.len()).find(|i| {
            finished.column("_partition").unwrap().i32().unwrap().get(*i) == Some(row.partition)
                && finished.column("_offset").unwrap().i64().unwrap().get(*i) == Some(row.offset)
        });
        assert_eq!(finished.column("k").unwrap().str().unwrap().get(place.unwrap()), row.k.as_deref());
    }
}

#[test]
fn a_reduction_of_a_frame() {
    let input = source().row_schema();
    let field = |name: &str, data_type| Field { name: name.to_owned(), data_type, nullable: true };
    let output = Schema { fields: vec![field("key", DataType::Text), field("count", DataType::BigInt)] };
    let count = call("", F::CountDistinct, Some(column(TS)), DataType::BigInt);
    let reduction = Reduction::compile(&[column(K)], &[count], &input, &output, &Registry::new()).unwrap();
    let frame = batch(&proptest_rows()).frame;
    let Reduced::Rows(rows) = reduction.reduce(&frame).unwrap() else { panic!("no row fails") };
    assert_eq!(rows.get_column_names(), ["key", "count"]);
    let mut keys: Vec<Option<&str>> = frame.column("k").unwrap().str().unwrap().iter().collect();
    keys.sort();
    keys.dedup();
    assert_eq!(rows.column("key").unwrap().str().unwrap().iter().collect::<Vec<_>>(), keys);
}
