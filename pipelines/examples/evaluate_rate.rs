//! Prints how fast compiled expressions are evaluated, by batch size: `cargo build --workspace --examples`, then `target/debug/examples/evaluate_rate`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use polars::prelude as pl;
use watershed_pipelines::{
    expr::{CompiledExpr, Expr, Function},
    registry::Registry,
    types::{DataType, Field, Schema, Value},
};

fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr::Call { function, args, data_type }
}

fn main() {
    let columns = [("card", DataType::Text), ("amount", DataType::BigInt), ("score", DataType::Double)];
    let fields = columns.map(|(name, data_type)| Field { name: name.to_owned(), data_type, nullable: true });
    let schema = Schema { fields: fields.to_vec() };
    let column = |index| Expr::column(&schema, index);
    let literal = |value, data_type| Expr::Literal { value, data_type };
    let score =
        call(Function::Greater, vec![column(2), literal(Value::Double(0.5), DataType::Double)], DataType::Boolean);
    let card = call(
        Function::Equal,
        vec![column(0), literal(Value::Text("card-7".to_owned()), DataType::Text)],
        DataType::Boolean,
    );
    let percent =
        call(Function::Multiply, vec![column(1), literal(Value::Int(100), DataType::BigInt)], DataType::BigInt);
    let exprs = [
        ("score > 0.5 AND card = 'card-7'", call(Function::And, vec![score.clone(), card], DataType::Boolean)),
        ("amount * 100", percent.clone()),
        ("amount * 100 > 5000 AND score > 0.5", {
            let more =
                call(Function::Greater, vec![percent, literal(Value::Int(5_000), DataType::BigInt)], DataType::Boolean);
            call(Function::And, vec![more, score], DataType::Boolean)
        }),
        ("CAST(amount AS TEXT)", Expr::Cast { input: Box::new(column(1)), to: DataType::Text, safe: false }),
    ];
    for (what, expr) in exprs {
        let compiled = CompiledExpr::compile(&expr, &schema, &Registry::new()).unwrap();
        for rows in [1usize, 1_000, 100_000] {
            let cards: Vec<String> = (0..rows).map(|i| format!("card-{}", i % 50)).collect();
            let amounts: Vec<i64> = (0..rows as i64).collect();
            let scores: Vec<f64> = (0..rows).map(|i| (i % 100) as f64 / 100.0).collect();
            let frame = pl::df!("card" => cards, "amount" => amounts, "score" => scores).unwrap();
            let mut best = f64::INFINITY;
            for _ in 0..200 {
                let start = Instant::now();
                compiled.evaluate(&frame).unwrap();
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{what}: {rows} rows in {:.1} µs ({:.0} M rows/s)", best * 1e6, rows as f64 / best / 1e6);
        }
    }
}
