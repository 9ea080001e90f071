//! Plans that run: types as promised, and pushed-down keys change no answer.

use std::collections::BTreeMap;

use polars::prelude::DataFrame;

use super::{plans::EXPRESSIONS, *};
use crate::{
    decode::{ColumnSet, Decoder, RawRecord},
    key::KeyFilter,
    partial::{CoreKernel, Partials},
    tail::{Rel, Relations, TailPlan},
};

/// Records of two cards and countries over some days, with NULLs.
fn records() -> Vec<String> {
    (0..60u32)
        .map(|i| {
            let (card, country) = (["a", "b", "x"][(i % 3) as usize], ["\"DE\"", "\"AT\"", "null"][(i % 5 % 3) as usize]);
            format!(
                r#"{{"event_id": "e{i}", "ts": "2026-01-0{}T0{}:0{}:00Z", "card": "{card}", "merchant": "a-{i}", "country": {country},
                "amount": {}.5, "items": {}, "points": {i}, "score": {}, "day": "2026-01-0{}", "ok": {}, "extra": {{"a": {{"b": [{i}]}}}}}}"#,
                1 + i % 4,
                i % 10,
                i % 7,
                i % 9 + 1,
                i % 6 + 1,
                f64::from(i) + 0.25,
                1 + i % 4,
                i % 4 != 0
            )
        })
        .collect()
}

struct Kept(BTreeMap<String, (CoreKernel, Partials)>);

impl Kept {
    fn new(catalog: &Catalog) -> Kept {
        let records = records();
        let kept = catalog.materialized().map(|(view, core)| {
            let kernel = CoreKernel::compile(core, &registry()).unwrap_or_else(|e| panic!("{}: {e}", view.sql));
            let raw = records.iter().enumerate().map(|(i, payload)| RawRecord {
                offset: i as u64,
                append_time_micros: 1_767_700_000_000_000,
                payload: payload.as_bytes(),
            });
            let decoded = Decoder::new(&core.source).decode(0, raw, &kernel.columns_needed());
            assert!(decoded.dead.is_empty(), "{:?}", decoded.dead);
            let mut builder = kernel.builder();
            builder.push(&decoded.batch).expect("the engine takes the batch");
            (view.name.clone(), (kernel, builder.finish()))
        });
        Kept(kept.collect())
    }
}

impl Relations for Kept {
    fn scan(&self, view: &str, keys: &KeyFilter, _: &ColumnSet) -> Result<DataFrame, crate::tail::BoxError> {
        let (kernel, partials) = &self.0[view];
        let selected = kernel.select(partials, &kernel.partials_filter(keys));
        Ok(kernel.finish_within(&selected, keys)?)
    }
}

fn without_keys(rel: &mut Rel) {
    match rel {
        Rel::Scan { keys, .. } => *keys = KeyFilter::all(),
        Rel::Values { .. } => {}
        Rel::Filter { input, .. }
        | Rel::Project { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::Distinct { input } => without_keys(input),
        Rel::Join { left, right, .. } => {
            without_keys(left);
            without_keys(right);
        }
        Rel::Union { inputs, .. } => inputs.iter_mut().for_each(without_keys),
    }
}

fn run(rel: &Rel, kept: &Kept) -> DataFrame {
    let plan = TailPlan::compile(rel, &registry()).unwrap_or_else(|e| panic!("{e}\n{}", explain::rel(rel)));
    plan.execute(kept).unwrap_or_else(|e| panic!("{e}\n{}", explain::rel(rel)))
}

#[test]
fn pushed_down_keys_change_no_answer() {
    let catalog = catalog();
    let kept = Kept::new(&catalog);
    let mut rows = 0;
    for sql in plans::TAILS.iter().chain(plans::PUSHED) {
        let query = catalog.plan_query(sql, &registry()).expect("plans");
        let answer = run(&query.rel, &kept);
        let mut whole = query.rel.clone();
        without_keys(&mut whole);
        assert!(answer.equals_missing(&run(&whole, &kept)), "{sql}");
        rows += answer.height();
    }
    assert!(rows > 100, "the answers are not empty: {rows}");
}

#[test]
fn every_expression_runs() {
    for list in EXPRESSIONS {
        let text = format!("{TABLES}CREATE MATERIALIZED VIEW v AS SELECT {list} FROM payments");
        let catalog = plan(&text).expect("plans");
        let kept = Kept::new(&catalog);
        let answer = run(&catalog.view("v").expect("is there").tail, &kept);
        let (_, partials) = &kept.0["v"];
        // CAST(card AS INT) rejects every record, and no other expression one.
        let expected = if list.starts_with("CAST(card") { 0 } else { 60 };
        assert_eq!(answer.height(), expected, "{list}: {:?}", partials.rejected.first());
    }
}
