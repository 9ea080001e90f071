//! Object stores that count, fail and lose responses, for tests.

pub(crate) mod directory;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// What was asked of a store.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn reset(&self) {
        self.requests.store(0, Ordering::SeqCst);
        self.bytes.store(0, Ordering::SeqCst);
    }
}

/// What a store does before it hands a request on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How many more writing requests succeed; below zero, none fails.
    pub writes_left: AtomicI64,
    /// After how many more objects are written the response to one is lost; below zero, none is.
    pub lost_after: AtomicI64,
    /// How many of the next creates are done while their response is lost.
    pub lost_creates: AtomicI64,
}

/// Counts requests and bytes read.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn ObjectStore>,
    pub counts: Arc<Counts>,
    pub faults: Arc<Faults>,
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "the connection was lost".into() }
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Counting {
        let faults =
            Faults { writes_left: AtomicI64::new(-1), lost_after: AtomicI64::new(-1), lost_creates: AtomicI64::new(0) };
        Counting { inner, counts: Arc::default(), faults: Arc::new(faults) }
    }

    fn write_allowed(&self) -> Result<()> {
        self.counts.requests.fetch_add(1, Ordering::SeqCst);
        let left = &self.faults.writes_left;
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| if n > 0 { Some(n - 1) } else { None });
        match taken {
            Err(0) => Err(lost()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test({})", self.inner)
    }
}

// Written without `async_trait`: what the macro would make.
impl ObjectStore for Counting {
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
            self.write_allowed()?;
            let create = opts.mode == PutMode::Create;
            let result = self.inner.put_opts(location, payload, opts).await?;
            if self.faults.lost_after.fetch_sub(1, Ordering::SeqCst) == 0 {
                return Err(lost());
            }
            let lose = |n| if n > 0 { Some(n - 1) } else { None };
            match create && self.faults.lost_creates.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                true => Err(lost()),
                false => Ok(result),
            }
        }
        .boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        opts: PutMultipartOptions,
    ) -> BoxFuture<'c, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        async move {
            self.write_allowed()?;
            self.inner.put_multipart_opts(location, opts).await
        }
        .boxed()
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> BoxFuture<'c, Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        async move {
            self.counts.requests.fetch_add(1, Ordering::SeqCst);
            let asked = match &options.range {
                Some(GetRange::Bounded(range)) => Some(range.end - range.start),
                _ => None,
            };
            let result = self.inner.get_opts(location, options).await?;
            self.counts.bytes.fetch_add(asked.unwrap_or(result.meta.size), Ordering::SeqCst);
            Ok(result)
        }
        .boxed()
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
        async move {
            self.counts.requests.fetch_add(1, Ordering::SeqCst);
            let bytes = self.inner.get_ranges(location, ranges).await?;
            self.counts.bytes.fetch_add(bytes.iter().map(|b| b.len() as u64).sum(), Ordering::SeqCst);
            Ok(bytes)
        }
        .boxed()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.write_allowed() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.requests.fetch_add(1, Ordering::SeqCst);
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> BoxFuture<'c, Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        async move {
            self.write_allowed()?;
            self.inner.copy_opts(from, to, options).await
        }
        .boxed()
    }
}
