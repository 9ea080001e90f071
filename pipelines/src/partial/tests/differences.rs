//! Differences are found, all of them and no others, and told with both values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixtures::*;
use crate::partial::Partials;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn differences_are_those_of_the_canonical_bytes(kernel in views(), left in rows(30, 5), right in rows(30, 5), same in 0..30usize) {
        // Some records are on both sides.
        let right: Vec<Row> = left.iter().take(same).chain(&right).cloned().collect();
        let (left, right) = (partials(&kernel, &left), partials(&kernel, &right));
        let bytes = |partials: &Partials| -> BTreeMap<Vec<u8>, Vec<u8>> { kernel.canonical(partials).collect() };
        let (ours, theirs) = (bytes(&left), bytes(&right));
        let differing = ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>();
        let expected: Vec<&Vec<u8>> = differing.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).collect();
        let found = kernel.differences(&left, &right, usize::MAX).unwrap();
        prop_assert_eq!(found.count, expected.len() as u64);
        for (found, key) in found.listed.iter().zip(expected) {
            prop_assert_eq!(&found.key, &kernel.describe_key(key));
            prop_assert_eq!((found.left.is_some(), found.right.is_some()), (ours.contains_key(key), theirs.contains_key(key)));
            prop_assert_ne!(&found.left, &found.right);
        }
        let none = kernel.differences(&left, &left, 5).unwrap();
        prop_assert_eq!((none.count, none.listed.len()), (0, 0));
    }

    #[test]
    fn the_rows_of_all_partitions_are_all_rows(kernel in views(), rows in rows(60, 40)) {
        let all = partials(&kernel, &rows);
        let parts: Vec<Partials> =
            kernel.rows_by_partition(&all).unwrap().values().map(|of_partition| all.rows(of_partition)).collect();
        let merged = kernel.merge(&parts.iter().collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(kernel.digest(&merged), kernel.digest(&all));
    }
}
