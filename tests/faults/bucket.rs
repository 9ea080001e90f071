//! An object store in memory, as one process reaches it: each request is counted, and one of them may meet trouble.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use watershed_log::simulation::SimulatedProcess;

/// What a process asks of its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    Get,
    List,
    Put,
    Create,
    Delete,
}

impl Request {
    pub fn is_change(self) -> bool {
        matches!(self, Request::Put | Request::Create | Request::Delete)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    Reset,
    Full,
    Permission,
    Killed,
}

/// Which request meets trouble, which, and whether it has had its effect by then.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub number: u64,
    pub trouble: Trouble,
    pub after: bool,
}

/// A process's way to the store.
#[derive(Debug)]
pub struct Bucket {
    inner: Arc<InMemory>,
    process: Arc<SimulatedProcess>,
    fault: Option<Fault>,
    seen: Arc<Seen>,
}

/// What was asked.
#[derive(Default, Debug)]
pub struct Seen {
    asked: AtomicU64,
    requests: Mutex<Vec<(Request, String)>>,
    dead: AtomicBool,
}

impl Seen {
    /// All requests, in order, with the objects.
    pub fn requests(&self) -> Vec<(Request, String)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a request goes on.
enum Way {
    Well,
    FailsBefore(object_store::Error),
    FailsAfter(object_store::Error),
}

impl Bucket {
    pub fn new(inner: &Arc<InMemory>, process: &Arc<SimulatedProcess>, fault: Option<Fault>) -> (Bucket, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        (Bucket { inner: Arc::clone(inner), process: Arc::clone(process), fault, seen: Arc::clone(&seen) }, seen)
    }

    fn ask(&self, request: Request, path: &Path) -> Way {
        if self.seen.dead.load(Ordering::SeqCst) || !self.process.is_running() {
            return Way::FailsBefore(generic("the process is dead"));
        }
        let number = self.seen.asked.fetch_add(1, Ordering::SeqCst);
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push((request, path.to_string()));
        let Some(fault) = self.fault.filter(|fault| fault.number == number) else { return Way::Well };
        let error = match fault.trouble {
            Trouble::Reset => generic("the connection was reset"),
            Trouble::Full => generic("no space left on device"),
            Trouble::Permission => {
                object_store::Error::PermissionDenied { path: path.to_string(), source: "access denied".into() }
            }
            Trouble::Killed => {
                self.seen.dead.store(true, Ordering::SeqCst);
                self.process.kill();
                generic("the process is dead")
            }
        };
        if fault.after { Way::FailsAfter(error) } else { Way::FailsBefore(error) }
    }

    async fn through<T>(&self, request: Request, path: &Path, does: impl Future<Output = Result<T>>) -> Result<T> {
        match self.ask(request, path) {
            Way::Well => does.await,
            Way::FailsBefore(error) => Err(error),
            Way::FailsAfter(error) => does.await.and(Err(error)),
        }
    }
}

fn generic(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "test", source: what.into() }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test")
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
        let request = if opts.mode == PutMode::Create { Request::Create } else { Request::Put };
        self.through(request, location, self.inner.put_opts(location, payload, opts)).boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        _: PutMultipartOptions,
    ) -> BoxFuture<'c, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        unreachable!("{location} is small")
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> BoxFuture<'c, Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.through(Request::Get, location, self.inner.get_opts(location, options)).boxed()
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
        self.through(Request::Get, location, self.inner.get_ranges(location, ranges)).boxed()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, process, fault) = (Arc::clone(&self.inner), Arc::clone(&self.process), self.fault);
        let bucket = Arc::new(Bucket { inner, process, fault, seen: Arc::clone(&self.seen) });
        let delete = move |location: Result<Path>| {
            let bucket = Arc::clone(&bucket);
            async move {
                let location = location?;
                let one = futures::stream::iter([Ok(location.clone())]).boxed();
                let deleted = async {
                    // An object that is gone already counts as deleted.
                    bucket.inner.delete_stream(one).collect::<Vec<_>>().await;
                    Ok(location.clone())
                };
                bucket.through(Request::Delete, &location, deleted).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.ask(Request::List, &prefix.cloned().unwrap_or_default()) {
            Way::Well => self.inner.list(prefix),
            Way::FailsBefore(error) => futures::stream::once(async move { Err(error) }).boxed(),
            // The listing breaks off.
            Way::FailsAfter(error) => {
                self.inner.list(prefix).take(1).chain(futures::stream::once(async move { Err(error) })).boxed()
            }
        }
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> BoxFuture<'c, Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        unreachable!("{prefix:?} is listed without a delimiter")
    }

    fn copy_opts<'a, 'b, 'c, 'd>(&'a self, from: &'b Path, to: &'c Path, _: CopyOptions) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        unreachable!("{from} is not copied to {to}")
    }
}
