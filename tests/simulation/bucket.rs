//! The object store of the simulation: in memory, every request an operation of whoever acts.
//!
//! A request may fail before it has any effect, have its effect while the answer is lost, or have its effect only later, when
//! others have gone on. Listings are consistent with what was written, as those of S3, GCS, Azure and local disks are.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

use super::{
    ledger::Ledger,
    stage::{Passed, Stage},
};

/// The bucket. All processes of a history share it.
#[derive(Clone)]
pub struct Bucket {
    stage: Arc<Stage>,
    inner: Arc<InMemory>,
    ledger: Arc<Mutex<Ledger>>,
    late: Arc<Mutex<Vec<Late>>>,
}

/// What becomes of a request that writes.
enum Fate {
    Done,
    /// It fails and has no effect.
    Fails,
    /// It has its effect, and its answer is lost.
    AnswerLost,
    /// It seems to fail; its effect comes later.
    Late,
    /// The process that asks is dead.
    Never,
}

impl Fate {
    fn of(passed: Passed) -> Fate {
        match passed {
            Passed::Well => Fate::Done,
            Passed::Trouble(which) | Passed::Dying(which) => match which % 3 {
                0 => Fate::Fails,
                1 => Fate::AnswerLost,
                _ => Fate::Late,
            },
            Passed::Dead => Fate::Never,
        }
    }
}

/// A write that has not had its effect yet.
enum Late {
    Put { path: Path, bytes: Bytes, create: bool },
    Delete { path: Path },
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulation")
    }
}

fn lost(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "simulation", source: what.into() }
}

impl Bucket {
    /// An empty bucket.
    pub fn new(stage: &Arc<Stage>) -> Bucket {
        Bucket {
            stage: Arc::clone(stage),
            inner: Arc::new(InMemory::new()),
            ledger: Arc::default(),
            late: Arc::default(),
        }
    }

    /// What the bucket has seen.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> MutexGuard<'_, Vec<Late>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the writes that are late has its effect now: the one that `choose` takes of so many.
    pub fn let_one_arrive(&self, choose: impl FnOnce(usize) -> usize) {
        let waiting = self.late().len();
        if waiting == 0 {
            return;
        }
        let late = self.late().swap_remove(choose(waiting));
        match late {
            Late::Put { path, bytes, create } => {
                let done = self.write(&path, bytes, create).now_or_never();
                self.stage.trace.note(format_args!("late: put {path}: {}", done.is_some_and(|done| done.is_ok())));
            }
            Late::Delete { path } => {
                self.stage.trace.note(format_args!("late: delete {path}"));
                self.remove(&path).now_or_never();
            }
        }
    }

    /// Every object's path.
    pub fn paths(&self) -> Vec<String> {
        let listed = self.inner.list(None).collect::<Vec<_>>().now_or_never().unwrap_or_default();
        listed.into_iter().flatten().map(|meta| String::from(meta.location)).collect()
    }

    async fn write(&self, path: &Path, bytes: Bytes, create: bool) -> Result<PutResult> {
        let mode = if create { PutMode::Create } else { PutMode::Overwrite };
        let before = match self.inner.get_opts(path, GetOptions::default()).await {
            Ok(found) => Some(found.bytes().await?),
            Err(_) => None,
        };
        let put = self.inner.put_opts(path, PutPayload::from(bytes.clone()), PutOptions::from(mode)).await?;
        self.ledger().written(path.as_ref(), before.as_deref(), &bytes);
        Ok(put)
    }

    async fn remove(&self, path: &Path) {
        // An object that is gone already counts as deleted.
        let removed = self.inner.delete_stream(futures::stream::iter([Ok(path.clone())]).boxed());
        removed.collect::<Vec<_>>().await;
        self.ledger().deleted(path.as_ref());
    }

    async fn read<T>(&self, what: String, read: impl Future<Output = Result<T>>) -> Result<T> {
        match self.stage.operation_async(&what).await {
            Passed::Well => {
                let read = read.await;
                if let Err(error) = &read {
                    self.stage.outcome(|| error.to_string());
                }
                read
            }
            Passed::Trouble(_) | Passed::Dying(_) | Passed::Dead => Err(lost("the connection was reset")),
        }
    }
}

// Written without `async_trait`: what the macro would make.
impl ObjectStore for Bucket {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> BoxFuture<'c, Result<PutResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        async move {
            let (bytes, create) = (Bytes::from(payload), opts.mode == PutMode::Create);
            let (verb, hash) = (if create { "create" } else { "put" }, blake3::hash(&bytes).to_hex());
            let what = format!("{verb} {location} {} bytes {}", bytes.len(), &hash[..8]);
            match Fate::of(self.stage.operation_async(&what).await) {
                Fate::Never => Err(lost("the process is dead")),
                Fate::Done => {
                    let written = self.write(location, bytes, create).await;
                    if let Err(error) = &written {
                        self.stage.outcome(|| error.to_string());
                    }
                    written
                }
                Fate::Fails => Err(lost("the connection was reset")),
                Fate::AnswerLost => {
                    let written = self.write(location, bytes, create).await;
                    self.stage.outcome(|| format!("{}", written.is_ok()));
                    Err(lost("the connection was reset while the answer was under way"))
                }
                Fate::Late => {
                    self.late().push(Late::Put { path: location.clone(), bytes, create });
                    Err(lost("the request timed out"))
                }
            }
        }
        .boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        _opts: PutMultipartOptions,
    ) -> BoxFuture<'c, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        unreachable!("histories are small: {location} is not uploaded in parts")
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> BoxFuture<'c, Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let what = match &options.range {
            Some(range) => format!("get {location} {range}"),
            None => format!("get {location}"),
        };
        self.read(what, self.inner.get_opts(location, options)).boxed()
    }

    fn get_ranges<'a, 'b, 'c, 'd>(
        &'a self,
        location: &'b Path,
        ranges: &'c [Range<u64>],
    ) -> BoxFuture<'d, Result<Vec<Bytes>>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.read(format!("get {location} {ranges:?}"), self.inner.get_ranges(location, ranges)).boxed()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let bucket = self.clone();
        locations
            .then(move |location| {
                let bucket = bucket.clone();
                async move {
                    let location = location?;
                    match Fate::of(bucket.stage.operation_async(&format!("delete {location}")).await) {
                        Fate::Never => Err(lost("the process is dead")),
                        Fate::Done => {
                            bucket.remove(&location).await;
                            Ok(location)
                        }
                        Fate::Fails => Err(lost("the connection was reset")),
                        Fate::AnswerLost => {
                            bucket.remove(&location).await;
                            Err(lost("the connection was reset while the answer was under way"))
                        }
                        Fate::Late => {
                            bucket.late().push(Late::Delete { path: location });
                            Err(lost("the request timed out"))
                        }
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let inner = Arc::clone(&bucket.inner);
            let what = format!("list {}", prefix.clone().unwrap_or_default());
            let listing = async { Ok(inner.list(prefix.as_ref())) };
            match bucket.read(what, listing).await {
                Ok(listed) => listed,
                Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
            }
        };
        listed.into_stream().flatten().boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> BoxFuture<'c, Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        unreachable!("{prefix:?} is listed without a delimiter")
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        _options: CopyOptions,
    ) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        unreachable!("{from} is not copied to {to}")
    }
}
