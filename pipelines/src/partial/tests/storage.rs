//! What is stored comes back.

use polars::prelude::DataFrame;
use proptest::prelude::*;

use super::{
    fixtures::*,
    selection::{filter_of, filters},
};
use crate::{
    aggregate::AggregateFunction,
    canonical::canonical_rows,
    decode::ColumnSet,
    key::KeyFilter,
    partial::{CoreKernel, Partials},
    registry::Registry,
    tail::{Budget, below},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn stored_partials_come_back(kernel in views(), rows in rows(60, 5)) {
        let whole = partials(&kernel, &rows);
        let layouts = kernel.tables();
        let frames: Vec<_> = (0..layouts.len()).map(|table| kernel.to_frame(table, &whole).unwrap()).collect();
        for (layout, frame) in layouts.iter().zip(&frames) {
            let names: Vec<String> = layout.column_names().map(str::to_owned).collect();
            prop_assert_eq!(frame.get_column_names_owned().iter().map(|n| n.to_string()).collect::<Vec<_>>(), names);
        }
        let back = Partials { rejected: whole.rejected.clone(), ..kernel.from_frames(frames, whole.counts).unwrap() };
        assert_same(&kernel, &whole, &back);
        let twice = kernel.merge(&[&back, &kernel.empty()]).unwrap();
        assert_same(&kernel, &whole, &twice);
    }

    /// What is stored, taken as it is, and merged only where others have the key; with only the columns that are needed.
    #[test]
    fn stored_rows_are_finished_rows(kernel in views(), rows in rows(60, 5), stored in 0usize..60, needed: u128) {
        let mut core = kernel.core().clone();
        core.aggregates.retain(|call| call.function != AggregateFunction::CountDistinct);
        let kernel = CoreKernel::compile(&core, &Registry::new()).unwrap();
        if kernel.stores_finished() {
            let (stored, live) = rows.split_at(stored.min(rows.len()));
            let (stored, live) = (partials(&kernel, stored), partials(&kernel, live));
            let columns: ColumnSet = kernel.all_columns().iter().filter(|i| needed.rotate_right(*i as u32) & 1 == 1).collect();
            let frame = kernel.to_frame(0, &stored).unwrap();
            let has_nulls = |name: &String| frame.column(name).unwrap().null_count() > 0;
            let names = kernel.stored_columns(&columns);
            let enough = live.is_empty() && !names.doubts.iter().any(has_nulls);
            let read = if enough { names.rows } else { names.partials };
            let read = DataFrame::new(frame.height(), read.iter().map(|n| frame.column(n).unwrap().clone()).collect());
            let (taken, apart) = kernel.divide_stored(read.unwrap(), &columns, &live).unwrap();
            let finish = |partials: &Partials| {
                kernel.finish_within_budget(partials, &KeyFilter::all(), &columns, &Budget::unlimited())
            };
            let whole = finish(&kernel.merge(&[&stored, &live]).unwrap());
            match (whole, finish(&kernel.merge(&[&apart, &live]).unwrap())) {
                (Ok(whole), Ok(merged)) => {
                    let taken = below(taken, merged).unwrap();
                    prop_assert_eq!(taken.height(), whole.height());
                    prop_assert_eq!(taken.schema(), whole.schema());
                    prop_assert_eq!(canonical_rows(&taken).unwrap(), canonical_rows(&whole).unwrap());
                }
                (whole, merged) => {
                    prop_assert_eq!(whole.map(|_| ()).map_err(|e| e.to_string()), merged.map(|_| ()).map_err(|e| e.to_string()));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Some columns of the finished rows are those columns of all of them, of partials too that have no more than those need.
    #[test]
    fn some_columns_are_some_of_all(kernel in views(), rows in rows(60, 5), needed: u128) {
        let columns: ColumnSet = kernel.all_columns().iter().filter(|i| needed.rotate_right(*i as u32) & 1 == 1).collect();
        let whole = partials(&kernel, &rows);
        let frames = (0..kernel.tables().len()).map(|table| match (table, kernel.needs_table(table, &columns)) {
            (0, _) => kernel.to_frame(0, &whole).unwrap().select(fewest(&kernel, &columns, &whole)).unwrap(),
            (_, true) => kernel.to_frame(table, &whole).unwrap(),
            (_, false) => DataFrame::default(),
        });
        let few = kernel.from_frames_of(frames.collect(), whole.counts, &columns).unwrap();
        let merged = kernel.merge(&[&few, &kernel.empty()]).unwrap();
        let some = kernel.finish_within_budget(&merged, &KeyFilter::all(), &columns, &Budget::unlimited());
        match (kernel.finish(&whole), some) {
            (Ok(all), Ok(some)) => {
                let expected = columns.iter().map(|i| all.columns()[i].clone()).collect();
                prop_assert!(some.equals_missing(&DataFrame::new(all.height(), expected).unwrap()));
            }
            // Which aggregate is out of its type's range may be none of those.
            (all, some) => prop_assert!(all.is_err() && (some.is_err() || columns != kernel.all_columns())),
        }
    }
}

/// The columns of the groups' table that some columns need, as few as may be.
fn fewest(kernel: &CoreKernel, columns: &ColumnSet, whole: &Partials) -> Vec<String> {
    let frame = kernel.to_frame(0, whole).unwrap();
    let mut stored = kernel.stored_columns(columns);
    for (value, state) in &stored.of_overflow {
        if frame.column(value).unwrap().null_count() == 0 {
            stored.partials.retain(|name| name != state);
        }
    }
    stored.partials
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of stored rows, a filter's stretch has all that it selects.
    #[test]
    fn a_stretch_has_what_is_wanted(kernel in views(), rows in rows(60, 5), bounds in filters()) {
        let filter = kernel.partials_filter(&filter_of(&kernel, &bounds));
        let whole = partials(&kernel, &rows);
        let frames = |short: bool| (0..kernel.tables().len()).map(|table| {
            let frame = kernel.to_frame(table, &whole).unwrap();
            if short { kernel.stretch(frame, &filter).unwrap() } else { frame }
        }).collect::<Vec<_>>();
        let wanted = |short| kernel.select(&kernel.from_frames(frames(short), whole.counts).unwrap(), &filter);
        assert_same(&kernel, &wanted(false), &wanted(true));
    }
}

#[test]
fn frames_in_disorder_are_refused() {
    let kernel = CoreKernel::compile(&core(None, false), &Registry::new()).unwrap();
    let frames =
        || -> Vec<_> { (0..kernel.tables().len()).map(|t| kernel.to_frame(t, &kernel.empty()).unwrap()).collect() };
    let mut one_less = frames();
    one_less.pop();
    assert!(kernel.from_frames(one_less, Default::default()).is_err());
    let mut renamed = frames();
    renamed[0].rename("sum_x", "sum_y".into()).unwrap();
    assert!(kernel.from_frames(renamed, Default::default()).is_err());
    assert!(kernel.from_frames(frames(), Default::default()).is_ok());
}
