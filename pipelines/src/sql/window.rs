//! `TUMBLE` and `HOP` in `FROM`.
//!
//! `TUMBLE(table, time, size [, offset] [, 'zone'])` and `HOP(table, time, slide, size [, offset] [, 'zone'])`: the order of
//! Flink and RisingWave, the shorter distance first.

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    datetime,
    diagnostic::{Mistake, Planned, all},
    expression, literal,
    name::{fold, simple},
};
use crate::{
    core::{Partitioning, TimeBucket, Window, WindowUnit},
    expr::{Expr, Function, Interval},
    types::{DataType, Value},
};

const TUMBLE_USAGE: &str = "write TUMBLE(table, ts, INTERVAL '1 minute')";
const HOP_USAGE: &str =
    "write HOP(table, ts, INTERVAL '1 minute', INTERVAL '5 minutes'): a window of 5 minutes starts every minute";

/// A window function in `FROM`, its table and column still names.
pub(crate) struct WindowCall {
    pub(crate) table: String,
    pub(crate) table_span: Span,
    pub(crate) time: ast::Expr,
    unit: WindowUnit,
    size: i64,
    slide: i64,
    offset_micros: i64,
    time_zone: Option<String>,
}

/// Whether the name is that of a window function.
pub(crate) fn is_window(name: &str) -> bool {
    matches!(name, "tumble" | "hop" | "session" | "cumulate")
}

/// Plans the arguments.
pub(crate) fn plan(name: &str, args: &[ast::FunctionArg], span: Span) -> Planned<WindowCall> {
    let usage = match name {
        "tumble" => TUMBLE_USAGE,
        "hop" => HOP_USAGE,
        _ => {
            return Err(Mistake::new(
                span,
                format!("{} is not supported yet in a materialized view", name.to_uppercase()),
            )
            .label("not supported")
            .help("there are TUMBLE(table, ts, size) and HOP(table, ts, slide, size)"));
        }
    };
    let args = all(args.iter().map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => Err(Mistake::new(other.span(), "windows take plain arguments").help(usage)),
    }))?;
    let lengths = if name == "hop" { 2 } else { 1 };
    if args.len() < 2 + lengths || args.len() > 4 + lengths {
        return Err(Mistake::new(
            span,
            format!(
                "{} takes {} to {} arguments, {} given",
                name.to_uppercase(),
                2 + lengths,
                4 + lengths,
                match args.len() {
                    1 => "1 is".to_owned(),
                    n => format!("{n} are"),
                }
            ),
        )
        .help(usage));
    }
    let ast::Expr::Identifier(table) = args[0] else {
        return Err(Mistake::new(args[0].span(), "the first argument is a table").help(usage));
    };
    let time = descriptor(args[1]);
    let mut lengths = all(args[2..2 + lengths].iter().map(|arg| length(arg, usage)))?;
    let (size, size_span) = lengths.pop().unwrap_or((Interval::default(), span));
    let (slide, slide_span) = lengths.pop().unwrap_or((size, size_span));
    let (mut offset, mut time_zone) = (None, None);
    for arg in &args[if name == "hop" { 4 } else { 3 }..] {
        match arg {
            ast::Expr::Interval(interval) if offset.is_none() && time_zone.is_none() => {
                offset = Some((literal::interval(interval)?, arg.span()));
            }
            ast::Expr::Value(value) if time_zone.is_none() => {
                if let super::coerce::Typed { expr: Expr::Literal { value: Value::Text(zone), .. }, .. } =
                    expression::constant(value)?
                {
                    time_zone = Some((datetime::time_zone(&zone, value.span)?, value.span));
                    continue;
                }
                return Err(Mistake::new(value.span, "expected an offset or a time zone").help(usage));
            }
            other => return Err(Mistake::new(other.span(), "expected an offset or a time zone").help(usage)),
        }
    }
    let (unit, slide_units) = units(slide, slide_span)?;
    let (size_unit, size_units) = units(size, size_span)?;
    if unit != size_unit {
        return Err(Mistake::new(size_span, "slide and size are not in the same kind of unit").help(
            "both are lengths of time (up to hours), or both days or weeks, or both months; 24 hours are not always a day",
        ));
    }
    if slide_units > size_units {
        return Err(Mistake::new(
            slide_span,
            "the slide is longer than the window, so records would be lost between windows",
        )
        .label("the slide")
        .help(format!("the slide comes first, then the size; {HOP_USAGE}")));
    }
    let mut panes = Window { time: 0, unit, size: size_units, slide: slide_units, offset_micros: 0, time_zone: None };
    if panes.is_hopping() && size_units / panes.pane() > MAX_PANES {
        return Err(Mistake::new(
            size_span,
            format!("a window has more than {MAX_PANES} parts of the common divisor of size and slide"),
        )
        .help("choose a size that is a multiple of the slide, and not too many times"));
    }
    if let (Some((Some(_), zone_span)), WindowUnit::Micros) = (&time_zone, unit) {
        return Err(Mistake::new(*zone_span, "a time zone matters to windows of days and months only")
            .label("of no effect")
            .help("leave it out, or write the size in days: INTERVAL '1 day'"));
    }
    if let Some((interval, offset_span)) = offset {
        let micros = literal::duration_micros(interval).filter(|_| interval.days == 0 || unit == WindowUnit::Micros);
        match micros {
            Some(micros) if unit == WindowUnit::Micros => panes.offset_micros = micros.rem_euclid(slide_units),
            _ => {
                return Err(Mistake::new(offset_span, "an offset goes with windows of up to hours")
                    .label("the offset")
                    .help("windows of days begin at midnight in their time zone: TUMBLE(table, ts, INTERVAL '1 day', 'Europe/Berlin')"));
            }
        }
    }
    Ok(WindowCall {
        table: fold(table),
        table_span: table.span,
        time,
        unit,
        size: size_units,
        slide: slide_units,
        offset_micros: panes.offset_micros,
        time_zone: time_zone.and_then(|(zone, _)| zone),
    })
}

/// A record is in so many windows at most, and a window has so many panes.
const MAX_PANES: i64 = 10_000;

/// Flink's `DESCRIPTOR(ts)` is `ts`.
fn descriptor(ast: &ast::Expr) -> ast::Expr {
    if let ast::Expr::Function(call) = ast
        && simple(&call.name).is_ok_and(|name| name == "descriptor")
        && let ast::FunctionArguments::List(list) = &call.args
        && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(column))] = list.args.as_slice()
    {
        return column.clone();
    }
    ast.clone()
}

fn length(ast: &ast::Expr, usage: &str) -> Planned<(Interval, Span)> {
    match ast {
        ast::Expr::Interval(interval) => Ok((literal::interval(interval)?, ast.span())),
        other => Err(Mistake::new(other.span(), "the length of a window is an INTERVAL")
            .label("not an INTERVAL")
            .help(usage)),
    }
}

fn units(interval: Interval, span: Span) -> Planned<(WindowUnit, i64)> {
    let found = match interval {
        Interval { months: 0, days: 0, micros } => Some((WindowUnit::Micros, micros)),
        Interval { months: 0, days, micros: 0 } => Some((WindowUnit::Days, i64::from(days))),
        Interval { months, days: 0, micros: 0 } => Some((WindowUnit::Months, i64::from(months))),
        _ => None,
    };
    match found {
        Some((unit, count)) if count > 0 => Ok((unit, count)),
        Some(_) => Err(Mistake::new(span, "the length of a window is more than nothing").label("too short")),
        None => Err(Mistake::new(span, "the length of a window is in one kind of unit")
            .label("mixed units")
            .help("write hours only ('36 hours'), days only ('2 days') or months only ('1 month')")),
    }
}

impl WindowCall {
    /// The window over the column at `time`.
    pub(crate) fn window(&self, time: usize) -> Window {
        Window {
            time,
            unit: self.unit,
            size: self.size,
            slide: self.slide,
            offset_micros: self.offset_micros,
            time_zone: self.time_zone.clone(),
        }
    }
}

/// The start of a tumbling window as an expression, for views of rows.
pub(crate) fn start_of(window: &Window) -> Expr {
    let time = Expr::Column { index: window.time, data_type: DataType::Timestamp };
    Expr::Call {
        function: Function::WindowStart { window: window.clone() },
        args: vec![time],
        data_type: DataType::Timestamp,
    }
}

/// The end of a tumbling window as an expression.
pub(crate) fn end_of(window: &Window) -> Expr {
    let time = Expr::Column { index: window.time, data_type: DataType::Timestamp };
    let function = Function::WindowEnd { window: window.clone() };
    Expr::Call { function, args: vec![time], data_type: DataType::Timestamp }
}

/// How the partials of a windowed view are divided.
pub(crate) fn partitioning(window: &Window) -> Partitioning {
    const HOUR: i64 = 3_600_000_000;
    Partitioning::Time(match window.unit {
        WindowUnit::Micros if window.pane() < HOUR => TimeBucket::Day,
        WindowUnit::Micros if window.pane() < 24 * HOUR => TimeBucket::Month,
        _ => TimeBucket::Year,
    })
}
