//! Objects that are files of a simulated disk, as the store in a local directory has them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path as ObjectPath,
};
use watershed_log::{FileSystem, OpenMode};

/// Reads, overwrites, lists and deletes. Like a file system, it makes nothing durable.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryObjects {
    files: Arc<dyn FileSystem>,
    root: PathBuf,
}

fn failed(path: &str) -> impl Fn(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned(), source: Box::new(source) },
        _ => Error::Generic { store: "directory", source: Box::new(source) },
    }
}

impl DirectoryObjects {
    pub(crate) fn new(files: Arc<dyn FileSystem>, root: &Path) -> DirectoryObjects {
        DirectoryObjects { files, root: root.to_owned() }
    }

    fn path(&self, location: &ObjectPath) -> PathBuf {
        self.root.join(location.as_ref())
    }

    fn write(&self, location: &ObjectPath, payload: PutPayload) -> io::Result<()> {
        let path = self.path(location);
        self.files.create_dir_all(path.parent().expect("it is below the root"))?;
        let staged = PathBuf::from(format!("{}#1", path.display()));
        let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        self.files.open(&staged, OpenMode::Replace)?.write_all_at(&bytes, 0)?;
        self.files.rename(&staged, &path)
    }

    fn read(&self, location: &ObjectPath) -> io::Result<Vec<u8>> {
        self.files.open(&self.path(location), OpenMode::Read)?.read_whole()
    }

    /// The objects below a folder, and their sizes.
    fn walk(&self, folder: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
        let names = match self.files.list(&self.root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names?,
        };
        for name in names.into_iter().filter(|name| !name.contains('#')) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let info = self.files.look_at(&self.root.join(&path))?;
            if info.is_dir {
                self.walk(&path, found)?;
            } else {
                found.push((path, info.bytes));
            }
        }
        Ok(())
    }

    fn listed(&self, prefix: &str) -> Result<Vec<Result<ObjectMeta>>> {
        let mut found = Vec::new();
        self.walk(prefix, &mut found).map_err(failed(prefix))?;
        let meta = |(path, size): (String, u64)| {
            let (last_modified, location) = (Default::default(), ObjectPath::parse(path)?);
            Ok(ObjectMeta { location, last_modified, size, e_tag: None, version: None })
        };
        Ok(found.into_iter().map(meta).collect())
    }
}

impl fmt::Display for DirectoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DirectoryObjects {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.write(location, payload).map_err(failed(location.as_ref()))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, _: &ObjectPath, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("objects of these tests are small")
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let bytes = self.read(location).map_err(failed(location.as_ref()))?;
        let memory = InMemory::new();
        memory.put(location, bytes.into()).await?;
        memory.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        let this = self.clone();
        let remove = move |location: ObjectPath| {
            let removed = this.files.remove(&this.path(&location)).map_err(failed(location.as_ref()));
            futures::future::ready(removed.map(|()| location))
        };
        locations.and_then(remove).boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.listed(prefix.map_or("", |prefix| prefix.as_ref()));
        stream::iter(listed.unwrap_or_else(|error| vec![Err(error)])).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        unreachable!("nothing asks for it")
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        unreachable!("nothing asks for it")
    }
}
