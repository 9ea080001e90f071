//! `SUM`.

use polars::prelude::Column;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Rows, Stored, wrong_argument},
        exact_double::ExactDouble,
        integer_sum::ExactInteger,
    },
    columns::{self, TypedColumn, Values},
    error::PipelineError,
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

    fn rest(&self, cell: &ExactDouble, into: &mut Vec<u8>) -> bool {
        cell.append_rest(into)
    }

    fn restore(&self, finished: &TypedColumn, cells: &mut [ExactDouble]) -> Result<(), PipelineError> {
        let Values::Double(values) = &finished.values else { return Err(wrong_argument()) };
        for (row, cell) in cells.iter_mut().enumerate().filter(|(row, _)| finished.is_valid(*row)) {
            cell.add(values.value(row));
        }
        Ok(())
    }

    fn restore_rest(&self, cell: &mut ExactDouble, rest: &[u8]) -> Option<()> {
        cell.restore_rest(rest)
    }
}
