//! What is stored comes back.

use proptest::prelude::*;

use super::fixtures::*;
use crate::{
    aggregate::AggregateFunction,
    canonical::canonical_rows,
    partial::{CoreKernel, Partials},
    registry::Registry,
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

    /// What is stored, taken as it is, and merged only where others have the key.
    #[test]
    fn stored_rows_are_finished_rows(kernel in views(), rows in rows(60, 5), stored in 0usize..60) {
        let mut core = kernel.core().clone();
        core.aggregates.retain(|call| call.function != AggregateFunction::CountDistinct);
        let kernel = CoreKernel::compile(&core, &Registry::new()).unwrap();
        if kernel.stores_finished() {
            let (stored, live) = rows.split_at(stored.min(rows.len()));
            let (stored, live) = (partials(&kernel, stored), partials(&kernel, live));
            let (mut taken, apart) = kernel.divide_stored(kernel.to_frame(0, &stored).unwrap(), &live).unwrap();
            let whole = kernel.finish(&kernel.merge(&[&stored, &live]).unwrap());
            match (whole, kernel.finish(&kernel.merge(&[&apart, &live]).unwrap())) {
                (Ok(whole), Ok(merged)) => {
                    taken.vstack_mut(&merged).unwrap();
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
