//! Where objects lie in a store.
//!
//! ```text
//! epochs/<number>.json                                          create-only, gap-free
//! manifests/<number>.json                                       create-only, gap-free: the commit points
//! data/<number>-<writer>/<view>/<table>/<partition>.parquet     what the attempt at manifest <number> by <writer> wrote
//! data/<number>-<writer>/<view>/rejected/<…>.parquet            rejected records of the view
//! archive/<number>-<writer>/<source>/<partition>/<offset>.parquet   the master dataset
//! ```
//!
//! Numbers have 20 digits, so that names sort as numbers do. Names of views, sources and partitions are written with
//! everything but `A-Za-z0-9_-.=` as `%XX`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Folder of epochs.
pub(crate) const EPOCHS: &str = "epochs";
/// Folder of manifests.
pub(crate) const MANIFESTS: &str = "manifests";
/// Folder of views.
pub(crate) const DATA: &str = "data";
/// Folder of the archive.
pub(crate) const ARCHIVE: &str = "archive";

/// Who wrote: a name that no other attempt has. A lost response to a successful create looks like a lost race; the writer's
/// id inside the object tells the two apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(String);

impl WriterId {
    /// An id from the operating system's random numbers.
    pub fn random() -> WriterId {
        use rand::TryRngCore;
        let mut bytes = [0; 8];
        // Without random numbers, two writers could take each other's objects for their own.
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random numbers");
        WriterId::from_u64(u64::from_le_bytes(bytes))
    }

    /// An id from a number, which the caller must not use twice: for tests and replays.
    pub fn from_u64(number: u64) -> WriterId {
        WriterId(format!("{number:016x}"))
    }

    /// Whether a name is that of a writer.
    pub(crate) fn is_one(name: &str) -> bool {
        name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `<folder>/<number>.json`.
pub(crate) fn numbered(folder: &str, number: u64) -> String {
    format!("{folder}/{number:020}.json")
}

/// The number in `<folder>/<number>.json`, if the path has that form.
pub(crate) fn number_of(folder: &str, path: &str) -> Option<u64> {
    let digits = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".json")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// `<folder>/<number>-<writer>`: what one attempt writes lies below it.
pub(crate) fn attempt(folder: &str, number: u64, writer: &WriterId) -> String {
    format!("{folder}/{number:020}-{writer}")
}

/// The number of the attempt that wrote the object at `path`.
pub(crate) fn attempt_number_of(path: &str) -> Option<u64> {
    let digits = path.split('/').nth(1)?.split('-').next()?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for (i, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=') || (byte == b'.' && i > 0);
        if plain {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let path = numbered(MANIFESTS, 42);
        assert_eq!(path, "manifests/00000000000000000042.json");
        assert_eq!(number_of(MANIFESTS, &path), Some(42));
        assert_eq!(number_of(EPOCHS, &path), None);
        assert_eq!(number_of(MANIFESTS, "manifests/42.json"), None);
        let attempt = attempt(DATA, 7, &WriterId::from_u64(1));
        assert_eq!(attempt_number_of(&format!("{attempt}/v/groups/all.parquet")), Some(7));
        assert_eq!(attempt_number_of("data/readme"), None);
    }

    #[test]
    fn segments_hold_any_name() {
        assert_eq!(segment("2024-01-03"), "2024-01-03");
        assert_eq!(segment("a/b é"), "a%2Fb%20%C3%A9");
        assert_eq!(segment(".."), "%2E.");
        assert_ne!(segment("a%2Fb"), segment("a/b"));
    }
}
