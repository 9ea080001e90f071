//! The columns that a reduction needs of a frame, without the rows that it leaves out.

use polars::prelude::{BooleanChunked, Column, DataFrame};
use polars_arrow::bitmap::Bitmap;

use crate::{
    columns::{self, TypedColumn, Values},
    error::PipelineError,
    expr::Failures,
    partial::reduction::{KeySource, Plan, Pushed, RowFailure},
    types::DataType,
    window::WindowClock,
};

/// The evaluated columns of one push.
pub(super) struct Inputs {
    pub(super) keys: Vec<Column>,
    pub(super) exprs: Vec<Column>,
    pub(super) order: Option<[Column; 3]>,
    pub(super) height: usize,
    /// Failures of each expression.
    expr_failures: Vec<Failures>,
    /// Failures of the window key.
    window_failures: Failures,
    /// Rows with a window.
    inside: Option<Bitmap>,
}

impl Inputs {
    pub(super) fn evaluate(plan: &Plan, frame: &DataFrame) -> Result<Inputs, PipelineError> {
        let mut inputs = Inputs {
            keys: Vec::new(),
            exprs: Vec::new(),
            order: None,
            height: frame.height(),
            expr_failures: Vec::new(),
            window_failures: Vec::new(),
            inside: None,
        };
        for (_, expr) in &plan.exprs {
            let evaluated = expr.evaluate(frame)?;
            inputs.exprs.push(evaluated.column);
            inputs.expr_failures.push(evaluated.failures);
        }
        for key in &plan.keys {
            let column = match &key.source {
                KeySource::Expr(index) => inputs.exprs[*index].clone(),
                KeySource::Window { column, clock } => inputs.window(&key.name, frame.column(column)?, clock)?,
            };
            inputs.keys.push(column);
        }
        if let Some(names) = &plan.order {
            let [event_time, partition, offset] = names;
            inputs.order = Some([
                frame.column(event_time)?.clone(),
                frame.column(partition)?.clone(),
                frame.column(offset)?.clone(),
            ]);
        }
        Ok(inputs)
    }

    fn window(&mut self, name: &str, time: &Column, clock: &WindowClock) -> Result<Column, PipelineError> {
        let TypedColumn { values: Values::BigInt(times), validity } = TypedColumn::new(time)? else {
            return Err(PipelineError::Definition(format!("the window's time \"{}\" is not a TIMESTAMP", time.name())));
        };
        let starts = clock.starts_of(times.values());
        let is_inside = |row: usize| validity.as_ref().is_none_or(|v| v.get_bit(row));
        let failures = starts.iter().enumerate().filter(|(row, _)| is_inside(*row));
        self.window_failures = failures.filter_map(|(row, s)| s.err().map(|failure| (row as u32, failure))).collect();
        self.inside = validity;
        let starts = starts.into_iter().map(Result::unwrap_or_default).collect();
        Ok(columns::bigint_column(name, DataType::Timestamp, starts, None))
    }

    /// Leaves out the rows with a failure, and those outside all windows.
    pub(super) fn leave_out(&mut self, plan: &Plan, height: usize) -> Result<Pushed, PipelineError> {
        let mut pushed = Pushed::default();
        if self.inside.is_none() && self.window_failures.is_empty() && self.expr_failures.iter().all(Vec::is_empty) {
            return Ok(pushed);
        }
        let mut keep = vec![true; height];
        if let Some(inside) = &self.inside {
            keep.iter_mut().zip(inside.iter()).for_each(|(keep, inside)| *keep = inside);
            pushed.outside = inside.unset_bits();
        }
        for (column, failures) in self.failures(plan)? {
            for (row, failure) in failures {
                if std::mem::replace(&mut keep[row as usize], false) {
                    pushed.failures.push(RowFailure { row, column: column.to_owned(), failure });
                }
            }
        }
        pushed.failures.sort_unstable_by_key(|f| f.row);
        let mask: BooleanChunked = keep.iter().copied().collect();
        self.height = keep.iter().filter(|keep| **keep).count();
        let order = self.order.iter_mut().flatten();
        for column in self.keys.iter_mut().chain(&mut self.exprs).chain(order) {
            *column = column.filter(&mask)?;
        }
        Ok(pushed)
    }

    /// Failures by output column, in the order in which they are looked for. An argument can only fail where the aggregate's
    /// filter is true.
    fn failures<'p>(&self, plan: &'p Plan) -> Result<Vec<(&'p str, Failures)>, PipelineError> {
        let mut failures = Vec::new();
        for key in &plan.keys {
            let of_key = match key.source {
                KeySource::Expr(index) => self.expr_failures[index].clone(),
                KeySource::Window { .. } => self.window_failures.clone(),
            };
            failures.push((key.name.as_str(), of_key));
        }
        for call in &plan.calls {
            let selected = match call.filter {
                Some(filter) => {
                    failures.push((call.name.as_str(), self.expr_failures[filter].clone()));
                    columns::mask_of(&self.exprs[filter])?
                }
                None => None,
            };
            if let Some(argument) = call.argument {
                let is_selected = |row: u32| selected.as_ref().is_none_or(|s| s.get_bit(row as usize));
                let of_argument = self.expr_failures[argument].iter().filter(|(row, _)| is_selected(*row)).copied();
                failures.push((call.name.as_str(), of_argument.collect()));
            }
        }
        Ok(failures)
    }
}
