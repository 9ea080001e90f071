//! Partials as canonical bytes, for digests and for comparing row by row.

use crate::{
    key::decode_value,
    number::write_decimal,
    partial::{CoreKernel, Partials, table::Table},
    time::{write_date, write_timestamp},
    types::{DataType, Value},
};

/// Bytes that are hashed at once.
const HASHED_BYTES: usize = 64 << 10;

impl Table {
    /// Appends the row bytes of [`CoreKernel::canonical`].
    pub(super) fn encode_row(&self, row: usize, into: &mut Vec<u8>) {
        for state in &self.states {
            let at = into.len();
            into.extend_from_slice(&[0; 4]);
            state.encode(row, into);
            let len = (into.len() - at - 4) as u32;
            into[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
    }
}

fn text_of(value: &Value, data_type: DataType) -> String {
    let mut text = String::new();
    match (value, data_type) {
        (Value::Null, _) => text.push_str("NULL"),
        (Value::Boolean(b), _) => return b.to_string(),
        (Value::Int(i), _) => return i.to_string(),
        (Value::Double(x), _) => return format!("{x:?}"),
        (Value::Decimal(unscaled), DataType::Decimal { scale, .. }) => write_decimal(&mut text, *unscaled, scale),
        (Value::Decimal(unscaled), _) => return unscaled.to_string(),
        (Value::Text(t), _) => text.push_str(t),
        (Value::Timestamp(micros), _) => write_timestamp(&mut text, *micros),
        (Value::Date(days), _) => write_date(&mut text, i64::from(*days)),
    }
    text
}

impl CoreKernel {
    /// The rows in canonical form, sorted: (key bytes, row bytes). The key bytes are the number of the table (one byte) and the encoded
    /// key; the row bytes are for each aggregate the length (32 bits, little endian) of its encoded state, and that state.
    pub fn canonical<'a>(&'a self, partials: &'a Partials) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
        partials.tables.iter().enumerate().flat_map(|(number, table)| {
            (0..table.keys.len()).map(move |row| {
                let mut key = vec![number as u8];
                key.extend_from_slice(table.keys.get(row));
                let mut bytes = Vec::new();
                table.encode_row(row, &mut bytes);
                (key, bytes)
            })
        })
    }

    /// blake3 of the canonical rows, key and row each preceded by its length (64 bits, little endian).
    pub fn digest(&self, partials: &Partials) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        // Long pieces: blake3 hashes sixteen blocks at a time.
        let mut piece = Vec::with_capacity(HASHED_BYTES * 2);
        for (number, table) in partials.tables.iter().enumerate() {
            for row in 0..table.keys.len() {
                let key = table.keys.get(row);
                piece.extend_from_slice(&(key.len() as u64 + 1).to_le_bytes());
                piece.push(number as u8);
                piece.extend_from_slice(key);
                let at = piece.len();
                piece.extend_from_slice(&[0; 8]);
                table.encode_row(row, &mut piece);
                let len = (piece.len() - at - 8) as u64;
                piece[at..at + 8].copy_from_slice(&len.to_le_bytes());
                if piece.len() >= HASHED_BYTES {
                    hasher.update(&piece);
                    piece.clear();
                }
            }
        }
        hasher.update(&piece);
        *hasher.finalize().as_bytes()
    }

    /// The key bytes of [`CoreKernel::canonical`] as text: `card = a, window_start = 2024-01-01T00:00:00Z`.
    pub fn describe_key(&self, key: &[u8]) -> String {
        let plan = &self.inner.plan;
        let Some((table, mut rest)) = key.split_first() else { return "no key".to_owned() };
        let value = plan.calls.iter().find(|c| c.distinct == Some(usize::from(*table)) && *table > 0);
        let columns = plan.keys.iter().map(|k| (k.name.as_str(), Some(k.data_type)));
        let columns = columns.chain(value.map(|c| (c.name.as_str(), c.argument_type)));
        let parts: Vec<String> = columns
            .map(|(name, data_type)| match data_type.map(|t| (decode_value(&mut rest, t), t)) {
                Some((Ok(value), data_type)) => format!("{name} = {}", text_of(&value, data_type)),
                _ => format!("{name} damaged"),
            })
            .collect();
        if parts.is_empty() { "the only row".to_owned() } else { parts.join(", ") }
    }
}
