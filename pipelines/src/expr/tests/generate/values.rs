//! Values that are hard: extremes, half-way cases, hostile texts, changes of clocks.

use rand::{Rng, rngs::StdRng};

use super::pick;
use crate::{
    expr::lanes::canonical,
    time::{MAX_DATE, MAX_TIMESTAMP, MIN_DATE, MIN_TIMESTAMP},
    types::{DataType, Value},
};

const TEXTS: [&str; 44] = [
    "",
    " ",
    "a",
    "abc",
    "ABC",
    " 12 ",
    "-7",
    "+8",
    "1.5",
    "1e3",
    "1.005",
    ".5",
    "-",
    "ß",
    "İstanbul",
    "ΟΔΟΣ",
    "a\0b",
    "👍🏽 ok",
    "%",
    "_",
    "\\",
    "100%_x",
    "true",
    " F ",
    "NaN",
    "-Infinity",
    "1e400",
    "9223372036854775807",
    "9223372036854775808",
    "2024-02-29",
    "2023-02-29",
    "2024-03-31T02:30:00.1234567+01:00",
    "2024-10-27 02:30",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59.999999Z",
    "a,b,,c",
    "aaa",
    "a longer text than twelve bytes",
    "e\u{301}é",
    "{\"a\": 1, \"b\": [1, \"x\"]}",
    "[null, 2.50]",
    "{",
    "\"t\\u00e9xt\"",
    "0.00000000000000000000000000000000000001",
];

const JSON: [&str; 8] = [
    "1",
    "-2.50e3",
    "\"t\\u00e9xt\"",
    "true",
    "{\"a\":{\"b\":[1,\"two\",null,{\"c\":4}]},\"a \":2}",
    "[10,[20,{\"a\":\"x\"}]]",
    "{\"a\":1,\"a\":2}",
    "\"\\ud800\"",
];

pub(in crate::expr::tests) fn value(rng: &mut StdRng, data_type: DataType) -> Value {
    if rng.random_range(0..6) == 0 {
        return Value::Null;
    }
    let wild = rng.random_range(0..3) == 0;
    match data_type {
        DataType::Boolean => Value::Boolean(rng.random()),
        DataType::Int if wild => Value::Int(i64::from(rng.random::<i32>())),
        DataType::Int => Value::Int(pick(rng, &[0, 1, -1, 2, 3, 7, -3, i64::from(i32::MIN), i64::from(i32::MAX)])),
        DataType::BigInt if wild => Value::Int(rng.random()),
        DataType::BigInt => Value::Int(pick(
            rng,
            &[0, 1, -1, 2, 3, -4, 1 << 53, (1 << 53) + 1, i64::MIN, i64::MAX, 2_147_483_648, 1_711_846_800],
        )),
        DataType::Double if wild => Value::Double(canonical(f64::from_bits(rng.random()))),
        DataType::Double => Value::Double(pick(
            rng,
            &[
                f64::NAN,
                0.0,
                1.0,
                -1.0,
                0.5,
                1.5,
                2.5,
                -2.5,
                0.1,
                1.005,
                2.675,
                1e300,
                5e-324,
                f64::MAX,
                f64::MIN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                9_007_199_254_740_993.0,
                9.223372036854775e18,
                2_147_483_647.5,
                1e-7,
                1e16,
            ],
        )),
        DataType::Decimal { precision, .. } if wild => {
            let limit = crate::number::decimal_limit(precision);
            Value::Decimal(rng.random_range(-limit + 1..limit))
        }
        DataType::Decimal { precision, .. } => {
            let most = crate::number::decimal_limit(precision) - 1;
            Value::Decimal(pick(rng, &[0, 1, -1, 50, 150, 250, -250, 12_345, 100, most, -most]))
        }
        DataType::Text if wild => {
            let length = rng.random_range(0..20);
            Value::Text((0..length).map(|_| pick(rng, &['a', 'b', ',', ' ', 'é', '1', '.', '👍', '%', 'Σ'])).collect())
        }
        DataType::Text => Value::Text(pick(rng, &TEXTS).to_owned()),
        DataType::Json => Value::Text(pick(rng, &JSON).to_owned()),
        DataType::Timestamp if wild => Value::Timestamp(rng.random_range(MIN_TIMESTAMP..=MAX_TIMESTAMP)),
        DataType::Timestamp => Value::Timestamp(pick(
            rng,
            &[
                0,
                -1,
                1,
                MIN_TIMESTAMP,
                MAX_TIMESTAMP,
                1_711_846_800_000_000,
                1_711_846_799_999_999,
                1_729_990_800_000_000,
                1_729_989_000_000_000,
                1_709_164_800_000_000,
                1_541_300_400_000_000,
            ],
        )),
        DataType::Date if wild => Value::Date(rng.random_range(MIN_DATE..=MAX_DATE)),
        DataType::Date => Value::Date(pick(rng, &[0, -1, 19_782, 19_813, MIN_DATE, MAX_DATE])),
    }
}
