//! Creating an object once, whatever is answered.
//!
//! The answer to a create says little. "It exists" (409 and 412 are words for it) may be about our own object, whose first answer
//! got lost and whose request was repeated; a 409 may mean only that someone else was trying at that moment; a failure may come
//! after the object was made, or before it is made by a request that is still under way. So after any answer but success the
//! object is read back, and its bytes, which hold the writer's id, decide.

use std::io;

use bytes::Bytes;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use serde::Serialize;

use super::{Store, failure, location_of, sealed};
use crate::error::{BatchError, Result};

/// How often a create is tried while nobody's object is there. (The client repeats requests below this, where it is sure that
/// they can be.) One that is still under way does no harm: whichever comes first, the object is ours.
const TRIES: usize = 3;

/// What a create-only write found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    /// The object is there and is ours, even where the response was lost.
    Ours,
    /// Someone else's object is there.
    Theirs,
}

impl Store {
    /// Creates a sealed object, or finds that someone has. After an error it may or may not be there, now or in a moment.
    pub(crate) fn create_sealed<T: Serialize>(&self, path: &str, format: &'static str, body: &T) -> Result<Created> {
        let bytes = Bytes::from(sealed::seal(path, format, body)?);
        let mut tries_left = TRIES;
        loop {
            tries_left -= 1;
            let Err(cause) = self.put_if_absent(path, bytes.clone())? else {
                self.sync(path)?;
                return Ok(Created::Ours);
            };
            match self.whose(path, &bytes) {
                Ok(Some(Created::Ours)) => {
                    self.sync(path)?;
                    return Ok(Created::Ours);
                }
                Ok(Some(Created::Theirs)) => return Ok(Created::Theirs),
                Ok(None) if tries_left > 0 && !failure::is_refused(&cause) && !failure::is_left_alone(&cause) => {
                    tracing::debug!(path, %cause, "nobody's object is there; creating it again");
                }
                Err(damaged @ BatchError::Damaged { .. }) => return Err(damaged),
                Ok(None) | Err(_) => return Err(BatchError::store("create", path)(cause)),
            }
        }
    }

    /// Creates an object of any form, or finds one there: ours if it has the same bytes.
    pub(crate) fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        if let Err(cause) = self.put_if_absent(path, bytes.clone())? {
            match self.get(path) {
                Ok(found) if found == bytes => {}
                Ok(_) => return Ok(Created::Theirs),
                Err(BatchError::Gone { .. }) => return Err(BatchError::store("create", path)(cause)),
                Err(error) => return Err(error),
            }
        }
        self.sync(path)?;
        Ok(Created::Ours)
    }

    /// One request. The outer error is of this process, the inner one the store's.
    fn put_if_absent(&self, path: &str, bytes: Bytes) -> Result<object_store::Result<()>> {
        if let Some(local) = self.local() {
            local.sync_written()?;
            return Ok(local.create(path, &bytes).map_err(|source| of_file_system(path, source)));
        }
        let (location, payload) = (location_of(path), PutPayload::from(bytes));
        let options = PutOptions::from(PutMode::Create);
        self.wait(|objects| async move { objects.put_opts(&location, payload, options).await.map(|_| ()) })
    }

    /// Whose object is at `path`. Only a whole one counts: what was cut off on its way looks like another's.
    fn whose(&self, path: &str, ours: &Bytes) -> Result<Option<Created>> {
        let compared = self.get_checked(path, |found| {
            if found == ours {
                return Ok(Created::Ours);
            }
            sealed::check(path, found).map(|()| Created::Theirs)
        });
        match compared {
            Ok(created) => Ok(Some(created)),
            Err(BatchError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The error as a store would tell of it.
fn of_file_system(path: &str, source: io::Error) -> object_store::Error {
    match source.kind() {
        io::ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path: path.to_owned(), source: Box::new(source) }
        }
        _ => object_store::Error::Generic { store: "directory", source: Box::new(source) },
    }
}
