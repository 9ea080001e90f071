//! Hopping windows from panes are those of the records themselves.

use proptest::prelude::*;

use super::fixtures::*;
use crate::{
    core::{Core, Key, Partitioning, Window},
    partial::CoreKernel,
    registry::Registry,
    window::WindowClock,
};

/// Every record once for each window that it is in, with that window's start.
fn multiplied(rows: &[Row], window: &Window) -> Vec<Row> {
    let clock = WindowClock::new(window).unwrap();
    let mut copies = Vec::new();
    for row in rows {
        let unit = clock.unit_of(row.ts).unwrap();
        let mut start = unit - unit.rem_euclid(window.slide);
        while start + window.size > unit {
            copies.push(Row { w: Some(clock.start_of_unit(start).unwrap()), ..row.clone() });
            start -= window.slide;
        }
    }
    copies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn panes_give_the_windows_of_records(window in windows(), first: bool, rows in rows(60, 60)) {
        let hopping = CoreKernel::compile(&core(Some(window.clone()), first), &Registry::new()).unwrap();
        let mut keys = vec![key()];
        keys.insert(usize::from(!first), Key::Expr { name: "window_start".to_owned(), expr: column(W) });
        let partitioning = Partitioning::Hash { buckets: 1 };
        let naive = Core { window: None, keys, partitioning, ..core(None, first) };
        let naive = CoreKernel::compile(&naive, &Registry::new()).unwrap();
        let windows = hopping.finish(&partials(&hopping, &rows));
        let expected = naive.finish(&partials(&naive, &multiplied(&rows, &window)));
        match (windows, expected) {
            (Ok(windows), Ok(expected)) => {
                let clock = WindowClock::new(&window).unwrap();
                let ends = windows.column("window_end").unwrap().clone();
                let starts = windows.column("window_start").unwrap();
                for (start, end) in starts.datetime().unwrap().physical().iter().zip(ends.datetime().unwrap().physical().iter()) {
                    prop_assert_eq!(clock.step(start.unwrap(), window.size).unwrap(), end.unwrap());
                }
                let windows = windows.drop("window_end").unwrap();
                prop_assert!(windows.equals_missing(&expected), "{windows}\n{expected}");
            }
            (windows, expected) => prop_assert_eq!(windows.is_err(), expected.is_err()),
        }
    }
}
