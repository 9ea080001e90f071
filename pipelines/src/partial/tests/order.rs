//! Partials do not depend on how the records came.

use proptest::{prelude::*, sample::Index};

use super::fixtures::*;
use crate::partial::Partials;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn splits_and_merges_do_not_show(
        kernel in views(),
        (rows, shuffled) in rows(60, 5).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        one_builder: bool,
        pairs in prop::collection::vec((any::<Index>(), any::<Index>()), 8),
        in_place: bool,
    ) {
        let whole = partials(&kernel, &rows);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len() + 1)).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let batches: Vec<_> = cuts.windows(2).map(|cut| &shuffled[cut[0]..cut[1]]).collect();
        let merged = if one_builder {
            let mut builder = kernel.builder();
            batches.iter().for_each(|rows| builder.push(&batch(rows)).unwrap());
            builder.finish()
        } else {
            let mut parts: Vec<Partials> = batches.iter().map(|rows| partials(&kernel, rows)).collect();
            for (a, b) in pairs {
                if parts.len() < 2 {
                    break;
                }
                let a = parts.swap_remove(a.index(parts.len()));
                let at = b.index(parts.len());
                if in_place {
                    kernel.merge_into(&mut parts[at], &a).unwrap();
                } else {
                    parts[at] = kernel.merge(&[&a, &parts[at]]).unwrap();
                }
            }
            kernel.merge(&parts.iter().collect::<Vec<_>>()).unwrap()
        };
        assert_same(&kernel, &whole, &merged);
        match (kernel.finish(&whole), kernel.finish(&merged)) {
            (Ok(a), Ok(b)) => {
                prop_assert!(a.equals_missing(&b));
                prop_assert_eq!(a.schema().as_ref(), &kernel.core().output_schema().to_polars());
            }
            (a, b) => prop_assert_eq!(a.unwrap_err().to_string(), b.unwrap_err().to_string()),
        }
        let counts = whole.counts;
        prop_assert_eq!(counts.accepted, rows.len() as u64);
        prop_assert_eq!(counts.accepted, counts.counted + counts.filtered + counts.deduplicated + counts.rejected);
        prop_assert_eq!(whole.rejected.len() as u64, counts.rejected);
    }
}
