//! Setting damaged objects aside, and making epochs anew.

use std::collections::BTreeSet;

use watershed_log::Position;

use super::{StoreCheck, chain::Chain};
use crate::{
    Epoch, WriterId,
    epoch::FORMAT,
    error::{BatchError, Result},
    store::{
        Created, Store,
        layout::{EPOCHS, MANIFESTS, number_of, numbered},
    },
};

/// Folder of what was set aside, under its own path.
const ASIDE: &str = "damaged";
/// What stands in the place of an object that was missing.
const MISSING: &[u8] = b"missing";

/// What was set aside.
pub(super) struct Aside {
    /// The paths that it has now.
    pub objects: BTreeSet<String>,
}

impl Aside {
    /// Whether the object at `path` was set aside, or found missing and put up with.
    pub fn has(&self, path: &str) -> bool {
        self.objects.contains(&format!("{ASIDE}/{path}"))
    }

    /// The highest number of a folder's objects that were set aside.
    pub fn highest(&self, folder: &str) -> u64 {
        let originals = self.objects.iter().filter_map(|path| path.strip_prefix(ASIDE)?.strip_prefix('/'));
        originals.filter_map(|path| number_of(folder, path)).max().unwrap_or(0)
    }
}

impl Store {
    pub(super) fn aside(&self) -> Result<Aside> {
        Ok(Aside { objects: self.list(ASIDE)?.into_iter().map(|(path, _)| path).collect() })
    }

    /// Keeps a copy of a damaged object, or a note that it is missing, below `damaged/`. Returns where.
    pub fn set_aside(&self, object: &str) -> Result<String> {
        let bytes = match self.get(object) {
            Ok(bytes) => bytes,
            Err(BatchError::Gone { .. }) => MISSING.into(),
            Err(error) => return Err(error),
        };
        for number in 0_u32.. {
            let suffix = if number == 0 { String::new() } else { format!("-{number}") };
            let path = format!("{ASIDE}/{object}{suffix}");
            // The same bytes may be there from an attempt that was killed.
            if self.create(&path, bytes.clone())? == Created::Ours {
                return Ok(path);
            }
        }
        Err(BatchError::damaged(object, "cannot be set aside"))
    }

    /// Sets a damaged epoch or manifest aside and takes it away. One that is missing leaves a note, so that it is known.
    pub fn take_away(&self, object: &str) -> Result<String> {
        let is_numbered = [EPOCHS, MANIFESTS].iter().any(|folder| number_of(folder, object).is_some());
        if !is_numbered {
            return Err(BatchError::damaged(object, "is neither an epoch nor a manifest"));
        }
        let kept = self.set_aside(object)?;
        self.delete(vec![object.to_owned()])?;
        Ok(kept)
    }

    /// Makes an epoch anew that is damaged or missing, from the manifest that has it as its cut. Returns whether there is one;
    /// if not, the epoch is taken away: answers as of it can no longer be had.
    pub fn restore_epoch(&self, number: u64) -> Result<bool> {
        let path = numbered(EPOCHS, number);
        let mut check = StoreCheck::default();
        let chain = Chain::read(self, &self.aside()?, &mut check)?;
        self.take_away(&path)?;
        let Some(manifest) = chain.with_epoch(number) else { return Ok(false) };
        let epoch = Epoch {
            number,
            position: manifest.cut.clone(),
            created_at_micros: manifest.created_at_micros,
            writer: manifest.writer.clone(),
        };
        self.create_sealed(&path, FORMAT, &epoch)?;
        Ok(true)
    }

    /// Records an epoch above all numbers that were ever there, so that the number of one that is lost is not used again.
    pub fn record_epoch_above(
        &self,
        number: u64,
        position: &Position,
        created_at_micros: i64,
        writer: &WriterId,
    ) -> Result<()> {
        let mut check = StoreCheck::default();
        let chain = Chain::read(self, &self.aside()?, &mut check)?;
        let number = number.max(check.last_epoch) + 1;
        let position = position.max(&chain.highest());
        let epoch = Epoch { number, position, created_at_micros, writer: writer.clone() };
        match self.create_sealed(&numbered(EPOCHS, number), FORMAT, &epoch)? {
            Created::Ours => Ok(()),
            Created::Theirs => Err(BatchError::LostRace { number, winner: "another recorder".to_owned() }),
        }
    }
}
