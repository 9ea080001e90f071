//! Epochs: numbered, durable positions of the whole project, each created once and never changed.

use serde::{Deserialize, Serialize};
use watershed_log::Position;

use crate::{
    error::{BatchError, Result},
    store::{
        Created, Store, WriterId,
        layout::{EPOCHS, numbered},
    },
};

/// The format of epoch objects.
pub(crate) const FORMAT: &str = "watershed.epoch/1";

/// A numbered, durable position. Each epoch lies at or above the one before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u64,
    /// The position: durable in the log when the epoch was recorded.
    pub position: Position,
    /// When it was recorded, in microseconds since 1970-01-01 UTC.
    pub created_at_micros: i64,
    /// Who recorded it.
    pub writer: WriterId,
}

impl Store {
    /// The numbers of the epochs that are kept, ascending.
    pub fn epoch_numbers(&self) -> Result<Vec<u64>> {
        self.numbers(EPOCHS, 0)
    }

    /// The epoch of this number, if it is kept.
    pub fn epoch(&self, number: u64) -> Result<Option<Epoch>> {
        let path = numbered(EPOCHS, number);
        let Some(epoch) = self.get_sealed::<Epoch>(&path, FORMAT)? else { return Ok(None) };
        if epoch.number != number {
            return Err(BatchError::damaged(&path, format!("holds epoch {}", epoch.number)));
        }
        Ok(Some(epoch))
    }

    /// The newest epoch. It is the newest manifest's or one after it, however far listings of epochs lag behind.
    pub fn latest_epoch(&self) -> Result<Option<Epoch>> {
        let below_cut = self.cut_epoch()?.saturating_sub(1);
        self.newest(EPOCHS, below_cut, |number| self.epoch(number))
    }

    /// Records `position` as an epoch, unless the newest epoch covers it already; returns the newest epoch, which lies at or
    /// above `position`. Of recorders that race, each gets an epoch that covers what it asked for.
    ///
    /// `position` must be durable in the log.
    pub fn record_epoch(&self, position: &Position, created_at_micros: i64, writer: &WriterId) -> Result<Epoch> {
        loop {
            let latest = self.latest_epoch()?;
            if let Some(latest) = &latest {
                if position.le(&latest.position) {
                    return Ok(latest.clone());
                }
                if !latest.position.le(position) {
                    return Err(BatchError::MovedBack {
                        what: "an epoch",
                        from: describe(&latest.position),
                        to: describe(position),
                    });
                }
            }
            let number = latest.map_or(1, |latest| latest.number + 1);
            self.check_last_epoch(number)?;
            let epoch = Epoch { number, position: position.clone(), created_at_micros, writer: writer.clone() };
            match self.create_sealed(&numbered(EPOCHS, number), FORMAT, &epoch)? {
                Created::Ours if self.is_new(number)? => return Ok(epoch),
                Created::Ours => self.delete(vec![numbered(EPOCHS, number)])?,
                // The chain has grown by at least one: the loop ends, for every turn needs another recorder's success.
                Created::Theirs => {}
            }
        }
    }
}

impl Store {
    /// Whether the number of an epoch that was just created had not been given before. A recorder that slept until others had recorded epochs,
    /// cut behind them and forgotten this one finds its number free again.
    pub(crate) fn is_new(&self, number: u64) -> Result<bool> {
        Ok(self.cut_epoch()? <= number)
    }

    /// Checks that the epoch before `number` is the last one: a manifest may have one as its cut that has gone since. Its number
    /// must not be given to another position.
    fn check_last_epoch(&self, number: u64) -> Result<()> {
        let mut cut = self.cut_epoch()?;
        // A listing may lag behind what is there.
        while cut >= number && self.epoch(cut)?.is_none() {
            // Others may have cut further since, and forgotten this one.
            match self.cut_epoch()? {
                newer if newer > cut => cut = newer,
                _ => return Err(BatchError::damaged(&numbered(EPOCHS, cut), LAST_IS_MISSING)),
            }
        }
        Ok(())
    }
}

/// What is wrong where the newest manifest's cut is no epoch any more.
const LAST_IS_MISSING: &str = "it is missing, and a manifest has it as its cut; `fsck --repair` makes it anew";

/// A position in an error's text.
pub(crate) fn describe(position: &Position) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    fn position(offset: u64) -> Position {
        [("s".to_owned(), vec![offset])].into_iter().collect()
    }

    #[test]
    fn epochs_form_a_chain() {
        let store = Store::open(&StoreOptions::new("memory:")).unwrap();
        assert_eq!(store.latest_epoch().unwrap(), None);
        let writer = WriterId::from_u64(1);
        let first = store.record_epoch(&position(5), 1, &writer).unwrap();
        assert_eq!(first.number, 1);
        // Nothing new: the same epoch.
        assert_eq!(store.record_epoch(&position(5), 2, &writer).unwrap(), first);
        // A position that the chain covers already.
        assert_eq!(store.record_epoch(&position(3), 2, &writer).unwrap(), first);
        let second = store.record_epoch(&position(9), 3, &writer).unwrap();
        assert_eq!((second.number, store.epoch_numbers().unwrap()), (2, vec![1, 2]));
        assert_eq!(store.latest_epoch().unwrap(), Some(second));
        // Neither above nor below.
        let aside: Position = [("t".to_owned(), vec![1])].into_iter().collect();
        assert!(matches!(store.record_epoch(&aside, 4, &writer), Err(BatchError::MovedBack { .. })));
    }

    #[test]
    fn racing_recorders_all_get_an_epoch_that_covers_them() {
        let store = Store::open(&StoreOptions::new("memory:")).unwrap();
        std::thread::scope(|scope| {
            for i in 1..=8 {
                let store = &store;
                scope.spawn(move || {
                    let epoch = store.record_epoch(&position(i), 0, &WriterId::from_u64(i)).unwrap();
                    assert!(position(i).le(&epoch.position));
                });
            }
        });
        let numbers = store.epoch_numbers().unwrap();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let mut below = Position::new();
        for number in numbers {
            let epoch = store.epoch(number).unwrap().unwrap();
            assert!(below.le(&epoch.position));
            below = epoch.position;
        }
    }
}
