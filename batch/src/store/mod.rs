//! The store: any `object_store`, with create-only numbered objects and checked contents.
//!
//! Every call blocks until the store has answered; asynchronous code calls from `spawn_blocking`. The I/O itself runs on
//! threads of the store's own.

mod create;
mod direct;
mod discreet;
pub(crate) mod failure;
mod io;
pub(crate) mod layout;
mod local;
pub(crate) mod numbered;
pub(crate) mod options;
pub(crate) mod sealed;
mod transport;
mod upload;

use std::{
    fmt,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, path::Path as ObjectPath};
use serde::de::DeserializeOwned;
use watershed_log::OperatingSystem;

pub(crate) use self::create::Created;
use self::{direct::DirectFiles, io::IoThreads, local::LocalDirectory, options::without_password};
pub use self::{discreet::Secrets, layout::WriterId, options::StoreOptions};
use crate::{
    error::{BatchError, Result},
    table::tails::Tails,
};

/// A store. Cheap to clone; clones share connections and the cache of Parquet footers.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Arc<dyn ObjectStore>,
    local: Option<LocalDirectory>,
    /// Objects are files that can be read without the client.
    files: Option<DirectFiles>,
    url: String,
    io: IoThreads,
    tails: Tails,
    /// The newest manifest known and the epoch that is its cut.
    newest_cut: Mutex<(u64, u64)>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.inner.url).finish()
    }
}

impl Store {
    /// Opens a store; a local directory is created.
    pub fn open(options: &StoreOptions) -> Result<Store> {
        let opened = options.open()?;
        let files = opened.directory.clone().map(DirectFiles::below);
        let local = opened.directory.map(|root| LocalDirectory::new(Arc::new(OperatingSystem), root));
        Store::new(opened.objects, local, files, without_password(&options.url))
    }

    /// A store on any implementation of `ObjectStore`: other clouds, wrappers, tests.
    pub fn with_object_store(objects: Arc<dyn ObjectStore>) -> Result<Store> {
        let url = objects.to_string();
        Store::new(objects, None, None, url)
    }

    /// A store whose objects are the files below `root`: `objects` reads, overwrites and deletes them.
    #[cfg(test)]
    pub(crate) fn in_directory(
        objects: Arc<dyn ObjectStore>,
        files: Arc<dyn watershed_log::FileSystem>,
        root: std::path::PathBuf,
    ) -> Result<Store> {
        let url = root.display().to_string();
        Store::new(objects, Some(LocalDirectory::new(files, root)), None, url)
    }

    fn new(
        objects: Arc<dyn ObjectStore>,
        local: Option<LocalDirectory>,
        files: Option<DirectFiles>,
        url: String,
    ) -> Result<Store> {
        let inner = Inner {
            objects,
            local,
            files,
            url,
            io: IoThreads::start()?,
            tails: Tails::default(),
            newest_cut: Mutex::default(),
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Where the store is, without secrets.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The directory of a local store.
    pub fn directory(&self) -> Option<&Path> {
        self.local().map(LocalDirectory::root)
    }

    fn local(&self) -> Option<&LocalDirectory> {
        self.inner.local.as_ref()
    }

    pub(crate) fn newest_cut(&self) -> &Mutex<(u64, u64)> {
        &self.inner.newest_cut
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.inner.tails
    }

    /// Waits for a future that uses the store's client.
    pub(crate) fn wait<T, F>(&self, work: impl FnOnce(Arc<dyn ObjectStore>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.inner.io.wait(work(Arc::clone(&self.inner.objects)))
    }

    /// The whole object.
    pub(crate) fn get(&self, path: &str) -> Result<Bytes> {
        self.read(path, || {
            let location = location_of(path);
            self.wait(|objects| async move { objects.get_opts(&location, GetOptions::default()).await?.bytes().await })
        })
    }

    /// The object's length.
    pub(crate) fn bytes_of(&self, path: &str) -> Result<u64> {
        let location = location_of(path);
        self.wait(|objects| async move { objects.head(&location).await.map(|meta| meta.size) })?
            .map_err(BatchError::store("look at", path))
    }

    /// A range of the object.
    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        if let Some(mut read) = self.read_directly(path, std::slice::from_ref(&range)) {
            return Ok(read.pop().unwrap_or_default());
        }
        self.read(path, || {
            let (location, range) = (location_of(path), range.clone());
            self.wait(|objects| async move { objects.get_range(&location, range).await })
        })
    }

    /// Ranges of an object that is a file, on the caller's thread. `None` where that is not so, or where it fails in any way: the client is
    /// asked then, and says what there is to say.
    fn read_directly(&self, path: &str, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        self.inner.files.as_ref()?.read(location_of(path).as_ref(), ranges).ok()
    }

    fn read<B>(&self, path: &str, once: impl Fn() -> Result<object_store::Result<B>>) -> Result<B> {
        let read = match once()? {
            Err(cause) if failure::is_behind_end(&cause) => once()?,
            read => read,
        };
        read.map_err(BatchError::store("read", path))
    }

    /// Makes a written object durable. Object stores acknowledge what is durable; of a local directory, the file and the
    /// directories above it are synced.
    fn sync(&self, path: &str) -> Result<()> {
        self.local().map_or(Ok(()), |local| local.sync(path))
    }

    /// Makes a numbered object durable that is about to be built on, whoever created it.
    pub(crate) fn settle(&self, folder: &'static str, number: u64) -> Result<()> {
        self.local().map_or(Ok(()), |local| local.settle(folder, number))
    }

    /// Makes it durable that objects of a folder have been deleted.
    pub(crate) fn sync_names(&self, folder: &str) -> Result<()> {
        self.local().map_or(Ok(()), |local| local.sync_names(folder))
    }

    /// Reads a sealed object; `None` if there is none.
    pub(crate) fn get_sealed<T: DeserializeOwned>(&self, path: &str, format: &'static str) -> Result<Option<T>> {
        match self.get_checked(path, |bytes| sealed::unseal(path, format, bytes)) {
            Ok(body) => Ok(Some(body)),
            Err(BatchError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole object, checked. What does not pass is read once more before it counts as damaged: an answer may be cut
    /// off on its way and still claim to be whole.
    pub(crate) fn get_checked<T>(&self, path: &str, check: impl Fn(&Bytes) -> Result<T>) -> Result<T> {
        checked_twice(|| self.get(path), check)
    }

    /// A range of the object, checked as [`Store::get_checked`] does.
    pub(crate) fn get_range_checked<T>(
        &self,
        path: &str,
        range: Range<u64>,
        check: impl Fn(&Bytes) -> Result<T>,
    ) -> Result<T> {
        checked_twice(|| self.get_range(path, range.clone()), check)
    }

    /// Ranges of the object, in one request, checked as [`Store::get_checked`] does.
    pub(crate) fn get_ranges_checked(
        &self,
        path: &str,
        ranges: &[Range<u64>],
        check: impl Fn(&Vec<Bytes>) -> Result<()>,
    ) -> Result<Vec<Bytes>> {
        let get = || {
            if let Some(read) = self.read_directly(path, ranges) {
                return Ok(read);
            }
            self.read(path, || {
                let (location, ranges) = (location_of(path), ranges.to_vec());
                self.wait(|objects| async move { objects.get_ranges(&location, &ranges).await })
            })
        };
        checked_twice(get, |read| check(read).map(|()| read.clone()))
    }

    /// The objects below a folder: path and bytes, in no order.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let prefix = location_of(folder);
        let listed = self.wait(|objects| async move {
            objects.list(Some(&prefix)).map_ok(|meta| (String::from(meta.location), meta.size)).try_collect().await
        })?;
        match listed.map_err(BatchError::store("list", folder)) {
            Err(BatchError::Gone { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Deletes objects; those that are gone already count as deleted.
    pub(crate) fn delete(&self, paths: Vec<String>) -> Result<()> {
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let deleted = self.wait(|objects| async move {
            let locations = futures::stream::iter(paths.into_iter().map(|path| Ok(location_of(&path)))).boxed();
            let mut results = objects.delete_stream(locations);
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        deleted.map_err(BatchError::store("delete", &first))
    }
}

fn checked_twice<B, T>(read: impl Fn() -> Result<B>, check: impl Fn(&B) -> Result<T>) -> Result<T> {
    match check(&read()?) {
        Err(BatchError::Damaged { object, reason }) => {
            tracing::warn!(object, reason, "read something else than was written; reading it once more");
            check(&read()?)
        }
        other => other,
    }
}

/// A path of the store's layout as it is: its segments are encoded already.
fn location_of(path: &str) -> ObjectPath {
    ObjectPath::parse(path).unwrap_or_else(|_| ObjectPath::from(path))
}
