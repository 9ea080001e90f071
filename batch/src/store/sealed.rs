//! JSON objects with their format and a checksum.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::error::{BatchError, Result};

/// `{"format": …, "checksum": blake3 of the body's bytes, "body": …}`.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    format: &'a str,
    checksum: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Sealed<'_> {
    fn check(&self, object: &str) -> Result<()> {
        match blake3::hash(self.body.get().as_bytes()).to_hex().as_str() == self.checksum {
            true => Ok(()),
            false => Err(BatchError::damaged(object, "the checksum does not match the body")),
        }
    }
}

/// The bytes of an object with `body`.
pub(crate) fn seal<T: Serialize>(object: &str, format: &'static str, body: &T) -> Result<Vec<u8>> {
    let unwritable =
        |error: serde_json::Error| BatchError::damaged(object, format!("cannot be written as JSON: {error}"));
    let body = serde_json::value::to_raw_value(body).map_err(unwritable)?;
    let checksum = blake3::hash(body.get().as_bytes()).to_hex().to_string();
    serde_json::to_vec(&Sealed { format, checksum, body: &body }).map_err(unwritable)
}

/// Checks that an object is whole, whatever its format; `object` is its name in errors.
pub(crate) fn check(object: &str, bytes: &[u8]) -> Result<()> {
    let sealed: Sealed<'_> =
        serde_json::from_slice(bytes).map_err(|error| BatchError::damaged(object, format!("is not JSON: {error}")))?;
    sealed.check(object)
}

/// The body of an object; `object` is its name in errors.
pub(crate) fn unseal<T: DeserializeOwned>(object: &str, format: &'static str, bytes: &[u8]) -> Result<T> {
    let sealed: Sealed<'_> =
        serde_json::from_slice(bytes).map_err(|error| BatchError::damaged(object, format!("is not JSON: {error}")))?;
    if sealed.format != format {
        return Err(BatchError::Format {
            object: object.to_owned(),
            found: sealed.format.to_owned(),
            expected: format,
        });
    }
    sealed.check(object)?;
    serde_json::from_str(sealed.body.get())
        .map_err(|error| BatchError::damaged(object, format!("the body has another form: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = seal("x", "test/1", &vec![1, 22, 333]).unwrap();
        assert_eq!(unseal::<Vec<i32>>("x", "test/1", &bytes).unwrap(), [1, 22, 333]);
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                // A flip in the checksum's letter case or the like must not change what is read.
                if let Ok(body) = unseal::<Vec<i32>>("x", "test/1", &bad) {
                    panic!("byte {i} bit {bit}: read {body:?}");
                }
            }
        }
    }

    #[test]
    fn other_formats_are_named() {
        let bytes = seal("x", "test/2", &1).unwrap();
        let error = unseal::<i32>("x", "test/1", &bytes).unwrap_err();
        assert!(matches!(error, BatchError::Format { .. }), "{error}");
    }
}
