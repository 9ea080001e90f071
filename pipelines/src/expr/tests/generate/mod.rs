//! Random typed expressions and rows.

mod values;

use rand::{Rng, rngs::StdRng};

use self::values::value;
use crate::{
    core::{Window, WindowUnit},
    expr::{DateField, Expr, Function, Interval, TimeUnit},
    types::{DataType, Field, Schema, Value},
};

pub(super) const MONEY: DataType = DataType::Decimal { precision: 12, scale: 2 };
pub(super) const WIDE: DataType = DataType::Decimal { precision: 38, scale: 4 };

pub(super) const TYPES: [DataType; 11] = [
    DataType::Boolean,
    DataType::Int,
    DataType::BigInt,
    DataType::Double,
    MONEY,
    WIDE,
    DataType::Text,
    DataType::Timestamp,
    DataType::Date,
    DataType::Json,
    DataType::Boolean,
];

pub(super) fn schema() -> Schema {
    let mut fields = Vec::new();
    for (index, data_type) in TYPES.iter().chain(&TYPES).enumerate() {
        // Names that mean something to polars must not.
        let name = match index {
            0 => "^b.*$".to_owned(),
            1 => "*".to_owned(),
            2 => "i0".to_owned(),
            _ => format!("c{index}"),
        };
        fields.push(Field { name, data_type: *data_type, nullable: true });
    }
    Schema { fields }
}

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

pub(super) fn row(rng: &mut StdRng, schema: &Schema) -> Vec<Value> {
    schema.fields.iter().map(|f| value(rng, f.data_type)).collect()
}

fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr::Call { function, args, data_type }
}

fn leaf(rng: &mut StdRng, schema: &Schema, data_type: DataType) -> Expr {
    if rng.random_range(0..4) == 0 {
        let mut value = value(rng, data_type);
        if matches!(value, Value::Double(0.0)) && rng.random() {
            value = Value::Double(-0.0);
        }
        return Expr::Literal { value, data_type };
    }
    let columns: Vec<usize> = (0..schema.fields.len()).filter(|i| schema.fields[*i].data_type == data_type).collect();
    Expr::column(schema, pick(rng, &columns))
}

const ZONES: [Option<&str>; 6] = [
    None,
    Some("UTC"),
    Some("Europe/Berlin"),
    Some("America/Sao_Paulo"),
    Some("Pacific/Apia"),
    Some("Australia/Lord_Howe"),
];

fn zone(rng: &mut StdRng) -> Option<String> {
    pick(rng, &ZONES).map(str::to_owned)
}

fn unit(rng: &mut StdRng) -> TimeUnit {
    use TimeUnit as U;
    pick(
        rng,
        &[
            U::Microsecond,
            U::Millisecond,
            U::Second,
            U::Minute,
            U::Hour,
            U::Day,
            U::Week,
            U::Month,
            U::Quarter,
            U::Year,
        ],
    )
}

/// A random expression of type `to`.
pub(super) fn expr(rng: &mut StdRng, schema: &Schema, to: DataType, depth: u32) -> Expr {
    use DataType as D;
    use Function as F;
    if depth == 0 {
        return leaf(rng, schema, to);
    }
    macro_rules! of {
        ($data_type:expr) => {
            expr(rng, schema, $data_type, depth - 1)
        };
    }
    match rng.random_range(0..10) {
        0 => return leaf(rng, schema, to),
        1 => {
            let branches = (0..rng.random_range(1..3)).map(|_| (of!(D::Boolean), of!(to))).collect();
            let otherwise = if rng.random() { Some(Box::new(of!(to))) } else { None };
            return Expr::Case { branches, otherwise, data_type: to };
        }
        2 => {
            let function = pick(rng, &[F::Coalesce, F::NullIf, F::Greatest, F::Least]);
            if to == D::Json && function != F::Coalesce {
                return leaf(rng, schema, to);
            }
            let count = if function == F::NullIf { 2 } else { rng.random_range(1..4) };
            return call(function, (0..count).map(|_| of!(to)).collect(), to);
        }
        3 | 4 => {
            let from = pick(rng, &TYPES);
            if crate::expr::kernels::cast::exists(from, to) {
                return Expr::Cast { input: Box::new(of!(from)), to, safe: rng.random_range(0..4) == 0 };
            }
        }
        _ => {}
    }
    match to {
        D::Boolean => boolean(rng, schema, depth),
        D::Int => match rng.random_range(0..5) {
            0 => call(F::Length, vec![of!(D::Text)], to),
            1 => call(F::Position, vec![of!(D::Text), of!(D::Text)], to),
            2 => {
                let from = pick(rng, &[D::Int, D::BigInt, D::Double, MONEY]);
                call(F::Sign, vec![of!(from)], to)
            }
            _ => arithmetic(rng, schema, to, depth),
        },
        D::BigInt => match rng.random_range(0..6) {
            0 => {
                use DateField as T;
                let field = pick(
                    rng,
                    &[
                        T::Microsecond,
                        T::Millisecond,
                        T::Second,
                        T::Minute,
                        T::Hour,
                        T::Day,
                        T::Week,
                        T::Month,
                        T::Quarter,
                        T::Year,
                        T::Dow,
                        T::IsoDow,
                        T::Doy,
                        T::Epoch,
                    ],
                );
                call(F::Extract { field, time_zone: zone(rng) }, vec![of!(D::Timestamp)], to)
            }
            1 => call(F::DateDiff { unit: unit(rng) }, vec![of!(D::Timestamp), of!(D::Timestamp)], to),
            2 => call(F::EpochMicros, vec![of!(D::Timestamp)], to),
            3 => Expr::User { name: "half".to_owned(), version: 1, args: vec![of!(D::BigInt)], data_type: to },
            _ => arithmetic(rng, schema, to, depth),
        },
        D::Double => match rng.random_range(0..3) {
            0 => {
                let function = pick(
                    rng,
                    &[
                        F::Sqrt,
                        F::Ln,
                        F::Log10,
                        F::Exp,
                        F::Floor,
                        F::Ceil,
                        F::Round { digits: 0 },
                        F::Round { digits: 2 },
                    ],
                );
                call(function, vec![of!(to)], to)
            }
            1 => call(F::Power, vec![of!(to), of!(to)], to),
            _ => arithmetic(rng, schema, to, depth),
        },
        D::Decimal { scale, .. } => match rng.random_range(0..4) {
            0 if scale == 4 => call(F::Multiply, vec![of!(MONEY), of!(MONEY)], to),
            1 => call(pick(rng, &[F::Round { digits: 1 }, F::Round { digits: 9 }]), vec![of!(to)], to),
            2 => {
                let whole = D::Decimal { precision: 38, scale: 0 };
                let inner = call(pick(rng, &[F::Floor, F::Ceil, F::Round { digits: 0 }]), vec![of!(to)], whole);
                Expr::Cast { input: Box::new(inner), to, safe: false }
            }
            _ => arithmetic(rng, schema, to, depth),
        },
        D::Text => text(rng, schema, depth),
        D::Timestamp => match rng.random_range(0..4) {
            0 => call(F::DateTrunc { unit: unit(rng), time_zone: zone(rng) }, vec![of!(to)], to),
            1 => {
                let interval = Interval {
                    months: pick(rng, &[0, 1, -1, 13, i32::MAX]),
                    days: pick(rng, &[0, 1, -31, i32::MIN]),
                    micros: pick(rng, &[0, 1, -86_400_000_000, i64::MAX]),
                };
                call(F::AddInterval { interval }, vec![of!(to)], to)
            }
            2 => {
                let from = pick(rng, &[D::Double, D::BigInt]);
                call(F::ToTimestamp, vec![of!(from)], to)
            }
            _ => {
                let unit = pick(rng, &[WindowUnit::Micros, WindowUnit::Days, WindowUnit::Months]);
                let size =
                    if unit == WindowUnit::Micros { pick(rng, &[1, 60_000_000, 7]) } else { pick(rng, &[1, 3, 7]) };
                let offset_micros = if unit == WindowUnit::Micros { rng.random_range(0..size) } else { 0 };
                let window = Window { time: 0, unit, size, slide: size, offset_micros, time_zone: zone(rng) };
                call(F::WindowStart { window }, vec![of!(to)], to)
            }
        },
        D::Date | D::Json => leaf(rng, schema, to),
    }
}

fn arithmetic(rng: &mut StdRng, schema: &Schema, to: DataType, depth: u32) -> Expr {
    use Function as F;
    let mut functions = vec![F::Add, F::Subtract, F::Modulo, F::Negate, F::Abs];
    if !matches!(to, DataType::Decimal { .. }) {
        functions.extend([F::Multiply, F::Divide]);
    }
    let function = pick(rng, &functions);
    let count = if matches!(function, F::Negate | F::Abs) { 1 } else { 2 };
    call(function, (0..count).map(|_| expr(rng, schema, to, depth - 1)).collect(), to)
}

fn boolean(rng: &mut StdRng, schema: &Schema, depth: u32) -> Expr {
    use DataType as D;
    use Function as F;
    let to = D::Boolean;
    macro_rules! of {
        ($data_type:expr) => {
            expr(rng, schema, $data_type, depth - 1)
        };
    }
    let any = loop {
        let any = pick(rng, &TYPES);
        if any != D::Json {
            break any;
        }
    };
    match rng.random_range(0..8) {
        0 | 1 => {
            let function = pick(
                rng,
                &[
                    F::Equal,
                    F::NotEqual,
                    F::Less,
                    F::LessOrEqual,
                    F::Greater,
                    F::GreaterOrEqual,
                    F::IsDistinctFrom,
                    F::IsNotDistinctFrom,
                ],
            );
            call(function, vec![of!(any), of!(any)], to)
        }
        2 | 3 => {
            let function = pick(rng, &[F::And, F::Or]);
            let count = rng.random_range(2..4);
            call(function, (0..count).map(|_| of!(to)).collect(), to)
        }
        4 => call(pick(rng, &[F::Not, F::IsTrue]), vec![of!(to)], to),
        5 => call(pick(rng, &[F::IsNull, F::IsNotNull]), vec![of!(any)], to),
        6 => {
            let mut args = vec![of!(any)];
            let long = rng.random_range(0..3) == 0;
            for _ in 0..if long { 12 } else { rng.random_range(1..4) } {
                if long {
                    args.push(Expr::Literal { value: value(rng, any), data_type: any });
                } else {
                    args.push(of!(any));
                }
            }
            if long && rng.random() {
                args.push(of!(any));
            }
            call(F::In, args, to)
        }
        _ => {
            let pattern = pick(rng, &["%", "a%", "%c", "%b%", "_b_", "a", "", "%1\\%%", "%é_", "%Σ%a%"]).to_owned();
            match rng.random_range(0..4) {
                0 => {
                    let escape = if pattern.contains('\\') { Some('\\') } else { None };
                    call(F::Like { pattern, escape, case_insensitive: rng.random() }, vec![of!(D::Text)], to)
                }
                1 => call(
                    F::RegexpLike { pattern: pick(rng, &["^a+$", "\\d", "(?i)é", ""]).to_owned() },
                    vec![of!(D::Text)],
                    to,
                ),
                _ => {
                    let function = pick(rng, &[F::StartsWith, F::EndsWith, F::Contains]);
                    call(function, vec![of!(D::Text), of!(D::Text)], to)
                }
            }
        }
    }
}

fn text(rng: &mut StdRng, schema: &Schema, depth: u32) -> Expr {
    use DataType as D;
    use Function as F;
    let to = D::Text;
    macro_rules! of {
        ($data_type:expr) => {
            expr(rng, schema, $data_type, depth - 1)
        };
    }
    let whole = pick(rng, &[D::Int, D::BigInt]);
    match rng.random_range(0..9) {
        0 => call(pick(rng, &[F::Lower, F::Upper, F::Trim, F::TrimStart, F::TrimEnd]), vec![of!(to)], to),
        1 => call(F::Concat, vec![of!(to), of!(to)], to),
        2 => {
            let mut args = vec![of!(to), of!(whole)];
            if rng.random() {
                args.push(of!(whole));
            }
            call(F::Substring, args, to)
        }
        3 => call(pick(rng, &[F::Left, F::Right]), vec![of!(to), of!(whole)], to),
        4 => call(F::Replace, vec![of!(to), leaf(rng, schema, to), leaf(rng, schema, to)], to),
        5 => call(F::SplitPart, vec![of!(to), leaf(rng, schema, to), of!(whole)], to),
        6 => {
            let path = pick(rng, &[&[] as &[&str], &["a"], &["a", "b", "1"], &["1", "1", "a"], &["0"], &["b", "1"]]);
            let from = pick(rng, &[D::Json, D::Text]);
            call(F::JsonValue { path: path.iter().map(|p| (*p).to_owned()).collect() }, vec![of!(from)], to)
        }
        7 => call(
            F::RegexpReplace { pattern: "([a-b])(.)".to_owned(), replacement: "$2-$1".to_owned() },
            vec![of!(to)],
            to,
        ),
        _ => {
            let group = rng.random_range(0..2);
            call(F::RegexpExtract { pattern: "(\\d+)|[a-c]".to_owned(), group }, vec![of!(to)], to)
        }
    }
}
