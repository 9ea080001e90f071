//! Folders of numbered objects, and which is the newest.
//!
//! A listing may not yet show what was created a moment ago, and may still show what was deleted (stores other than Amazon's,
//! caches in between). Reading by name does not have that fault. Numbers have no gaps, so what follows the newest listed object
//! is found by name.

use futures::TryStreamExt;
use object_store::ObjectStore;

use super::{Store, layout, location_of};
use crate::error::{BatchError, Result};

impl Store {
    /// The numbers of a folder's numbered objects above `above` that a listing shows, ascending.
    pub(crate) fn numbers(&self, folder: &'static str, above: u64) -> Result<Vec<u64>> {
        let prefix = location_of(folder);
        let offset = location_of(&layout::numbered(folder, above));
        let listed = self.wait(|objects| async move {
            let paths = objects.list_with_offset(Some(&prefix), &offset).map_ok(|meta| String::from(meta.location));
            paths.try_collect::<Vec<String>>().await
        })?;
        let paths = match listed.map_err(BatchError::store("list", folder)) {
            Err(BatchError::Gone { .. }) => Vec::new(),
            other => other?,
        };
        let mut numbers: Vec<u64> = paths.iter().filter_map(|path| layout::number_of(folder, path)).collect();
        numbers.retain(|&number| number > above);
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The newest of a folder's objects above `above`; `read` reads one by its number. It is durable, so that it can be built on.
    pub(crate) fn newest<T>(
        &self,
        folder: &'static str,
        above: u64,
        read: impl Fn(u64) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (mut at, mut newest) = self.newest_listed(folder, above, &read)?;
        while let Some(next) = read(at + 1)? {
            (at, newest) = (at + 1, Some(next));
        }
        if newest.is_some() {
            self.settle(folder, at)?;
        }
        Ok(newest)
    }

    /// The newest object that a listing shows, with its number; `above` and none if it shows none.
    fn newest_listed<T>(
        &self,
        folder: &'static str,
        above: u64,
        read: impl Fn(u64) -> Result<Option<T>>,
    ) -> Result<(u64, Option<T>)> {
        let mut gone = None;
        loop {
            let numbers = self.numbers(folder, above)?;
            let Some(&last) = numbers.last() else { return Ok((above, None)) };
            if let Some(found) = read(last)? {
                return Ok((last, Some(found)));
            }
            // It is gone. If it was collected since the listing, there is a newer one, and the next listing shows it. If the next
            // listing shows the same, it is the listing that is behind, or someone has deleted the object by hand.
            if gone.replace(last) == Some(last) {
                for &number in numbers.iter().rev().skip(1) {
                    if let Some(found) = read(number)? {
                        return Ok((number, Some(found)));
                    }
                }
                return Ok((last, None));
            }
        }
    }
}
