//! The cache of files' tails. Files never change, so an entry never becomes wrong; the oldest ones make room.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

/// Bytes of tails that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// A file's footer and page indexes, verified and parsed.
#[derive(Debug)]
pub(crate) struct Tail {
    /// What the Parquet reader wants to know.
    pub metadata: ArrowReaderMetadata,
    /// CRC-32C of each block before the tail.
    pub blocks: Vec<u32>,
    /// Encoded length: what the entry counts for.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_path: HashMap<String, Arc<Tail>>,
    oldest_first: VecDeque<String>,
    bytes: usize,
}

/// Tails by path.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    kept: Mutex<Kept>,
}

impl Tails {
    pub(crate) fn get(&self, path: &str) -> Option<Arc<Tail>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_path.get(path).cloned()
    }

    pub(crate) fn keep(&self, path: &str, tail: &Arc<Tail>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_path.insert(path.to_owned(), Arc::clone(tail)).is_some() {
            return;
        }
        kept.oldest_first.push_back(path.to_owned());
        kept.bytes += tail.bytes;
        while kept.bytes > KEPT_BYTES {
            let Some(oldest) = kept.oldest_first.pop_front() else { return };
            if let Some(tail) = kept.by_path.remove(&oldest) {
                kept.bytes -= tail.bytes;
            }
        }
    }
}
