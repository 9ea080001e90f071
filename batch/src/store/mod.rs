//! The store: any `object_store`, with create-only numbered objects and checked contents.
//!
//! Every call blocks until the store has answered; asynchronous code calls from `spawn_blocking`. The I/O itself runs on
//! threads of the store's own.

mod discreet;
mod io;
pub(crate) mod layout;
pub(crate) mod options;
pub(crate) mod sealed;

use std::{
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart, path::Path as ObjectPath,
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{discreet::Secrets, layout::WriterId, options::StoreOptions};
use self::{io::IoThreads, options::without_password};
use crate::{
    error::{BatchError, Result},
    table::tails::Tails,
};

/// Objects larger than this are uploaded in parts.
const PART_BYTES: usize = 16 << 20;
/// Parts that are under way at once.
const PARTS_IN_FLIGHT: usize = 4;

/// A store. Cheap to clone; clones share connections and the cache of Parquet footers.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Arc<dyn ObjectStore>,
    directory: Option<PathBuf>,
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

/// What a create-only write found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    /// The object is there and is ours, even where the response was lost.
    Ours,
    /// Someone else's object is there.
    Theirs,
}

impl Store {
    /// Opens a store; a local directory is created.
    pub fn open(options: &StoreOptions) -> Result<Store> {
        let opened = options.open()?;
        Store::new(opened.objects, opened.directory, without_password(&options.url))
    }

    /// A store on any implementation of `ObjectStore`: other clouds, wrappers, tests.
    pub fn with_object_store(objects: Arc<dyn ObjectStore>) -> Result<Store> {
        let url = objects.to_string();
        Store::new(objects, None, url)
    }

    fn new(objects: Arc<dyn ObjectStore>, directory: Option<PathBuf>, url: String) -> Result<Store> {
        let inner = Inner {
            objects,
            directory,
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
    pub fn directory(&self) -> Option<&std::path::Path> {
        self.inner.directory.as_deref()
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
        let location = location_of(path);
        self.wait(|objects| async move { objects.get_opts(&location, GetOptions::default()).await?.bytes().await })?
            .map_err(BatchError::store("read", path))
    }

    /// The object's length.
    pub(crate) fn bytes_of(&self, path: &str) -> Result<u64> {
        let location = location_of(path);
        self.wait(|objects| async move { objects.head(&location).await.map(|meta| meta.size) })?
            .map_err(BatchError::store("look at", path))
    }

    /// A range of the object.
    pub(crate) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let location = location_of(path);
        self.wait(|objects| async move { objects.get_range(&location, range).await })?
            .map_err(BatchError::store("read", path))
    }

    /// Writes an object under a name that only this attempt uses, durably.
    pub(crate) fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let location = location_of(path);
        let written = self.wait(|objects| async move {
            if bytes.len() <= PART_BYTES {
                objects.put(&location, PutPayload::from(bytes)).await?;
                return Ok(());
            }
            let upload = objects.put_multipart(&location).await?;
            let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            for start in (0..bytes.len()).step_by(PART_BYTES) {
                write.wait_for_capacity(PARTS_IN_FLIGHT).await?;
                write.put(bytes.slice(start..bytes.len().min(start + PART_BYTES)));
            }
            write.finish().await?;
            Ok(())
        })?;
        written.map_err(BatchError::store("write", path))?;
        self.sync(path)
    }

    /// Creates an object, or finds that someone has.
    ///
    /// Whatever the store answers, "exists" (409 and 412 among the words for it) or a failure, the object may be there: a
    /// response can get lost. So the object is read back; ours has our bytes, which hold our writer's id.
    pub(crate) fn create(&self, path: &str, bytes: Vec<u8>) -> Result<Created> {
        let location = location_of(path);
        let bytes = Bytes::from(bytes);
        let payload = PutPayload::from(bytes.clone());
        let options = PutOptions::from(PutMode::Create);
        let written = self.wait(|objects| async move { objects.put_opts(&location, payload, options).await })?;
        let created = match written {
            Ok(_) => Created::Ours,
            Err(cause) => match self.get(path) {
                Ok(found) if found == bytes => Created::Ours,
                Ok(_) => Created::Theirs,
                Err(_) => return Err(BatchError::store("create", path)(cause)),
            },
        };
        if created == Created::Ours {
            self.sync(path)?;
        }
        Ok(created)
    }

    /// Makes a written object durable. Object stores acknowledge what is durable; on a local disk the file and the
    /// directories above it are synced.
    fn sync(&self, path: &str) -> Result<()> {
        let Some(directory) = &self.inner.directory else { return Ok(()) };
        let file = directory.join(path);
        let sync = |path: &std::path::Path| {
            std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(BatchError::io("sync", path))
        };
        sync(&file)?;
        for above in file.ancestors().skip(1) {
            sync(above)?;
            if above == directory {
                break;
            }
        }
        Ok(())
    }

    /// Reads a sealed object; `None` if there is none.
    pub(crate) fn get_sealed<T: DeserializeOwned>(&self, path: &str, format: &'static str) -> Result<Option<T>> {
        match self.get(path) {
            Ok(bytes) => sealed::unseal(path, format, &bytes).map(Some),
            Err(BatchError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a sealed object, or finds that someone has.
    pub(crate) fn create_sealed<T: Serialize>(&self, path: &str, format: &'static str, body: &T) -> Result<Created> {
        self.create(path, sealed::seal(path, format, body)?)
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

    /// The numbers of a folder's numbered objects above `above`, ascending.
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

/// A path of the store's layout as it is: its segments are encoded already.
fn location_of(path: &str) -> ObjectPath {
    ObjectPath::parse(path).unwrap_or_else(|_| ObjectPath::from(path))
}
