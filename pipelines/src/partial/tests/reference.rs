//! Finished aggregates against plain loops over the records.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixtures::*;
use crate::{partial::CoreKernel, registry::Registry};

/// NaN greatest, zeros equal.
fn greatness(x: f64) -> (bool, f64) {
    if x.is_nan() { (true, 0.0) } else { (false, x + 0.0) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn aggregates_mean_what_they_say(rows in rows(60, 2)) {
        let mut view = core(None, false);
        // Without what can fail.
        view.aggregates.retain(|call| call.name != "sum_inverse");
        let kernel = CoreKernel::compile(&view, &Registry::new()).unwrap();
        let finished = kernel.finish(&partials(&kernel, &rows)).unwrap();
        let mut groups: BTreeMap<Option<&str>, Vec<&Row>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.keep == Some(true)) {
            groups.entry(row.k.as_deref()).or_default().push(row);
        }
        prop_assert_eq!(finished.height(), groups.len());
        for (at, (key, rows)) in groups.iter_mut().enumerate() {
            rows.sort_by_key(|row| (row.ts, row.partition, row.offset));
            let column = |name: &str| finished.column(name).unwrap().clone();
            let bigint = |name: &str| column(name).i64().unwrap().get(at);
            let text = |name: &str| column(name).str().unwrap().get(at).map(str::to_owned);
            prop_assert_eq!(text("k"), key.map(str::to_owned));
            prop_assert_eq!(bigint("n"), Some(rows.len() as i64));
            prop_assert_eq!(bigint("count_t"), Some(rows.iter().filter(|r| r.t.is_some()).count() as i64));
            let distinct: BTreeSet<_> = rows.iter().filter_map(|r| r.t.as_ref()).collect();
            prop_assert_eq!(bigint("distinct_t"), Some(distinct.len() as i64));
            prop_assert_eq!(bigint("approx_t"), Some(distinct.len() as i64));
            let if_b: BTreeSet<_> = rows.iter().filter(|r| r.b == Some(true)).filter_map(|r| r.t.as_ref()).collect();
            prop_assert_eq!(bigint("distinct_t_if_b"), Some(if_b.len() as i64));
            let ints = || rows.iter().filter_map(|r| r.i);
            prop_assert_eq!(bigint("sum_i"), ints().map(i64::from).reduce(|a, b| a + b));
            prop_assert_eq!(column("min_i").i32().unwrap().get(at), ints().min());
            prop_assert_eq!(text("max_t"), distinct.last().map(|t| (*t).clone()));
            prop_assert_eq!(text("min_t"), distinct.first().map(|t| (*t).clone()));
            prop_assert_eq!(text("first_t"), rows.iter().find_map(|r| r.t.clone()));
            prop_assert_eq!(text("last_t"), rows.iter().rev().find_map(|r| r.t.clone()));
            let doubles = || rows.iter().filter_map(|r| r.x).map(greatness);
            let max = doubles().max_by(|a, b| a.partial_cmp(b).unwrap());
            prop_assert_eq!(column("max_x").f64().unwrap().get(at).map(greatness), max);
            prop_assert_eq!(column("all_b").bool().unwrap().get(at), rows.iter().filter_map(|r| r.b).reduce(|a, b| a && b));
            prop_assert_eq!(column("any_b").bool().unwrap().get(at), rows.iter().filter_map(|r| r.b).reduce(|a, b| a || b));
        }
    }
}
