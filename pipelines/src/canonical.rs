//! The canonical form of a result: its rows as bytes, in byte order. Two results are the same exactly if these are.

use polars::prelude::{Column, DataFrame, IdxSize};

use crate::{
    error::PipelineError,
    key::{EncodedKeys, encode_keys},
};

/// Every row's key encoding over all columns ([`crate::key`]), in the frame's row order.
pub(crate) fn encode_rows(frame: &DataFrame) -> Result<EncodedKeys, PipelineError> {
    encode_columns(frame.columns(), frame.height())
}

/// Every row's key encoding over `columns`; `height` empty keys if there is no column.
pub(crate) fn encode_columns(columns: &[Column], height: usize) -> Result<EncodedKeys, PipelineError> {
    encode_keys(columns, height)
}

/// The rows' canonical bytes (the key encoding of all columns), sorted; equal rows are all there.
pub fn canonical_rows(frame: &DataFrame) -> Result<Vec<Vec<u8>>, PipelineError> {
    let rows = encode_rows(frame)?;
    let mut rows: Vec<Vec<u8>> = (0..frame.height()).map(|row| rows.get(row).to_vec()).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// blake3 of the canonical rows, each preceded by its length (64 bits, little endian).
pub fn digest(frame: &DataFrame) -> Result<[u8; 32], PipelineError> {
    let rows = encode_rows(frame)?;
    let mut hasher = blake3::Hasher::new();
    for row in canonical_order(&rows, frame.height()) {
        let row = rows.get(row as usize);
        hasher.update(&(row.len() as u64).to_le_bytes());
        hasher.update(row);
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Row numbers in order of the rows' bytes.
fn canonical_order(rows: &EncodedKeys, height: usize) -> Vec<IdxSize> {
    let mut order: Vec<IdxSize> = (0..height as IdxSize).collect();
    order.sort_unstable_by(|a, b| rows.get(*a as usize).cmp(rows.get(*b as usize)));
    order
}

/// The same rows in canonical order. Free of copies if they are in that order already.
pub fn sort_canonical(frame: DataFrame) -> Result<DataFrame, PipelineError> {
    if frame.height() <= 1 {
        return Ok(frame);
    }
    let rows = encode_rows(&frame)?;
    if (1..frame.height()).all(|row| rows.get(row - 1) <= rows.get(row)) {
        return Ok(frame);
    }
    let order = canonical_order(&rows, frame.height());
    Ok(frame.take(&polars::prelude::IdxCa::from_vec("order".into(), order))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::df;

    #[test]
    fn order_of_rows_does_not_matter() {
        let one = df!("a" => [Some(2i64), None, Some(1)], "b" => ["x", "y", "z"]).unwrap();
        let other = df!("a" => [None, Some(1i64), Some(2)], "b" => ["y", "z", "x"]).unwrap();
        assert_eq!(canonical_rows(&one).unwrap(), canonical_rows(&other).unwrap());
        assert_eq!(digest(&one).unwrap(), digest(&other).unwrap());
        assert_eq!(sort_canonical(one).unwrap(), other);
        let changed = df!("a" => [None, Some(1i64), Some(2)], "b" => ["y", "z", ""]).unwrap();
        assert_ne!(digest(&other).unwrap(), digest(&changed).unwrap());
    }
}
