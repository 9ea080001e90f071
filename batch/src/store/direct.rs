//! Parts of files that are objects of a store in a local directory, read on the caller's thread: handing a request to the store's threads
//! takes longer than reading a page.

use std::{
    fs::File,
    io::{Error, ErrorKind, Read, Result, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
};

use bytes::Bytes;

/// The files below a directory.
#[derive(Debug)]
pub(super) struct DirectFiles {
    root: PathBuf,
}

impl DirectFiles {
    pub(super) fn below(root: PathBuf) -> DirectFiles {
        DirectFiles { root }
    }

    /// Ranges of the file of an object, whole; fails if the file ends before one of them does.
    pub(super) fn read(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut file = File::open(self.root.join(location))?;
        let mut at = 0;
        let read = |range: &Range<u64>| {
            if at != range.start {
                file.seek(SeekFrom::Start(range.start))?;
            }
            let length = range.end.saturating_sub(range.start);
            // Before there is memory for what the file does not have.
            if length > WITHOUT_A_LOOK && range.end > file.metadata()?.len() {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(Error::other)?);
            (&mut file).take(length).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != length {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
            at = range.end;
            Ok(Bytes::from(bytes))
        };
        ranges.iter().map(read).collect()
    }
}

/// Up to so many bytes are made room for without looking at the file's length.
const WITHOUT_A_LOOK: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_or_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(directory.path().join("a"), &contents).unwrap();
        let files = DirectFiles::below(directory.path().to_owned());
        let ranges = [0..10, 10..10, 10..2_000_000, 5..7, 2_999_999..3_000_000];
        let expected: Vec<&[u8]> =
            ranges.iter().map(|r: &Range<u64>| &contents[r.start as usize..r.end as usize]).collect();
        assert_eq!(files.read("a", &ranges).unwrap(), expected);
        for behind in [2_999_999..3_000_001, 0..u64::MAX, 4_000_000..4_000_001] {
            assert!(files.read("a", &[0..1, behind]).is_err());
        }
        assert!(files.read("b", &ranges).is_err());
    }
}
