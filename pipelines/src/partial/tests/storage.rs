//! What is stored comes back.

use proptest::prelude::*;

use super::fixtures::*;
use crate::partial::Partials;

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
}

#[test]
fn frames_in_disorder_are_refused() {
    let kernel = crate::partial::CoreKernel::compile(&core(None, false), &crate::registry::Registry::new()).unwrap();
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
