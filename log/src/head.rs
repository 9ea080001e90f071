//! The head file: up to where a partition is durable, for readers in other processes and for recovery.
//!
//! Two slots of 32 bytes, at bytes 0 and 512, written in turn, so that one is whole whatever happens during a write. The
//! slot with the higher offset counts. It is written after the `fsync` that it reports, so it may lag behind the truth
//! after a power failure, but is never ahead of it. A writer that closes the log writes both.
//!
//! A reader wants both slots good: behind a bad one may have been the higher offset, and a reader that took the other would hide
//! acknowledged records. The writer, which reads the segments too, is content with one.
//!
//! | byte | size | slot field |
//! | ---: | ---: | --- |
//! | 0 | 8 | `WSLOGHED` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | 0 |
//! | 16 | 8 | durable offset: every record below it is durable |
//! | 24 | 4 | CRC of bytes 0–23 |
//! | 28 | 4 | 0 |

use std::path::{Path, PathBuf};

use crate::file_system::read_fully;
use crate::files::{Disk, OpenFile};
use crate::format::{VERSION, u32_at, u64_at};
use crate::{LogError, Offset, OpenMode, Result, files};

const MAGIC: &[u8; 8] = b"WSLOGHED";
const SLOT_BYTES: usize = 32;
const SLOT_STRIDE: usize = 512;
pub(crate) const FILE_BYTES: usize = SLOT_STRIDE + SLOT_BYTES;
/// A reader may meet a write half done; the next look finds it finished.
const LOOKS_MAX: usize = 100;

fn encode(durable: Offset) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..12].copy_from_slice(&VERSION.to_le_bytes());
    slot[16..24].copy_from_slice(&durable.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..24]);
    slot[24..28].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// The offset of a slot, if it is exactly what would be written for it.
fn decode(slot: &[u8]) -> Option<Offset> {
    let durable = (version(slot) == Some(VERSION)).then(|| u64_at(slot, 16))?;
    (encode(durable) == slot[..SLOT_BYTES]).then_some(durable)
}

/// The format of a slot whose checksum fits.
fn version(slot: &[u8]) -> Option<u32> {
    let good = &slot[..8] == MAGIC && crc32c::crc32c(&slot[..24]) == u32_at(slot, 24);
    good.then(|| u32_at(slot, 8))
}

/// An open head file.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: OpenFile,
    path: PathBuf,
    next_slot: u64,
}

impl HeadFile {
    pub fn path_in(dir: &Path) -> PathBuf {
        dir.join("head")
    }

    /// Creates or replaces a partition's head file.
    pub fn create(disk: &Disk, dir: &Path, durable: Offset) -> Result<Self> {
        let path = Self::path_in(dir);
        let mut bytes = vec![0; FILE_BYTES];
        for at in [0, SLOT_STRIDE] {
            bytes[at..at + SLOT_BYTES].copy_from_slice(&encode(durable));
        }
        let file = files::create_whole(disk, &path, &bytes)?;
        Ok(Self { file, path, next_slot: 0 })
    }

    /// Opens a partition's head file for reading.
    pub fn open(disk: &Disk, dir: &Path) -> Result<Self> {
        let path = Self::path_in(dir);
        let file = match files::open(disk, &path, OpenMode::Read) {
            Err(error) if error.is_not_found() => {
                return Err(LogError::StaleHead { path, reason: "the file is missing".to_owned() });
            }
            opened => opened?,
        };
        Ok(Self { file, path, next_slot: 0 })
    }

    /// Opens a partition's head file for reading and writing.
    pub fn open_to_write(disk: &Disk, dir: &Path) -> Result<Self> {
        let path = Self::path_in(dir);
        let file = files::open(disk, &path, OpenMode::Write)?;
        Ok(Self { file, path, next_slot: 0 })
    }

    /// The higher durable offset of the good slots, or `None` if neither is good.
    pub fn read_if_good(&self) -> Result<Option<Offset>> {
        self.slots().map(|[first, second]| first.max(second))
    }

    /// What each slot says, if it is good.
    pub fn slots(&self) -> Result<[Option<Offset>; 2]> {
        let mut bytes = [0; FILE_BYTES];
        read_fully(&*self.file, &mut bytes, 0).map_err(LogError::io("read", &self.path))?;
        let slots = [&bytes[..SLOT_BYTES], &bytes[SLOT_STRIDE..]];
        // A later program wrote it: it is not damaged, and must not be made anew.
        if let Some(other) = slots.into_iter().filter_map(version).find(|version| *version != VERSION) {
            let reason = format!("format version {other}, but this program reads version {VERSION}");
            return Err(LogError::damaged(&self.path, 0, reason));
        }
        Ok(slots.map(decode))
    }

    /// The durable offset.
    pub fn read(&self) -> Result<Offset> {
        let mut good = 0;
        for _ in 0..LOOKS_MAX {
            match self.slots()? {
                [Some(first), Some(second)] => return Ok(first.max(second)),
                slots => good = slots.iter().flatten().count(),
            }
            std::thread::yield_now();
        }
        let reason = if good == 0 { "neither of its slots is good" } else { "one of its slots is not good" };
        Err(LogError::StaleHead { path: self.path.clone(), reason: reason.to_owned() })
    }

    /// Reports that every record below `durable` is durable.
    pub fn write(&mut self, durable: Offset) -> Result<()> {
        let at = self.next_slot * SLOT_STRIDE as u64;
        self.next_slot ^= 1;
        self.file.write_all_at(&encode(durable), at).map_err(LogError::io("write", &self.path))
    }

    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(LogError::io("fsync", &self.path))
    }
}

/// For fuzzing: takes any bytes as a slot.
pub(crate) fn check_any(bytes: &[u8]) {
    let Some(slot) = bytes.get(..SLOT_BYTES) else { return };
    if let Some(durable) = decode(slot) {
        assert_eq!(encode(durable), slot);
    }
}

/// Slots to begin fuzzing with.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    [0, 41, u64::MAX].map(|durable| encode(durable).to_vec()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::OperatingSystem;

    #[test]
    fn a_slot_is_good_only_if_it_is_what_would_be_written() {
        assert_eq!(decode(&encode(41)), Some(41));
        // Bytes that are always 0, with a checksum that fits.
        for at in [12, 15, 28, 31] {
            let mut slot = encode(41);
            slot[at] = 1;
            let crc = crc32c::crc32c(&slot[..24]);
            slot[24..28].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(decode(&slot), None, "byte {at}");
        }
    }

    #[test]
    fn a_writer_survives_one_bad_slot_and_a_reader_reports_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Disk = Arc::new(OperatingSystem);
        let mut head = HeadFile::create(&disk, dir.path(), 7).unwrap();
        for durable in [8, 9, 12] {
            head.write(durable).unwrap();
            assert_eq!(HeadFile::open(&disk, dir.path()).unwrap().read().unwrap(), durable);
        }
        // 12 went to the first slot; the second still says 9.
        head.file.write_at(&[0xff], 20).unwrap();
        let open = || HeadFile::open(&disk, dir.path()).unwrap();
        assert_eq!(open().read_if_good().unwrap(), Some(9));
        assert!(matches!(open().read(), Err(LogError::StaleHead { .. })));
        head.file.write_at(&[0xff], SLOT_STRIDE as u64 + 3).unwrap();
        assert_eq!(open().read_if_good().unwrap(), None);
        assert!(matches!(open().read(), Err(LogError::StaleHead { .. })));
    }

    #[test]
    fn no_flipped_bit_raises_the_head() {
        let good = encode(41);
        for bit in 0..24 * 8 + 32 {
            let mut slot = good;
            slot[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&slot), None, "bit {bit}");
        }
    }
}
