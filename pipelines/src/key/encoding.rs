//! The canonical encoding of key tuples.
//!
//! Order preserving (comparing bytes compares tuples column by column, NULL first), reversible and self-delimiting (no
//! encoding of a tuple is a prefix of another of the same types, so the encoding of the first n columns is the prefix that
//! all tuples with these n values share). Per column:
//!
//! | value | bytes |
//! | --- | --- |
//! | NULL | `00` |
//! | not NULL | `01`, then: |
//! | `BOOLEAN` | `00` or `01` |
//! | `INT`, `DATE` | 4 bytes, big endian, sign bit flipped |
//! | `BIGINT`, `TIMESTAMP` | 8 bytes, big endian, sign bit flipped |
//! | `DOUBLE` | the 8 bytes of IEEE 754, big endian; all bits flipped if negative, else the sign bit; −0.0 as 0.0, NaN as `7ff8000000000000` (so it is greatest) |
//! | `DECIMAL` | the unscaled integer in 16 bytes, big endian, sign bit flipped |
//! | `TEXT`, `JSON` | UTF-8 with `00` written as `00 ff`, then `00 01` |

use std::borrow::Cow;

use polars::prelude::Column;
use polars_arrow::array::{MutableBinaryViewArray, View};

use crate::{
    columns::{self, TypedColumn, Values, canonical_double},
    error::PipelineError,
    types::{DataType, Value},
};

const NULL: u8 = 0;
const NOT_NULL: u8 = 1;
const ESCAPED_ZERO: u8 = 0xff;
const END_OF_TEXT: u8 = 1;

/// Encoded keys, one after the other in one allocation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EncodedKeys {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
}

impl EncodedKeys {
    /// No keys, with room for `keys` of `bytes` bytes in all.
    pub fn with_capacity(keys: usize, bytes: usize) -> EncodedKeys {
        EncodedKeys { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(keys) }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of key `index`. Panics beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// All keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Adds a key.
    #[inline]
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Adds a key made of two parts.
    pub(crate) fn push_joined(&mut self, head: &[u8], tail: &[u8]) {
        self.bytes.extend_from_slice(head);
        self.push(tail);
    }

    /// Adds the keys `range` of others.
    pub(crate) fn extend_from(&mut self, other: &EncodedKeys, range: std::ops::Range<usize>) {
        if range.is_empty() {
            return;
        }
        let start = if range.start == 0 { 0 } else { other.ends[range.start - 1] };
        let end = other.ends[range.end - 1];
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes[start..end]);
        self.ends.extend(other.ends[range].iter().map(|e| e - start + base));
    }

    /// The keys at `indices`.
    pub fn take(&self, indices: impl ExactSizeIterator<Item = usize> + Clone) -> EncodedKeys {
        let bytes = indices.clone().map(|i| self.get(i).len()).sum();
        let mut keys = EncodedKeys::with_capacity(indices.len(), bytes);
        indices.for_each(|i| keys.push(self.get(i)));
        keys
    }

    /// Index of the first key that is not below `bound`; the keys must be sorted.
    pub fn lower_bound(&self, bound: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < bound { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The indices of the keys in ascending order of the keys.
    pub(crate) fn sorted_order(&self) -> Vec<u32> {
        // Most comparisons are decided by 16 bytes behind what all keys begin with.
        let first = if self.is_empty() { &[] } else { self.get(0) };
        let shared = self.iter().fold(first.len(), |shared, key| {
            first[..shared].iter().zip(key).position(|(a, b)| a != b).unwrap_or(shared.min(key.len()))
        });
        let head = |index: usize| {
            let rest = &self.get(index)[shared..];
            let mut head = [0; 16];
            let len = rest.len().min(16);
            head[..len].copy_from_slice(&rest[..len]);
            u128::from_be_bytes(head)
        };
        let heads: Vec<u128> = (0..self.len()).map(head).collect();
        // Bits that are the same in all of them decide nothing. What is left of digits and of times near each other often fits in 64.
        let deciding = Bits::of(heads.iter().fold(0, |bits, head| bits | (head ^ heads[0])));
        match deciding.count <= u64::BITS {
            true => self.order_by(heads.iter().map(|head| deciding.of_number(*head) as u64)),
            false => self.order_by(heads.into_iter()),
        }
    }

    /// The order of the keys by these numbers, equal ones by the keys themselves.
    fn order_by<N: Ord + Copy>(&self, numbers: impl Iterator<Item = N>) -> Vec<u32> {
        let mut order: Vec<(N, u32)> = numbers.zip(0..).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.get(a.1 as usize).cmp(self.get(b.1 as usize))));
        order.into_iter().map(|(_, index)| index).collect()
    }

    /// Index of the first key at or after `from` that is not below `bound`, near `from` found quickly; sorted keys.
    pub(crate) fn gallop(&self, from: usize, bound: &[u8]) -> usize {
        let (mut low, mut step) = (from, 1);
        while low + step <= self.len() && self.get(low + step - 1) < bound {
            low += step;
            step *= 2;
        }
        let mut high = (low + step - 1).min(self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < bound { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Whether every key is above the one before.
    pub fn is_strictly_sorted(&self) -> bool {
        (1..self.len()).all(|i| self.get(i - 1) < self.get(i))
    }

    /// Allocated memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Total length of the keys.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    fn extend_with(&mut self, columns: &[TypedColumn], height: usize) {
        self.ends.reserve(height);
        for row in 0..height {
            for column in columns {
                encode_cell(column, row, &mut self.bytes);
            }
            self.ends.push(self.bytes.len());
        }
    }
}

/// Some bits of a number.
struct Bits {
    /// How many.
    count: u32,
    /// Stretches of them, the highest first: above which bit, and how many.
    stretches: Vec<(u32, u32)>,
}

impl Bits {
    fn of(mut mask: u128) -> Bits {
        let mut stretches = Vec::new();
        while mask != 0 {
            let low = mask.trailing_zeros();
            let count = (mask >> low).trailing_ones();
            stretches.push((low, count));
            mask &= u128::MAX.checked_shl(low + count).unwrap_or(0);
        }
        stretches.reverse();
        Bits { count: stretches.iter().map(|(_, count)| count).sum(), stretches }
    }

    /// These bits of `number`, next to each other.
    #[inline]
    fn of_number(&self, number: u128) -> u128 {
        let add = |bits: u128, (low, count): &(u32, u32)| {
            bits.wrapping_shl(*count) | number >> low & (u128::MAX >> (u128::BITS - count))
        };
        self.stretches.iter().fold(0, add)
    }
}

/// Encodes the tuples of `columns`, all of `height` rows (without columns: `height` empty keys).
pub fn encode_keys(columns: &[Column], height: usize) -> Result<EncodedKeys, PipelineError> {
    let typed: Vec<TypedColumn> = columns.iter().map(TypedColumn::new).collect::<Result<_, _>>()?;
    Ok(encode_typed(&typed, height))
}

pub(crate) fn encode_typed(columns: &[TypedColumn], height: usize) -> EncodedKeys {
    let mut keys = EncodedKeys::with_capacity(height, height * columns.len() * 12);
    keys.extend_with(columns, height);
    keys
}

#[inline]
pub(crate) fn encode_cell(column: &TypedColumn, row: usize, into: &mut Vec<u8>) {
    if !column.is_valid(row) {
        into.push(NULL);
        return;
    }
    match &column.values {
        Values::Boolean(values) => into.extend_from_slice(&[NOT_NULL, u8::from(values.value(row))]),
        Values::Int(values) => push_fixed(into, int_bytes(values.values()[row])),
        Values::BigInt(values) => push_fixed(into, bigint_bytes(values.values()[row])),
        Values::Double(values) => push_fixed(into, double_bytes(values.values()[row])),
        Values::Decimal(values) => push_fixed(into, decimal_bytes(values.values()[row])),
        Values::Text(values) => {
            let view = values.views()[row];
            if !encode_short(view, into) {
                encode_bytes(values.value(row).as_bytes(), into);
            }
        }
        Values::Binary(values) => encode_bytes(values.value(row), into),
    }
}

#[inline]
fn push_fixed<const N: usize>(into: &mut Vec<u8>, bytes: [u8; N]) {
    into.push(NOT_NULL);
    into.extend_from_slice(&bytes);
}

fn int_bytes(value: i32) -> [u8; 4] {
    ((value as u32) ^ (1 << 31)).to_be_bytes()
}

fn bigint_bytes(value: i64) -> [u8; 8] {
    ((value as u64) ^ (1 << 63)).to_be_bytes()
}

fn decimal_bytes(value: i128) -> [u8; 16] {
    ((value as u128) ^ (1 << 127)).to_be_bytes()
}

fn double_bytes(value: f64) -> [u8; 8] {
    let bits = canonical_double(value).to_bits();
    let flipped = if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) };
    flipped.to_be_bytes()
}

/// [`encode_bytes`] of a short text without a zero byte, as most are: all of it is one store.
#[inline]
fn encode_short(view: View, into: &mut Vec<u8>) -> bool {
    const LOWEST_BITS: u128 = u128::MAX / 0xff;
    if !view.is_inline() || cfg!(target_endian = "big") {
        return false;
    }
    let behind = u128::MAX << (8 * view.length);
    let text = (view.as_u128() >> 32) & !behind;
    // A zero byte is where taking 1 off each byte borrows (S. E. Anderson, "Bit Twiddling Hacks", "Determine if a word has a zero byte").
    let filled = text | behind;
    if filled.wrapping_sub(LOWEST_BITS) & !filled & (LOWEST_BITS << 7) != 0 {
        return false;
    }
    let end = u128::from(END_OF_TEXT) << 8;
    let encoded = u128::from(NOT_NULL) | text << 8 | end << (8 + 8 * view.length);
    let start = into.len();
    into.extend_from_slice(&encoded.to_le_bytes());
    into.truncate(start + view.length as usize + 3);
    true
}

fn encode_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(NOT_NULL);
    // `contains` is a vectorised search; texts with a zero byte are rare.
    if bytes.contains(&0) {
        for byte in bytes {
            into.push(*byte);
            if *byte == 0 {
                into.push(ESCAPED_ZERO);
            }
        }
    } else {
        into.extend_from_slice(bytes);
    }
    into.extend_from_slice(&[0, END_OF_TEXT]);
}

/// Appends the encoding of one value of a column of type `data_type`. `None` if the type has no such value.
pub fn encode_value(value: &Value, data_type: DataType, into: &mut Vec<u8>) -> Option<()> {
    match (value, data_type) {
        (Value::Null, _) => into.push(NULL),
        (Value::Boolean(b), DataType::Boolean) => into.extend_from_slice(&[NOT_NULL, u8::from(*b)]),
        (Value::Int(i), DataType::Int) => push_fixed(into, int_bytes(i32::try_from(*i).ok()?)),
        (Value::Int(i), DataType::BigInt) => push_fixed(into, bigint_bytes(*i)),
        (Value::Double(x), DataType::Double) => push_fixed(into, double_bytes(*x)),
        (Value::Decimal(d), DataType::Decimal { .. }) => push_fixed(into, decimal_bytes(*d)),
        (Value::Text(text), DataType::Text | DataType::Json) => encode_bytes(text.as_bytes(), into),
        (Value::Timestamp(micros), DataType::Timestamp) => push_fixed(into, bigint_bytes(*micros)),
        (Value::Date(days), DataType::Date) => push_fixed(into, int_bytes(*days)),
        _ => return None,
    }
    Some(())
}

/// Length of the encoding of the value of type `data_type` that `bytes` begins with; `None` if it is cut short.
#[inline]
pub(crate) fn cell_len(bytes: &[u8], data_type: DataType) -> Option<usize> {
    if *bytes.first()? == NULL {
        return Some(1);
    }
    let len = match data_type {
        DataType::Boolean => 2,
        DataType::Int | DataType::Date => 5,
        DataType::BigInt | DataType::Timestamp | DataType::Double => 9,
        DataType::Decimal { .. } => 17,
        DataType::Text | DataType::Json => {
            let mut at = 1;
            loop {
                at += bytes.get(at..)?.iter().position(|b| *b == 0)?;
                if *bytes.get(at + 1)? != ESCAPED_ZERO {
                    break at + 2;
                }
                at += 2;
            }
        }
    };
    (len <= bytes.len()).then_some(len)
}

/// The encoding of a column's value at the front of `bytes`.
#[inline(always)]
fn first_cell<'a>(bytes: &'a [u8], data_type: DataType, name: &str) -> Result<&'a [u8], PipelineError> {
    let ends = || PipelineError::Stored(format!("a key ends within the column \"{name}\""));
    Ok(&bytes[..cell_len(bytes, data_type).ok_or_else(ends)?])
}

/// Takes the encoding of one value off the front of `bytes`.
pub fn decode_value(bytes: &mut &[u8], data_type: DataType) -> Result<Value, PipelineError> {
    let damaged = || PipelineError::Stored("a key ends within a value".to_owned());
    let (cell, rest) = bytes.split_at(cell_len(bytes, data_type).ok_or_else(damaged)?);
    *bytes = rest;
    if cell[0] == NULL {
        return Ok(Value::Null);
    }
    let body = &cell[1..];
    Ok(match data_type {
        DataType::Boolean => Value::Boolean(body[0] != 0),
        DataType::Int => Value::Int(i64::from(int_of(body))),
        DataType::Date => Value::Date(int_of(body)),
        DataType::BigInt => Value::Int(bigint_of(body)),
        DataType::Timestamp => Value::Timestamp(bigint_of(body)),
        DataType::Double => Value::Double(double_of(body)),
        DataType::Decimal { .. } => Value::Decimal(decimal_of(body)),
        DataType::Text | DataType::Json => Value::Text(text_of(body)?.into_owned()),
    })
}

fn fixed<const N: usize>(body: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&body[..N]);
    bytes
}

fn int_of(body: &[u8]) -> i32 {
    (u32::from_be_bytes(fixed(body)) ^ (1 << 31)) as i32
}

/// The integer of an encoded `BIGINT` or `TIMESTAMP` without its first byte.
pub(crate) fn bigint_of(body: &[u8]) -> i64 {
    (u64::from_be_bytes(fixed(body)) ^ (1 << 63)) as i64
}

fn decimal_of(body: &[u8]) -> i128 {
    (u128::from_be_bytes(fixed(body)) ^ (1 << 127)) as i128
}

fn double_of(body: &[u8]) -> f64 {
    let bits = u64::from_be_bytes(fixed(body));
    f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits })
}

fn text_of(body: &[u8]) -> Result<Cow<'_, str>, PipelineError> {
    let not_utf8 = |_| PipelineError::Stored("a text in a key is not UTF-8".to_owned());
    let escaped = &body[..body.len() - 2];
    if !escaped.contains(&0) {
        return std::str::from_utf8(escaped).map(Into::into).map_err(not_utf8);
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut after_zero = false;
    for byte in escaped {
        if !std::mem::replace(&mut after_zero, *byte == 0) {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).map(Into::into).map_err(|e| not_utf8(e.utf8_error()))
}

/// Decodes `keys` into columns of the given names and types. What a key has after them is left alone.
pub fn decode_keys(keys: &EncodedKeys, fields: &[(&str, DataType)]) -> Result<Vec<Column>, PipelineError> {
    let mut starts: Vec<usize> = (0..keys.len()).map(|i| if i == 0 { 0 } else { keys.ends[i - 1] }).collect();
    fields.iter().map(|(name, data_type)| decode_column(keys, &mut starts, name, *data_type)).collect()
}

/// Decodes the column that begins at `starts`, which are moved behind it.
fn decode_column(
    keys: &EncodedKeys,
    starts: &mut [usize],
    name: &str,
    data_type: DataType,
) -> Result<Column, PipelineError> {
    if let DataType::Text | DataType::Json = data_type {
        return decode_texts(keys, starts, name);
    }
    let mut cells: Vec<&[u8]> = Vec::with_capacity(starts.len());
    for (start, end) in starts.iter_mut().zip(&keys.ends) {
        let rest = &keys.bytes[*start..*end];
        let cell = first_cell(rest, data_type, name)?;
        cells.push(cell);
        *start += cell.len();
    }
    let validity = columns::bitmap(cells.iter().map(|cell| cell[0] != NULL));
    fn values<T: Default>(cells: &[&[u8]], value: impl Fn(&[u8]) -> T) -> Vec<T> {
        cells.iter().map(|cell| if cell[0] == NULL { T::default() } else { value(&cell[1..]) }).collect()
    }
    Ok(match data_type {
        DataType::Boolean => {
            columns::boolean_column(name, cells.iter().map(|cell| (cell[0] != NULL).then(|| cell[1] != 0)))
        }
        DataType::Int | DataType::Date => columns::int_column(name, data_type, values(&cells, int_of), validity),
        DataType::BigInt | DataType::Timestamp => {
            columns::bigint_column(name, data_type, values(&cells, bigint_of), validity)
        }
        DataType::Double => columns::double_column(name, values(&cells, double_of), validity),
        DataType::Decimal { .. } => columns::decimal_column(name, data_type, values(&cells, decimal_of), validity),
        DataType::Text | DataType::Json => unreachable!("these are decoded above"),
    })
}

/// [`decode_column`] of texts. Neighbours in sorted keys are often the same.
fn decode_texts(keys: &EncodedKeys, starts: &mut [usize], name: &str) -> Result<Column, PipelineError> {
    let mut texts = MutableBinaryViewArray::<str>::with_capacity(starts.len());
    let (mut last, mut text): (&[u8], Cow<'_, str>) = (&[], Cow::default());
    for (start, end) in starts.iter_mut().zip(&keys.ends) {
        let rest = &keys.bytes[*start..*end];
        if last.is_empty() || !rest.starts_with(last) {
            last = first_cell(rest, DataType::Text, name)?;
            text = if last[0] == NULL { Cow::default() } else { text_of(&last[1..])? };
        }
        let at = *start + 1;
        *start += last.len();
        match (last[0], &text) {
            (NULL, _) => texts.push_null(),
            (_, Cow::Borrowed(text)) => columns::push_text(&mut texts, &keys.bytes, at, at + text.len(), || text),
            (_, Cow::Owned(text)) => texts.push_value(text),
        }
    }
    Ok(columns::finished_texts(name, texts))
}

/// The stable hash of an encoded key: the first 8 bytes, little endian, of its blake3 hash. It decides in which partition
/// of a view a group is stored, so it never changes.
pub fn key_hash(key: &[u8]) -> u64 {
    u64::from_le_bytes(fixed(&blake3::hash(key).as_bytes()[..8]))
}
