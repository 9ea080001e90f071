//! Compiled expressions against a reference that evaluates one row at a time.

mod cases;
mod generate;
mod reference;

use polars::prelude as pl;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{CompiledExpr, Expr, kernels::user::reader, lanes};
use crate::{
    error::Failure,
    registry::Registry,
    types::{DataType, Schema, Value},
};

/// A frame with these rows.
fn frame(schema: &Schema, rows: &[Vec<Value>]) -> pl::DataFrame {
    let columns = schema.fields.iter().enumerate().map(|(index, field)| {
        let mut column = pl::Column::full_null(field.name.as_str().into(), 0, &field.data_type.to_polars());
        for row in rows {
            let one = lanes::constant(&row[index], field.data_type).unwrap().with_name(field.name.as_str().into());
            column.append(&one).unwrap();
        }
        column.rechunk()
    });
    pl::DataFrame::new(rows.len(), columns.collect()).unwrap()
}

/// The outcome of every row.
fn outcomes(compiled: &CompiledExpr, data_type: DataType, batch: &pl::DataFrame) -> Vec<Result<Value, Failure>> {
    let evaluated = compiled.evaluate(batch).unwrap();
    assert_eq!(evaluated.column.len(), batch.height());
    assert_eq!(*evaluated.column.dtype(), data_type.to_polars());
    assert!(evaluated.failures.windows(2).all(|pair| pair[0].0 < pair[1].0), "failures are sorted");
    let read = reader(&evaluated.column, data_type).unwrap();
    let mut outcomes: Vec<Result<Value, Failure>> = (0..batch.height()).map(|row| Ok(read(row))).collect();
    if data_type == DataType::Double {
        for value in evaluated.column.f64().unwrap().iter().flatten() {
            assert_eq!(value.to_bits(), lanes::canonical(value).to_bits(), "doubles are canonical");
        }
    }
    for (row, failure) in evaluated.failures {
        assert_eq!(outcomes[row as usize], Ok(Value::Null), "the value of a failed row is NULL");
        outcomes[row as usize] = Err(failure);
    }
    outcomes
}

/// Equality of outcomes in which NaN equals itself.
fn same(a: &Result<Value, Failure>, b: &Result<Value, Failure>) -> bool {
    match (a, b) {
        (Ok(Value::Double(a)), Ok(Value::Double(b))) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn registry() -> Registry {
    // Halves even numbers, fails for odd ones, and makes -1 of NULL.
    Registry::new().scalar("half", 1, &[DataType::BigInt], DataType::BigInt, |arguments| match arguments[0] {
        Value::Int(v) if v % 2 == 0 => Ok(Value::Int(v / 2)),
        Value::Int(_) => Err("odd".to_owned()),
        _ => Ok(Value::Int(-1)),
    })
}

fn check(expr: &Expr, schema: &Schema, rows: &[Vec<Value>], cut: usize) {
    let registry = registry();
    let compiled = CompiledExpr::compile(expr, schema, &registry).unwrap();
    let batch = frame(schema, rows);
    let whole = outcomes(&compiled, expr.data_type(), &batch);
    for (index, row) in rows.iter().enumerate() {
        let expected = reference::evaluate(expr, row);
        assert!(
            same(&whole[index], &expected),
            "row {row:?}\n{expr:#?}\ngives {:?}, expected {expected:?}",
            whole[index]
        );
        let alone = outcomes(&compiled, expr.data_type(), &batch.slice(index as i64, 1));
        assert!(same(&alone[0], &whole[index]), "row {row:?} alone gives {:?}\n{expr:#?}", alone[0]);
    }
    let cut = cut.min(rows.len());
    let (head, tail) = batch.split_at(cut as i64);
    let mut parts = outcomes(&compiled, expr.data_type(), &head);
    parts.extend(outcomes(&compiled, expr.data_type(), &tail));
    assert!(parts.iter().zip(&whole).all(|(a, b)| same(a, b)), "in two parts\n{expr:#?}");
    // Several chunks in one frame.
    let mut chunked = head;
    chunked.vstack_mut(&tail).unwrap();
    let chunked = outcomes(&compiled, expr.data_type(), &chunked);
    assert!(chunked.iter().zip(&whole).all(|(a, b)| same(a, b)), "in chunks\n{expr:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_has_the_reference_value_in_every_batch(seed in any::<u64>(), height in 0usize..24, depth in 1u32..5, cut in 0usize..24) {
        let mut rng = StdRng::seed_from_u64(seed);
        let schema = generate::schema();
        let rows: Vec<Vec<Value>> = (0..height).map(|_| generate::row(&mut rng, &schema)).collect();
        let data_type = generate::TYPES[rng.random_range(0..generate::TYPES.len())];
        let expr = generate::expr(&mut rng, &schema, data_type, depth);
        check(&expr, &schema, &rows, cut);
    }
}
