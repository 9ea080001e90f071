//! Plans as text, for people and tests.

use std::fmt::{self, Display, Formatter, Write};

use crate::{
    aggregate::{AggregateCall, AggregateFunction},
    core::{Core, Key, Window, WindowUnit},
    expr::{Expr, Function},
    key::{KeyBound, KeyFilter},
    tail::{RankFunction, Rel, SortKey},
    types::{Schema, Value},
};

/// An expression with its columns' names.
struct Named<'a>(&'a Expr, &'a Schema);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Named(expr, schema) = *self;
        match expr {
            Expr::Column { index, .. } => match schema.fields.get(*index) {
                Some(field) => f.write_str(&field.name),
                None => write!(f, "#{index}"),
            },
            Expr::Literal { value, data_type } => match value {
                Value::Text(text) => write!(f, "'{text}'"),
                Value::Null => write!(f, "NULL::{data_type}"),
                Value::Int(v) => write!(f, "{v}"),
                Value::Boolean(v) => write!(f, "{v}"),
                Value::Double(v) => write!(f, "{v}::DOUBLE"),
                Value::Decimal(v) => write!(f, "{v}::{data_type}"),
                Value::Timestamp(v) => write!(f, "{v}::TIMESTAMP"),
                Value::Date(v) => write!(f, "{v}::DATE"),
            },
            Expr::Call { function, args, .. } => {
                let args: Vec<String> = args.iter().map(|a| Named(a, schema).to_string()).collect();
                match (infix(function), args.as_slice()) {
                    (Some(sign), [a, b]) => write!(f, "({a} {sign} {b})"),
                    _ => write!(f, "{function:?}({})", args.join(", ")),
                }
            }
            Expr::User { name, version, args, .. } => {
                let args: Vec<String> = args.iter().map(|a| Named(a, schema).to_string()).collect();
                write!(f, "{name}@{version}({})", args.join(", "))
            }
            Expr::Cast { input, to, safe } => {
                write!(f, "{}({} AS {to})", if *safe { "TRY_CAST" } else { "CAST" }, Named(input, schema))
            }
            Expr::Case { branches, otherwise, .. } => {
                f.write_str("CASE")?;
                for (condition, value) in branches {
                    write!(f, " WHEN {} THEN {}", Named(condition, schema), Named(value, schema))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", Named(otherwise, schema))?;
                }
                f.write_str(" END")
            }
        }
    }
}

fn infix(function: &Function) -> Option<&'static str> {
    Some(match function {
        Function::Add => "+",
        Function::Subtract => "-",
        Function::Multiply => "*",
        Function::Divide => "/",
        Function::Modulo => "%",
        Function::Equal => "=",
        Function::NotEqual => "<>",
        Function::Less => "<",
        Function::LessOrEqual => "<=",
        Function::Greater => ">",
        Function::GreaterOrEqual => ">=",
        Function::And => "AND",
        Function::Or => "OR",
        Function::Concat => "||",
        _ => return None,
    })
}

fn list(exprs: &[Expr], schema: &Schema) -> String {
    exprs.iter().map(|e| Named(e, schema).to_string()).collect::<Vec<_>>().join(", ")
}

fn aggregate(call: &AggregateCall, schema: &Schema) -> String {
    let mut text = match &call.argument {
        None => format!("{:?}", call.function),
        Some(argument) if call.function == AggregateFunction::Only => Named(argument, schema).to_string(),
        Some(argument) => format!("{:?}({})", call.function, Named(argument, schema)),
    };
    if let Some(filter) = &call.filter {
        let _ = write!(text, " FILTER {}", Named(filter, schema));
    }
    let _ = write!(text, " AS {}: {}", call.name, call.data_type);
    text
}

/// The core of a materialized view, a line for each part.
pub fn core(core: &Core) -> String {
    let schema = core.source.row_schema();
    let mut text = format!("core over {}\n", core.source.name);
    if let Some(filter) = &core.filter {
        let _ = writeln!(text, "  filter {}", Named(filter, &schema));
    }
    if let Some(w) = &core.window {
        let _ = writeln!(text, "  window {}", window(w, &schema));
    }
    for key in &core.keys {
        let _ = match key {
            Key::WindowStart => writeln!(text, "  key window_start"),
            Key::Expr { name, expr } => {
                writeln!(text, "  key {} AS {name}: {}", Named(expr, &schema), expr.data_type())
            }
        };
    }
    for call in &core.aggregates {
        let _ = writeln!(text, "  {}", aggregate(call, &schema));
    }
    let _ = writeln!(text, "  divided by {:?}", core.partitioning);
    text
}

fn window(window: &Window, schema: &Schema) -> String {
    let unit = match window.unit {
        WindowUnit::Micros => "µs",
        WindowUnit::Days => "days",
        WindowUnit::Months => "months",
    };
    let time = schema.fields.get(window.time).map_or("?", |f| f.name.as_str());
    let mut text = format!("of {} {unit} over {time}", window.size);
    if window.is_hopping() {
        let _ = write!(text, " every {}", window.slide);
    }
    if window.offset_micros != 0 {
        let _ = write!(text, " offset {} µs", window.offset_micros);
    }
    if let Some(zone) = &window.time_zone {
        let _ = write!(text, " in {zone}");
    }
    text
}

/// A tail, inputs indented below.
pub fn rel(rel: &Rel) -> String {
    let mut text = String::new();
    write_rel(rel, 0, &mut text);
    text
}

fn write_rel(rel: &Rel, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let (line, inputs): (String, Vec<&Rel>) = match rel {
        Rel::Scan { view, keys, schema } => (format!("scan {view}{}", bounds(keys, schema)), Vec::new()),
        Rel::Values { rows, schema } => {
            let rows: Vec<String> = rows.iter().map(|row| format!("({})", list(row, schema))).collect();
            (format!("values {}", rows.join(", ")), Vec::new())
        }
        Rel::Filter { input, predicate } => (format!("filter {}", Named(predicate, input.schema())), vec![input]),
        Rel::Project { input, exprs, schema } => {
            let items: Vec<String> = exprs
                .iter()
                .zip(&schema.fields)
                .map(|(e, field)| {
                    let text = Named(e, input.schema()).to_string();
                    if text == field.name { text } else { format!("{text} AS {}", field.name) }
                })
                .collect();
            (format!("project {}", items.join(", ")), vec![input])
        }
        Rel::Aggregate { input, keys, aggregates, .. } => {
            let calls: Vec<String> = aggregates.iter().map(|a| aggregate(a, input.schema())).collect();
            (format!("aggregate by [{}]: {}", list(keys, input.schema()), calls.join(", ")), vec![input])
        }
        Rel::Join { left, right, kind, on, residual, schema } => {
            let pairs: Vec<String> =
                on.iter().map(|(l, r)| format!("{} = {}", Named(l, left.schema()), Named(r, right.schema()))).collect();
            let residual = residual.as_ref().map_or(String::new(), |r| format!(" and {}", Named(r, schema)));
            (format!("{kind:?} join on [{}]{residual}", pairs.join(", ")), vec![left, right])
        }
        Rel::Window { input, functions, .. } => {
            let functions: Vec<String> = functions
                .iter()
                .map(|w| {
                    let name = match &w.function {
                        RankFunction::Lag { value, by } => format!("Lag({}, {by})", Named(value, input.schema())),
                        RankFunction::Lead { value, by } => format!("Lead({}, {by})", Named(value, input.schema())),
                        other => format!("{other:?}"),
                    };
                    let (by, order) = (list(&w.partition_by, input.schema()), sort(&w.order_by, input.schema()));
                    format!("{name} over [{by}] order [{order}]")
                })
                .collect();
            (format!("window {}", functions.join(", ")), vec![input])
        }
        Rel::Sort { input, by } => (format!("sort {}", sort(by, input.schema())), vec![input]),
        Rel::Limit { input, offset, limit } => {
            let limit = limit.map_or("all".to_owned(), |l| l.to_string());
            (format!("limit {limit} offset {offset}"), vec![input])
        }
        Rel::Distinct { input } => ("distinct".to_owned(), vec![input]),
        Rel::Union { inputs, .. } => ("union".to_owned(), inputs.iter().collect()),
    };
    let _ = writeln!(text, "{indent}{line}");
    for input in inputs {
        write_rel(input, depth + 1, text);
    }
}

fn sort(by: &[SortKey], schema: &Schema) -> String {
    let items = by.iter().map(|key| {
        let direction = if key.descending { " desc" } else { "" };
        let nulls = if key.nulls_first { " nulls first" } else { "" };
        format!("{}{direction}{nulls}", Named(&key.expr, schema))
    });
    items.collect::<Vec<_>>().join(", ")
}

fn bounds(keys: &KeyFilter, schema: &Schema) -> String {
    let value = |v: &Value| {
        let data_type = crate::types::DataType::Text;
        Named(&Expr::Literal { value: v.clone(), data_type }, schema).to_string()
    };
    let mut all = Vec::new();
    for (bound, field) in keys.columns.iter().zip(&schema.fields) {
        let name = &field.name;
        match bound {
            KeyBound::Any => {}
            KeyBound::In(values) => {
                all.push(format!("{name} in ({})", values.iter().map(value).collect::<Vec<_>>().join(", ")));
            }
            KeyBound::Range { lower, upper } => {
                let lower = lower
                    .as_ref()
                    .map(|(v, inclusive)| format!(" {} {}", if *inclusive { ">=" } else { ">" }, value(v)));
                let upper = upper
                    .as_ref()
                    .map(|(v, inclusive)| format!(" {} {}", if *inclusive { "<=" } else { "<" }, value(v)));
                all.push(format!("{name}{}{}", lower.unwrap_or_default(), upper.unwrap_or_default()));
            }
        }
    }
    if all.is_empty() { String::new() } else { format!(" where {}", all.join(", ")) }
}
