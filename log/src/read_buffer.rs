//! Buffers for long reads, used again: fresh memory costs as much as a third of the read itself (the kernel clears it when it is first
//! touched, it is filled with zeros, and copied when it has to grow).

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::file_system::{FileHandle, read_fully};

/// Reads of fewer bytes get memory of their own: a record that someone keeps would hold far more than was read.
const BYTES_MIN: usize = 512 << 10;
/// Longer ones are not kept.
const BYTES_MAX: usize = 4 << 20;
/// So many are kept, whoever reads.
const KEPT_MAX: usize = 4;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// What has been read of a file, in one piece.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// All of them are initialised.
    bytes: Vec<u8>,
    filled: usize,
}

impl ReadBuffer {
    /// An empty buffer for about `bytes` bytes.
    pub fn for_bytes(bytes: usize) -> Self {
        let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = if bytes < BYTES_MIN { None } else { kept() };
        Self { bytes: bytes.unwrap_or_default(), filled: 0 }
    }

    /// Reads on, until `end` bytes are there or the file ends. The buffer begins at byte `at` of the file.
    pub fn read_up_to(&mut self, file: &dyn FileHandle, at: u64, end: usize) -> io::Result<()> {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if self.filled < end {
            self.filled += read_fully(file, &mut self.bytes[self.filled..end], at + self.filled as u64)?;
        }
        Ok(())
    }

    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl From<ReadBuffer> for Bytes {
    /// The buffer is used again when nobody has any of these bytes any more.
    fn from(buffer: ReadBuffer) -> Bytes {
        Bytes::from_owner(buffer)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if (BYTES_MIN..=BYTES_MAX).contains(&self.bytes.len()) {
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileSystem;

    #[test]
    fn a_buffer_shows_nothing_of_what_was_in_it_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; BYTES_MIN + 10]).expect("it is written");
        let file = crate::OperatingSystem.open(&path, crate::OpenMode::Read).expect("it opens");
        let mut whole = ReadBuffer::for_bytes(BYTES_MIN);
        whole.read_up_to(&*file, 0, BYTES_MIN + 10).expect("it is read");
        assert_eq!(whole.filled().len(), BYTES_MIN + 10);
        let shared = Bytes::from(whole);
        let part = shared.slice(5..10);
        drop(shared);
        assert_eq!(&part[..], [7; 5]);
        drop(part);
        let mut next = ReadBuffer::for_bytes(BYTES_MIN);
        assert!(next.filled().is_empty());
        next.read_up_to(&*file, BYTES_MIN as u64, BYTES_MIN).expect("it is read");
        assert_eq!(next.filled(), [7; 10], "the file ends here");
    }
}
