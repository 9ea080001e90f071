//! A file's contents: what processes see, what the disk has, and what lies between.

use std::collections::{BTreeMap, BTreeSet};

use super::random::{Random, Survival};

const SECTOR_BYTES: usize = 512;
/// Versions of a sector or of a size that are remembered. Older ones are forgotten: they cannot come back then.
const VERSIONS_MAX: usize = 16;

type Sector = [u8; SECTOR_BYTES];

#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// What processes see.
    seen: Vec<u8>,
    /// What the disk has.
    stored: Vec<u8>,
    /// What each sector has held since it was last stored, newest last. Beyond the file's end it is zero.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// Which sizes the file has had since its size was last stored, newest last.
    sizes: Vec<usize>,
    /// Sectors that are not stored as seen, though nobody will write them again: a sync of them has failed.
    forsaken: BTreeSet<usize>,
}

fn remember<T>(versions: &mut Vec<T>, version: T) {
    if versions.len() == VERSIONS_MAX {
        versions.remove(0);
    }
    versions.push(version);
}

/// The sector of `bytes` with this number, zeros beyond the end.
fn sector_of(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    let begin = (number * SECTOR_BYTES).min(bytes.len());
    let end = (begin + SECTOR_BYTES).min(bytes.len());
    sector[..end - begin].copy_from_slice(&bytes[begin..end]);
    sector
}

/// Puts a sector into `bytes`, as far as they reach.
fn put_sector(bytes: &mut [u8], number: usize, sector: &Sector) {
    let begin = (number * SECTOR_BYTES).min(bytes.len());
    let end = (begin + SECTOR_BYTES).min(bytes.len());
    bytes[begin..end].copy_from_slice(&sector[..end - begin]);
}

impl Contents {
    /// A file that is on the disk as it is.
    pub fn durable(bytes: Vec<u8>) -> Self {
        Self { stored: bytes.clone(), seen: bytes, ..Self::default() }
    }

    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub fn write(&mut self, bytes: &[u8], at: usize) {
        let (before, end) = (self.seen.len(), at + bytes.len());
        if end > before {
            self.seen.resize(end, 0);
            remember(&mut self.sizes, end);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.touch(at.min(before), end);
    }

    pub fn set_size(&mut self, size: usize) {
        let before = self.seen.len();
        if size != before {
            self.seen.resize(size, 0);
            remember(&mut self.sizes, size);
            self.touch(before.min(size), size);
        }
    }

    /// Takes note of what the sectors between two bytes hold now.
    fn touch(&mut self, from: usize, to: usize) {
        for number in from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES) {
            self.forsaken.remove(&number);
            remember(self.unsynced.entry(number).or_default(), sector_of(&self.seen, number));
        }
    }

    pub fn sync(&mut self) {
        self.stored.resize(self.seen.len(), 0);
        self.sync_sectors(|_| true);
        self.sizes.clear();
    }

    /// A sync that fails after it has stored every second sector, or none. All count as written from now on.
    pub fn fail_sync(&mut self, half: bool) {
        if half {
            self.stored.resize(self.stored.len().max(self.seen.len()), 0);
        }
        self.sync_sectors(|turn| half && turn % 2 == 1);
    }

    /// A sync that is interrupted by the end of its process, after every second sector: the others still have to be written.
    pub fn sync_half(&mut self) {
        let mut left = self.unsynced.clone();
        self.fail_sync(true);
        left.retain(|number, _| self.forsaken.remove(number));
        self.unsynced = left;
    }

    fn sync_sectors(&mut self, is_stored: impl Fn(usize) -> bool) {
        for (turn, number) in std::mem::take(&mut self.unsynced).into_keys().enumerate() {
            if is_stored(turn) {
                put_sector(&mut self.stored, number, &sector_of(&self.seen, number));
            } else {
                self.forsaken.insert(number);
            }
        }
    }

    /// The power fails: what is not stored survives in part.
    pub fn power_cut(&mut self, survival: Survival, random: &mut Random) {
        let before = self.stored.len();
        if let Some(picked) = survival.pick(self.sizes.len(), random) {
            self.stored.resize(self.sizes[picked], 0);
        }
        if survival == Survival::Some && random.below(2) == 0 {
            for byte in self.stored.iter_mut().skip(before) {
                *byte = random.next() as u8;
            }
        }
        for (number, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(picked) = survival.pick(versions.len(), random) {
                put_sector(&mut self.stored, number, &versions[picked]);
            }
        }
        self.seen.clone_from(&self.stored);
        self.sizes.clear();
        self.forsaken.clear();
    }

    /// The pages of some sectors whose sync has failed are dropped: what is read is what the disk has.
    pub fn forget_pages(&mut self, random: &mut Random) {
        let survival = Survival::draw(random);
        for number in std::mem::take(&mut self.forsaken) {
            if survival.pick(1, random).is_none() {
                put_sector(&mut self.seen, number, &sector_of(&self.stored, number));
            } else {
                self.forsaken.insert(number);
            }
        }
    }
}
