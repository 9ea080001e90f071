//! Records that are known to be lost: holes in a partition's offsets, which a check has found and mending has marked.
//!
//! A hole from one offset up to another is a file `<from>-<to>.lost` (20 digits each) in the partition's directory. The segment
//! before the hole ends with `from`, the next one begins with `to`. Without the file, a hole is damage, and the log cannot be
//! opened for writing; with it, only what needs those records fails.
//!
//! | byte | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | `WSLOGLST` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | 0 |
//! | 16 | 8 | the first offset that is lost |
//! | 24 | 8 | the offset after the last that is lost |
//! | 32 | 4 | CRC of bytes 0–31 |

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::files::Disk;
use crate::format::{VERSION, u32_at, u64_at};
use crate::{LogError, Offset, Result, files};

const MAGIC: &[u8; 8] = b"WSLOGLST";
const FILE_BYTES: usize = 36;
const EXTENSION: &str = ".lost";

pub(crate) fn path(dir: &Path, range: &Range<Offset>) -> PathBuf {
    dir.join(format!("{:020}-{:020}{EXTENSION}", range.start, range.end))
}

pub(crate) fn encode(range: &Range<Offset>) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&range.start.to_le_bytes());
    bytes[24..32].copy_from_slice(&range.end.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Range<Offset>> {
    let good = bytes.len() == FILE_BYTES
        && &bytes[..8] == MAGIC
        && u32_at(bytes, 8) == VERSION
        && crc32c::crc32c(&bytes[..32]) == u32_at(bytes, 32);
    let range = good.then(|| u64_at(bytes, 16)..u64_at(bytes, 24))?;
    (range.start < range.end).then_some(range)
}

/// The holes that are marked in a partition's directory, ascending.
pub(crate) fn list(disk: &Disk, dir: &Path) -> Result<Vec<Range<Offset>>> {
    let mut found = Vec::new();
    for name in files::list(disk, dir)?.into_iter().filter(|name| name.ends_with(EXTENSION)) {
        let file = dir.join(&name);
        let bytes = files::read(disk, &file)?.unwrap_or_default();
        let range = decode(&bytes).filter(|range| path(dir, range) == file);
        found.push(range.ok_or_else(|| LogError::damaged(&file, 0, "it is not what was written"))?);
    }
    found.sort_by_key(|range| range.start);
    Ok(found)
}

/// Where the segment before the one that begins with `next` ends: there, or before the holes.
pub(crate) fn end_before(lost: &[Range<Offset>], next: Offset) -> Offset {
    let mut end = next;
    while let Some(hole) = lost.iter().find(|hole| hole.end == end) {
        end = hole.start;
    }
    end
}

/// What of `range` lies in no hole.
pub(crate) fn outside(lost: &[Range<Offset>], range: &Range<Offset>) -> Vec<Range<Offset>> {
    let (mut left, mut at) = (Vec::new(), range.start);
    for hole in lost.iter().filter(|hole| hole.start < range.end && hole.end > range.start) {
        if hole.start > at {
            left.push(at..hole.start);
        }
        at = at.max(hole.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_or_cut_moves_a_hole() {
        let good = encode(&(3..9));
        assert_eq!(decode(&good), Some(3..9));
        for bit in 0..FILE_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
        for length in 0..FILE_BYTES {
            assert_eq!(decode(&good[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn segments_end_before_holes() {
        assert_eq!(end_before(std::slice::from_ref(&(3..9)), 9), 3);
        assert_eq!(end_before(&[3..9, 9..12], 12), 3);
        assert_eq!(end_before(std::slice::from_ref(&(3..9)), 3), 3);
        assert_eq!(end_before(&[], 9), 9);
    }

    #[test]
    fn what_is_outside_of_all_holes() {
        assert_eq!(outside(&[3..9, 12..14], &(0..20)), [0..3, 9..12, 14..20]);
        assert_eq!(outside(std::slice::from_ref(&(3..9)), &(4..8)), []);
        assert_eq!(outside(std::slice::from_ref(&(3..9)), &(3..10)), [std::ops::Range { start: 9, end: 10 }]);
        assert_eq!(outside(&[], &(1..2)), [std::ops::Range { start: 1, end: 2 }]);
    }
}
