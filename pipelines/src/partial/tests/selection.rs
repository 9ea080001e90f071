//! Selecting, dividing, and reading only what a filter needs.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::fixtures::*;
use crate::{
    key::{KeyBound, KeyFilter, decode_value},
    partial::CoreKernel,
    types::{DataType, Value},
};

fn bound(values: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = KeyBound> {
    prop_oneof![
        Just(KeyBound::Any),
        vec(values.clone(), 0..4).prop_map(KeyBound::In),
        (option::of((values.clone(), any::<bool>())), option::of((values, any::<bool>())))
            .prop_map(|(lower, upper)| KeyBound::Range { lower, upper }),
    ]
}

pub(super) fn filters() -> impl Strategy<Value = (KeyBound, KeyBound)> {
    let texts = select(vec!["", "a", "a\0", "ab", "b", "zz"]).prop_map(|t| Value::Text(t.to_owned()));
    let times = (-10..200i64).prop_map(|hours| Value::Timestamp(1_711_756_800_000_000 + hours * 3_600_000_000));
    (bound(texts), bound(times))
}

pub(super) fn filter_of(kernel: &CoreKernel, (text, time): &(KeyBound, KeyBound)) -> KeyFilter {
    let column = |t: &DataType| if *t == DataType::Timestamp { time.clone() } else { text.clone() };
    KeyFilter { columns: key_types(kernel).iter().map(column).collect() }
}

fn key_types(kernel: &CoreKernel) -> Vec<DataType> {
    kernel.core().keys.iter().map(|k| k.data_type()).collect()
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        _ => panic!("{a:?} {b:?}"),
    }
}

fn inside(bound: &KeyBound, value: &Value) -> bool {
    match bound {
        KeyBound::Any | KeyBound::Range { lower: None, upper: None } => true,
        _ if *value == Value::Null => false,
        KeyBound::In(values) => values.contains(value),
        KeyBound::Range { lower, upper } => {
            lower.as_ref().is_none_or(|(l, i)| compare(value, l).is_gt() || (*i && value == l))
                && upper.as_ref().is_none_or(|(u, i)| compare(value, u).is_lt() || (*i && value == u))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn selecting_is_filtering(kernel in views(), rows in rows(60, 5), bounds in filters()) {
        let filter = filter_of(&kernel, &bounds);
        let whole = partials(&kernel, &rows);
        let selected = kernel.select(&whole, &filter);
        let types = key_types(&kernel);
        let expected: Vec<_> = kernel
            .canonical(&whole)
            .filter(|(key, _)| {
                let mut rest = &key[1..];
                types.iter().zip(&filter.columns).all(|(t, b)| inside(b, &decode_value(&mut rest, *t).unwrap()))
            })
            .collect();
        prop_assert_eq!(kernel.canonical(&selected).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn finishing_what_a_filter_needs_is_filtering_what_is_finished(kernel in views(), rows in rows(60, 5), bounds in filters()) {
        let filter = filter_of(&kernel, &bounds);
        let whole = partials(&kernel, &rows);
        let needed = kernel.partials_filter(&filter);
        let partitions = kernel.partitions_of(&needed);
        let read = kernel.split(whole.clone()).unwrap().into_iter().filter(|(name, _)| partitions.matches(name));
        let read: Vec<_> = read.map(|(_, part)| kernel.select(&part, &needed)).collect();
        let read = kernel.merge(&read.iter().collect::<Vec<_>>()).unwrap();
        if let (Ok(all), Ok(few)) = (kernel.finish_within(&whole, &filter), kernel.finish_within(&read, &filter)) {
            prop_assert!(all.equals_missing(&few), "{all}\n{few}");
        }
    }

    #[test]
    fn partitions_make_the_whole(kernel in views(), rows in rows(60, 5)) {
        let whole = partials(&kernel, &rows);
        let parts: Vec<_> = kernel.split(whole.clone()).unwrap().into_values().collect();
        let mut together = kernel.merge(&parts.iter().collect::<Vec<_>>()).unwrap();
        together.counts = whole.counts;
        together.rejected = whole.rejected.clone();
        assert_same(&kernel, &whole, &together);
    }
}
