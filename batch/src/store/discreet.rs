//! A store whose errors say no secret, whatever the server answers.
//!
//! S3 servers quote requests in their answers: an unknown key's id, and where a signature does not fit the whole request that was
//! signed, the session token included. Clients put such answers into their errors.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, path::Path,
};

/// Shorter texts are no secrets, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 4;

/// Texts that must not be shown.
#[derive(Clone, Default)]
pub struct Secrets {
    texts: Arc<[String]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.texts.len())
    }
}

impl Secrets {
    /// These texts, and what they look like in a URL.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Secrets {
        let mut texts: Vec<String> = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
            let in_url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            texts.extend([in_url, secret]);
        }
        // A secret that begins as another one is hidden whole.
        texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        Secrets { texts: texts.into() }
    }

    /// Whether the text has one of them.
    pub fn are_in(&self, text: &str) -> bool {
        self.texts.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// The text with `***` in their places.
    pub fn hidden(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    fn error(&self, error: Error) -> Error {
        if !self.are_in(&format!("{error} {error:?}")) {
            return error;
        }
        let source = |source: Box<dyn std::error::Error + Send + Sync>| self.hidden(&source.to_string()).into();
        match error {
            Error::Generic { store, source: s } => Error::Generic { store, source: source(s) },
            Error::NotFound { path, source: s } => Error::NotFound { path, source: source(s) },
            Error::NotSupported { source: s } => Error::NotSupported { source: source(s) },
            Error::AlreadyExists { path, source: s } => Error::AlreadyExists { path, source: source(s) },
            Error::Precondition { path, source: s } => Error::Precondition { path, source: source(s) },
            Error::NotModified { path, source: s } => Error::NotModified { path, source: source(s) },
            Error::PermissionDenied { path, source: s } => Error::PermissionDenied { path, source: source(s) },
            Error::Unauthenticated { path, source: s } => Error::Unauthenticated { path, source: source(s) },
            other => Error::Generic { store: "store", source: self.hidden(&other.to_string()).into() },
        }
    }
}

/// The store `inner`, with errors that say none of `secrets`.
#[derive(Debug)]
pub(super) struct Discreet<S> {
    inner: S,
    secrets: Secrets,
}

impl<S> Discreet<S> {
    pub(super) fn new(inner: S, secrets: Secrets) -> Discreet<S> {
        Discreet { inner, secrets }
    }
}

impl<S: fmt::Display> fmt::Display for Discreet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for Discreet<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await.map_err(|e| self.secrets.error(e))
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await.map_err(|e| self.secrets.error(e))?;
        Ok(Box::new(DiscreetUpload { upload, secrets: self.secrets.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut got = self.inner.get_opts(location, options).await.map_err(|e| self.secrets.error(e))?;
        let secrets = self.secrets.clone();
        got.payload = match got.payload {
            GetResultPayload::Stream(bytes) => {
                GetResultPayload::Stream(bytes.map_err(move |e| secrets.error(e)).boxed())
            }
            file => file,
        };
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await.map_err(|e| self.secrets.error(e))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let secrets = self.secrets.clone();
        self.inner.delete_stream(locations).map_err(move |e| secrets.error(e)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let secrets = self.secrets.clone();
        self.inner.list(prefix).map_err(move |e| secrets.error(e)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let secrets = self.secrets.clone();
        self.inner.list_with_offset(prefix, offset).map_err(move |e| secrets.error(e)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|e| self.secrets.error(e))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|e| self.secrets.error(e))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await.map_err(|e| self.secrets.error(e))
    }
}

#[derive(Debug)]
struct DiscreetUpload {
    upload: Box<dyn MultipartUpload>,
    secrets: Secrets,
}

#[async_trait]
impl MultipartUpload for DiscreetUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let secrets = self.secrets.clone();
        self.upload.put_part(data).map(move |put| put.map_err(|e| secrets.error(e))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await.map_err(|e| self.secrets.error(e))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await.map_err(|e| self.secrets.error(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_quotes_is_hidden_and_the_kind_stays() {
        let secrets = Secrets::new(["hush/hush".to_owned(), "abc".to_owned()]);
        let quoted = || "<Code>AccessDenied</Code> hush/hush and hush%2Fhush, abc".into();
        let error = secrets.error(Error::PermissionDenied { path: "x".to_owned(), source: quoted() });
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hush") && shown.contains("<Code>AccessDenied</Code>") && shown.contains("abc"),
            "{shown}"
        );
        assert!(matches!(error, Error::PermissionDenied { .. }));
        assert_eq!(secrets.hidden("none"), "none");
    }
}
