//! The encoding: pinned bytes, order, and the way back.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    columns::{bigint_column, bitmap, decimal_column, double_column, int_column, text_column},
    types::DataType,
};

fn encoded(value: &Value, data_type: DataType) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(value, data_type, &mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_never_change() {
    let decimal = DataType::Decimal { precision: 9, scale: 2 };
    for (value, data_type, bytes) in [
        (Value::Null, DataType::Text, "00"),
        (Value::Boolean(true), DataType::Boolean, "0101"),
        (Value::Int(-1), DataType::Int, "017fffffff"),
        (Value::Int(1), DataType::BigInt, "018000000000000001"),
        (Value::Double(1.0), DataType::Double, "01bff0000000000000"),
        (Value::Double(-1.0), DataType::Double, "01400fffffffffffff"),
        (Value::Double(-0.0), DataType::Double, "018000000000000000"),
        (Value::Double(f64::NAN), DataType::Double, "01fff8000000000000"),
        (Value::Decimal(-1), decimal, "017fffffffffffffffffffffffffffffff"),
        (Value::Text("a\0b".to_owned()), DataType::Text, "016100ff620001"),
        (Value::Timestamp(0), DataType::Timestamp, "018000000000000000"),
        (Value::Date(2), DataType::Date, "0180000002"),
    ] {
        let hex: String = encoded(&value, data_type).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, bytes, "{value:?}");
    }
    assert_eq!(key_hash(b""), 0xa6a1_f9f5_b949_13af);
    assert_eq!(key_hash(&encoded(&Value::Text("card".to_owned()), DataType::Text)), 0x01ef_0763_be23_b75a);
}

type Row = (Option<String>, Option<f64>, Option<i32>, Option<i128>, Option<i64>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    use proptest::option::of;
    let text = prop_oneof!["[a\0\u{1}\u{ff}]{0,3}", "[ab]{0,16}", "[a\0]{9,14}", any::<String>()];
    let double =
        prop_oneof![any::<f64>(), select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY])];
    let row = (of(text), of(double), of(any::<i32>()), of(any::<i128>()), of(any::<i64>()));
    prop::collection::vec(row, 0..20)
}

fn columns_of(rows: &[Row]) -> Vec<polars::prelude::Column> {
    let decimal = DataType::Decimal { precision: 38, scale: 3 };
    macro_rules! numbers {
        ($make:expr, $at:tt) => {
            $make(
                rows.iter().map(|r| r.$at.unwrap_or_default()).collect(),
                bitmap(rows.iter().map(|r| r.$at.is_some())),
            )
        };
    }
    vec![
        text_column("t", rows.iter().map(|r| r.0.as_deref())),
        numbers!(|values, validity| double_column("x", values, validity), 1),
        numbers!(|values, validity| int_column("day", DataType::Date, values, validity), 2),
        numbers!(|values, validity| decimal_column("d", decimal, values, validity), 3),
        numbers!(|values, validity| bigint_column("l", DataType::BigInt, values, validity), 4),
    ]
}

fn compare(a: &Row, b: &Row) -> std::cmp::Ordering {
    let double = |x: &Option<f64>| x.map(|x| if x.is_nan() { (1, 0.0) } else { (0, x + 0.0) });
    a.0.cmp(&b.0)
        .then_with(|| double(&a.1).partial_cmp(&double(&b.1)).unwrap())
        .then_with(|| (a.2, a.3, a.4).cmp(&(b.2, b.3, b.4)))
}

proptest! {
    #[test]
    fn bytes_sort_as_tuples(rows in rows()) {
        let keys = encode_keys(&columns_of(&rows), rows.len()).unwrap();
        for i in 0..rows.len() {
            for j in 0..rows.len() {
                prop_assert_eq!(keys.get(i).cmp(keys.get(j)), compare(&rows[i], &rows[j]));
                let is_prefix = keys.get(j).starts_with(keys.get(i));
                prop_assert_eq!(is_prefix, compare(&rows[i], &rows[j]).is_eq());
            }
        }
        for (row, key) in rows.iter().zip(keys.iter()) {
            let text = row.0.clone().map_or(Value::Null, Value::Text);
            prop_assert!(key.starts_with(&encoded(&text, DataType::Text)));
        }
        let order = keys.sorted_order();
        prop_assert!(order.is_sorted_by(|a, b| keys.get(*a as usize) <= keys.get(*b as usize)));
    }

    #[test]
    fn keys_come_back(rows in rows()) {
        let columns = columns_of(&rows);
        let keys = encode_keys(&columns, rows.len()).unwrap();
        let decimal = DataType::Decimal { precision: 38, scale: 3 };
        let fields =
            [("t", DataType::Text), ("x", DataType::Double), ("day", DataType::Date), ("d", decimal), ("l", DataType::BigInt)];
        let back = decode_keys(&keys, &fields).unwrap();
        for (column, back) in columns.iter().zip(&back) {
            prop_assert!(column.equals_missing(back));
        }
        // Damaged keys give errors, never panics.
        let cut = EncodedKeys::clone(&keys);
        for key in cut.iter().filter(|key| !key.is_empty()) {
            let mut short = EncodedKeys::default();
            short.push(&key[..key.len() - 1]);
            prop_assert!(decode_keys(&short, &fields).is_err());
        }
    }

    /// Keys in which few bits decide, and such in which many do.
    #[test]
    fn keys_are_sorted_whatever_decides(numbers in prop::collection::vec(any::<(u8, u64)>(), 0..60), mask in any::<u64>(), tail in 0u64..3) {
        let mut keys = EncodedKeys::default();
        for (head, number) in numbers {
            let key = [&[head & 0x0f][..], &(number & mask).to_be_bytes(), &(number % (tail + 1)).to_be_bytes()].concat();
            keys.push(&key);
        }
        let order = keys.sorted_order();
        prop_assert!(order.is_sorted_by(|a, b| keys.get(*a as usize) <= keys.get(*b as usize)));
        let mut all = order.clone();
        all.sort_unstable();
        prop_assert_eq!(all, (0..order.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn galloping_is_searching(mut numbers in prop::collection::vec(0u8..50, 0..40), from in 0usize..40, bound in 0u8..51) {
        numbers.sort_unstable();
        let mut keys = EncodedKeys::default();
        numbers.iter().for_each(|n| keys.push(&[*n]));
        let from = from.min(keys.len());
        prop_assert_eq!(keys.gallop(from, &[bound]), keys.lower_bound(&[bound]).max(from));
    }
}
