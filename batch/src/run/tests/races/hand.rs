//! One writer's way to the store of an [`Arena`].

use std::{fmt, sync::Arc};

use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::arena::{Arena, Fate, Kind};

/// The store as one writer sees it.
#[derive(Clone)]
pub(super) struct Hand {
    pub arena: Arc<Arena>,
    pub writer: usize,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hand({})", self.writer)
    }
}

impl fmt::Display for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arena")
    }
}

fn failed() -> Error {
    Error::Generic { store: "arena", source: "503 Service Unavailable".into() }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "409 Conflict".into() }
}

impl Hand {
    async fn put(&self, path: Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let kind = if options.mode == PutMode::Create { Kind::Create } else { Kind::Put };
        match self.arena.turn(self.writer, kind, format!("{kind:?} {path}")).await {
            Fate::FailedBefore => Err(failed()),
            Fate::Exists => Err(exists(&path)),
            Fate::Late => {
                self.arena.write_late(&path, payload, options.mode);
                Err(failed())
            }
            fate @ (Fate::Done | Fate::FailedAfter) => {
                let done = self.arena.objects.put_opts(&path, payload.clone(), options).await?;
                self.arena.written(&path, &payload);
                if fate == Fate::Done { Ok(done) } else { Err(failed()) }
            }
        }
    }

    async fn get(&self, path: Path, options: GetOptions) -> Result<GetResult> {
        match self.arena.turn(self.writer, Kind::Read, format!("Read {path}")).await {
            Fate::Done => self.arena.objects.get_opts(&path, options).await,
            _ => Err(failed()),
        }
    }

    async fn listed(self, prefix: Option<Path>) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        let what = format!("List {}", prefix.as_ref().map_or("", |prefix| prefix.as_ref()));
        if self.arena.turn(self.writer, Kind::List, what).await != Fate::Done {
            return Err(failed());
        }
        let all: Vec<ObjectMeta> = self.arena.objects.list(prefix.as_ref()).try_collect().await?;
        let shown = all.into_iter().filter(|meta| self.arena.is_listed(&meta.location)).map(Ok);
        Ok(futures::stream::iter(shown.collect::<Vec<_>>()).boxed())
    }

    async fn deleted(self, locations: BoxStream<'static, Result<Path>>) -> Result<Vec<Path>> {
        let paths: Vec<Path> = locations.try_collect().await?;
        let what = format!("Delete {} objects", paths.len());
        let fate = self.arena.turn(self.writer, Kind::Delete, what).await;
        if fate == Fate::FailedBefore {
            return Err(failed());
        }
        paths.iter().for_each(|path| self.arena.deleting(path));
        let gone = futures::stream::iter(paths.clone().into_iter().map(Ok)).boxed();
        self.arena.objects.delete_stream(gone).collect::<Vec<_>>().await;
        if fate == Fate::Done { Ok(paths) } else { Err(failed()) }
    }
}

// Written without `async_trait`: what the macro would make.
impl ObjectStore for Hand {
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
        self.put(location.clone(), payload, opts).boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        _location: &'b Path,
        _opts: PutMultipartOptions,
    ) -> BoxFuture<'c, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        unreachable!("the files of these tests are small")
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> BoxFuture<'c, Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.get(location.clone(), options).boxed()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let deleted = self.clone().deleted(locations);
        deleted.map_ok(|paths| futures::stream::iter(paths.into_iter().map(Ok))).try_flatten_stream().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.clone().listed(prefix.cloned()).try_flatten_stream().boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> BoxFuture<'c, Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.arena.objects.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        _from: &'b Path,
        _to: &'c Path,
        _options: CopyOptions,
    ) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        unreachable!("nothing is copied")
    }
}
