//! `SUM`.

use polars::prelude::Column;
use rayon::prelude::*;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Rounded, Rows, Stored, wrong_argument},
        exact_double::ExactDouble,
        integer_sum::ExactInteger,
    },
    columns::{self, TypedColumn, Values},
    error::PipelineError,
    partial::WORTH_THREADS,
    types::DataType,
};

/// Decimals have at most 38 digits.
const DECIMAL_LIMIT: u128 = 10u128.pow(38);

/// `SUM` of integers and decimals.
#[derive(Clone, Debug)]
pub(super) struct IntegerSum {
    /// Of the result.
    pub(super) data_type: DataType,
}

impl IntegerSum {
    fn result(&self, sum: &ExactInteger) -> Option<i128> {
        sum.small().filter(|v| match self.data_type {
            DataType::Decimal { .. } => v.unsigned_abs() < DECIMAL_LIMIT,
            _ => i64::try_from(*v).is_ok(),
        })
    }
}

/// Adds integers or decimals of any width.
#[inline]
pub(super) fn add_integers(
    rows: &Rows,
    column: &TypedColumn,
    mut add: impl FnMut(usize, i128),
) -> Result<(), PipelineError> {
    match &column.values {
        Values::Int(values) => {
            let values = values.values().as_slice();
            rows.for_each(Some(column), |group, row| add(group, i128::from(values[row])));
        }
        Values::BigInt(values) => {
            let values = values.values().as_slice();
            rows.for_each(Some(column), |group, row| add(group, i128::from(values[row])));
        }
        Values::Decimal(values) => {
            let values = values.values().as_slice();
            rows.for_each(Some(column), |group, row| add(group, values[row]));
        }
        _ => return Err(wrong_argument()),
    }
    Ok(())
}

impl Aggregate for IntegerSum {
    type Cell = ExactInteger;
    const STORED: Stored = Stored::FinishedUnlessOverflow;

    fn update(
        &self,
        cells: &mut [ExactInteger],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        add_integers(rows, argument.ok_or_else(wrong_argument)?, |group, value| cells[group].add(value))
    }

    fn finish(&self, name: &str, cells: &[ExactInteger]) -> Result<Column, PipelineError> {
        let results = || cells.iter().map(|cell| if cell.is_some() { self.result(cell) } else { None });
        let validity = columns::bitmap(results().map(|r| r.is_some()).collect::<Vec<_>>().into_iter());
        let values = results().map(Option::unwrap_or_default);
        Ok(match self.data_type {
            DataType::Decimal { .. } => columns::decimal_column(name, self.data_type, values.collect(), validity),
            // `result` has checked the range.
            _ => columns::bigint_column(name, DataType::BigInt, values.map(|v| v as i64).collect(), validity),
        })
    }

    fn overflows(&self, cell: &ExactInteger) -> bool {
        cell.is_some() && self.result(cell).is_none()
    }

    fn overflow(&self, name: &str) -> PipelineError {
        PipelineError::Overflow {
            aggregate: name.to_owned(),
            data_type: self.data_type.to_string(),
            hint: match self.data_type {
                DataType::Decimal { .. } => "sum a DECIMAL of fewer digits, or CAST the argument to DOUBLE".to_owned(),
                _ => "CAST the argument to BIGINT, whose sum is a DECIMAL(38,0)".to_owned(),
            },
        }
    }

    fn restore(&self, finished: &TypedColumn, cells: &mut [ExactInteger]) -> Result<(), PipelineError> {
        for (row, cell) in cells.iter_mut().enumerate().filter(|(row, _)| finished.is_valid(*row)) {
            *cell = ExactInteger::of(match &finished.values {
                Values::BigInt(values) => i128::from(values.value(row)),
                Values::Decimal(values) => values.value(row),
                _ => return Err(wrong_argument()),
            });
        }
        Ok(())
    }
}

/// `SUM` of doubles: exact, rounded once.
#[derive(Clone, Debug)]
pub(super) struct DoubleSum;

impl Aggregate for DoubleSum {
    type Cell = ExactDouble;
    const STORED: Stored = Stored::FinishedAndRest;

    fn update(
        &self,
        cells: &mut [ExactDouble],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        let Some(TypedColumn { values: Values::Double(values), .. }) = argument else { return Err(wrong_argument()) };
        let values = values.values().as_slice();
        rows.for_each(argument, |group, row| cells[group].add(values[row]));
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[ExactDouble]) -> Result<Column, PipelineError> {
        let validity = columns::bitmap(cells.iter().map(ExactDouble::is_some));
        Ok(columns::double_column(name, cells.iter().map(ExactDouble::round).collect(), validity))
    }

    fn finish_with_rests(&self, name: &str, cells: &[ExactDouble]) -> Result<Rounded, PipelineError> {
        let (mut finished, mut rests) = (Vec::new(), Vec::new());
        // A rest is a number: NaN is none that a double can tell.
        let rounded = |cell: &ExactDouble| {
            let (rounded, rest) = cell.round_with_rest();
            (rounded, rest.unwrap_or(f64::NAN))
        };
        cells.par_iter().with_min_len(WORTH_THREADS).map(rounded).unzip_into_vecs(&mut finished, &mut rests);
        let tell_all = !rests.iter().any(|rest| rest.is_nan());
        let of_values = columns::bitmap(cells.iter().map(ExactDouble::is_some));
        let of_rests = columns::bitmap(rests.iter().map(|rest| *rest != 0.0 && !rest.is_nan()));
        let rests = match of_rests.as_ref().is_some_and(|bits| bits.set_bits() == 0) {
            true => Column::full_null(name.into(), cells.len(), &polars::prelude::DataType::Float64),
            false => columns::double_column(name, rests, of_rests),
        };
        Ok(Rounded { finished: columns::double_column(name, finished, of_values), rests, tell_all })
    }

    fn tells_all(&self, cell: &ExactDouble) -> bool {
        cell.round_with_rest().1.is_some()
    }

    fn restore(&self, finished: &TypedColumn, cells: &mut [ExactDouble]) -> Result<(), PipelineError> {
        let Values::Double(values) = &finished.values else { return Err(wrong_argument()) };
        for (row, cell) in cells.iter_mut().enumerate().filter(|(row, _)| finished.is_valid(*row)) {
            cell.add(values.value(row));
        }
        Ok(())
    }

    fn restore_rest(&self, cell: &mut ExactDouble, rest: f64) -> Option<()> {
        let rounded = cell.round();
        cell.add(rest);
        let (same, own) = cell.round_with_rest();
        (rest != 0.0 && same.to_bits() == rounded.to_bits() && own == Some(rest)).then_some(())
    }

    fn restore_state(&self, cell: &mut ExactDouble, state: ExactDouble) -> Option<()> {
        let (rounded, rest) = state.round_with_rest();
        let is_its_own = rest.is_none() && rounded.to_bits() == cell.round().to_bits();
        *cell = state;
        is_its_own.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::aggregate::accumulator::{Accumulator, Cells, StoredCells};

    fn doubles() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => any::<f64>(),
            4 => -1000.0..1000.0,
            1 => select(vec![0.1, -0.1, 1e300, -1e300, 5e-324, 1e14, 1e16, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
        ]
    }

    fn sums(groups: &[Vec<f64>]) -> Box<dyn Accumulator> {
        let values: Vec<f64> = groups.iter().flatten().copied().collect();
        let numbers: Vec<u32> = (0..).zip(groups).flat_map(|(i, group)| group.iter().map(move |_| i)).collect();
        let mut sums = Cells::boxed(DoubleSum);
        sums.resize(groups.len());
        let column = TypedColumn::new(&columns::double_column("x", values, None)).unwrap();
        sums.update(&Rows { groups: &numbers, selected: None, order: None }, Some(&column)).unwrap();
        sums
    }

    fn encoded(sums: &dyn Accumulator, group: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        sums.encode(group, &mut bytes);
        bytes
    }

    fn restored(finished: &Column, rests: &Column, states: &Column) -> Result<Box<dyn Accumulator>, PipelineError> {
        let mut back = Cells::boxed(DoubleSum);
        back.restore(StoredCells { finished, rests: Some(rests), states: Some(states) })?;
        Ok(back)
    }

    proptest! {
        #[test]
        fn stored_sums_come_back(groups in prop::collection::vec(prop::collection::vec(doubles(), 0..6), 1..8)) {
            let sums = sums(&groups);
            let StoredCells { finished, rests: Some(rests), states: Some(states) } = sums.store("total").unwrap() else {
                panic!("a sum of doubles has rests and states")
            };
            prop_assert!(finished.equals_missing(&sums.finish("total").unwrap()));
            let back = restored(&finished, &rests, &states).unwrap();
            for (group, values) in groups.iter().enumerate() {
                prop_assert_eq!(encoded(&*back, group), encoded(&*sums, group));
                // What two doubles say is not said again.
                let [rest, state] = [&rests, &states].map(|column| !column.get(group).unwrap().is_null());
                prop_assert!(!(rest && state));
                prop_assert_eq!(finished.get(group).unwrap().is_null(), values.is_empty());
            }
        }

        /// What is the rest or the state of another sum is refused, or makes a sum of which it is the rest or the state.
        #[test]
        fn forged_rests_and_states_are_refused(x in doubles().prop_filter("finite", |x| x.is_finite()), rest in prop::option::of(doubles()), of in prop::option::of(prop::collection::vec(doubles(), 0..4))) {
            let finished = columns::double_column("total", vec![x], None);
            let rests = columns::double_column("total", vec![rest.unwrap_or_default()], columns::bitmap([rest.is_some()].iter().copied()));
            let state = of.map(|values| encoded(&*sums(&[values]), 0));
            let states = columns::binary_rows("total", 1, |_, into| {
                into.extend(state.iter().flatten());
                state.is_some()
            });
            if let Ok(back) = restored(&finished, &rests, &states) {
                let StoredCells { rests: Some(own), states: Some(own_states), .. } = back.store("total").unwrap() else {
                    panic!("a sum of doubles has rests and states")
                };
                prop_assert!(own_states.equals_missing(&states));
                prop_assert!(state.is_some() || own.equals_missing(&rests));
            }
        }
    }

    #[test]
    fn rests_and_states_must_be_there() {
        let StoredCells { finished, rests, states } = sums(&[vec![0.1, 0.2]]).store("total").unwrap();
        for (rests, states) in [(None, states.as_ref()), (rests.as_ref(), None), (states.as_ref(), rests.as_ref())] {
            let stored = StoredCells { finished: &finished, rests, states };
            let error = Cells::boxed(DoubleSum).restore(stored).unwrap_err().to_string();
            assert!(error.contains("\"total\" is missing"), "{error}");
        }
    }

    #[test]
    fn exact_sums_have_columns_of_nulls() {
        let StoredCells { rests, states, .. } = sums(&[vec![0.5, 1.0], vec![]]).store("total").unwrap();
        for column in [rests, states] {
            assert_eq!(column.map(|column| column.null_count()), Some(2));
        }
    }
}
