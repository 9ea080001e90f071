//! Where a store is and how to reach it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    memory::InMemory,
    path::Path as ObjectPath,
    prefix::PrefixStore,
};
use serde::Deserialize;
use url::Url;

use super::{
    discreet::{Discreet, Secrets},
    transport::Connector,
};
use crate::error::{BatchError, Result};

/// Where a store is: a local directory, `file://…`, `s3://bucket/prefix` or `memory:` (for tests).
///
/// Credentials that are absent come from the usual `AWS_…` variables or the instance's role. `Debug` never prints a secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// The URL, or a local path.
    pub url: String,
    /// The S3 endpoint, for servers other than Amazon's (`http://127.0.0.1:8333`).
    pub endpoint: Option<String>,
    /// The region (`us-east-1`).
    pub region: Option<String>,
    /// Address buckets by path (`endpoint/bucket/…`) and not by host name.
    pub path_style: bool,
    /// Allow plain HTTP.
    pub allow_http: bool,
    /// The access key's id.
    pub access_key_id: Option<String>,
    /// The access key's secret.
    pub secret_access_key: Option<String>,
    /// A session token, with temporary credentials.
    pub session_token: Option<String>,
    /// How often a request is repeated after an error that may pass; 6 when absent.
    pub retries: Option<usize>,
    /// After how many seconds a request is no longer repeated; 60 when absent. A server that asks for a longer pause
    /// (`Retry-After`) is not asked again.
    pub retry_timeout_seconds: Option<u64>,
    /// After how many seconds without its whole answer a request has failed; 120 when absent.
    pub request_timeout_seconds: Option<u64>,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "…");
        f.debug_struct("StoreOptions")
            .field("url", &without_password(&self.url))
            .field("endpoint", &self.endpoint.as_deref().map(without_password))
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("allow_http", &self.allow_http)
            .field("access_key_id", &hidden(&self.access_key_id))
            .field("secret_access_key", &hidden(&self.secret_access_key))
            .field("session_token", &hidden(&self.session_token))
            .field("retries", &self.retries)
            .field("retry_timeout_seconds", &self.retry_timeout_seconds)
            .field("request_timeout_seconds", &self.request_timeout_seconds)
            .finish()
    }
}

/// A URL as it may be shown: what stands before the last `@` of its authority is left out, and so is what follows a `?`, where
/// signatures stand.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return url.to_owned();
    };
    let rest = rest.split_once('?').map_or_else(|| rest.to_owned(), |(path, _)| format!("{path}?…"));
    let start = rest.len() - rest.trim_start_matches('/').len();
    let end = rest[start..].find('/').map_or(rest.len(), |slash| start + slash);
    // A `/` in a password ends the authority too early.
    let at = rest[start..end].rfind('@').map(|at| start + at).or_else(|| rest.rfind('@'));
    match at {
        Some(at) => format!("{scheme}:{}…{}", &rest[..start], &rest[at..]),
        None => format!("{scheme}:{rest}"),
    }
}

/// Longer than a drive's letter.
fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// An opened store, before it is wrapped.
pub(super) struct Opened {
    pub objects: Arc<dyn ObjectStore>,
    /// The directory, for a local store: what is written there must be synced before a manifest names it.
    pub directory: Option<PathBuf>,
}

impl StoreOptions {
    /// Options with this URL and nothing else.
    pub fn new(url: impl Into<String>) -> StoreOptions {
        StoreOptions { url: url.into(), ..StoreOptions::default() }
    }

    fn wrong(&self, reason: impl fmt::Display) -> BatchError {
        BatchError::StoreOptions { url: without_password(&self.url), reason: reason.to_string() }
    }

    pub(super) fn open(&self) -> Result<Opened> {
        if self.url.is_empty() {
            return Err(self.wrong("is empty; give a directory or an s3:// URL"));
        }
        match self.url.split_once(':') {
            Some(("s3" | "s3a", _)) => self.open_s3(),
            Some(("file", rest)) if rest.starts_with("//") => {
                let url = Url::parse(&self.url).map_err(|error| self.wrong(error))?;
                let path =
                    url.to_file_path().map_err(|()| self.wrong("is not a local path; write file:///absolute/path"))?;
                self.open_local(path)
            }
            Some(("memory", _)) => Ok(Opened { objects: Arc::new(InMemory::new()), directory: None }),
            Some((scheme, rest)) if rest.starts_with("//") => {
                Err(self
                    .wrong(format_args!("the scheme {scheme:?} is not supported; use a local path, file:// or s3://")))
            }
            _ => self.open_local(PathBuf::from(&self.url)),
        }
    }

    fn open_local(&self, directory: PathBuf) -> Result<Opened> {
        std::fs::create_dir_all(&directory).map_err(BatchError::io("create the store's directory", &directory))?;
        let directory = directory.canonicalize().map_err(BatchError::io("find the store's directory", &directory))?;
        let objects = LocalFileSystem::new_with_prefix(&directory).map_err(|error| self.wrong(error))?;
        Ok(Opened { objects: Arc::new(objects), directory: Some(directory) })
    }

    fn open_s3(&self) -> Result<Opened> {
        let url = Url::parse(&self.url).map_err(|error| self.wrong(error))?;
        let bucket = url.host_str().ok_or_else(|| self.wrong("names no bucket; write s3://bucket/prefix"))?;
        let retry_timeout = Duration::from_secs(self.retry_timeout_seconds.unwrap_or(60));
        let request_timeout = Duration::from_secs(self.request_timeout_seconds.unwrap_or(120));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: self.retries.unwrap_or(6),
            retry_timeout,
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_client_options(ClientOptions::new().with_timeout(request_timeout).with_allow_http(self.allow_http))
            .with_http_connector(Connector { wait_max: retry_timeout })
            .with_virtual_hosted_style_request(!self.path_style && self.endpoint.is_none());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &self.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &self.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        // Those of the environment, too.
        use AmazonS3ConfigKey::{AccessKeyId, SecretAccessKey, Token};
        let secrets = [AccessKeyId, SecretAccessKey, Token].iter().filter_map(|key| builder.get_config_value(key));
        let secrets = Secrets::new(secrets);
        let wrong = |error: object_store::Error| self.wrong(secrets.hidden(&error.to_string()));
        let bucket = builder.build().map_err(wrong)?;
        let prefix = ObjectPath::from_url_path(url.path()).map_err(|error| self.wrong(error))?;
        let objects = Discreet::new(PrefixStore::new(bucket, prefix), secrets);
        Ok(Opened { objects: Arc::new(objects), directory: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let options = StoreOptions {
            url: "s3://user:hunter2@bucket/x".to_owned(),
            secret_access_key: Some("hunter2".to_owned()),
            session_token: Some("hunter2".to_owned()),
            ..StoreOptions::default()
        };
        let text = format!("{options:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("bucket/x"), "{text}");
    }

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (url, shown) in [
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("s3://user:p@ss@bucket/x", "s3://…@bucket/x"),
            ("s3:user:pass@bucket", "s3:…@bucket"),
            ("https://u:p/w@host/x", "https://…@host/x"),
            ("https://host/x?X-Amz-Signature=1", "https://host/x?…"),
            ("some/dir@home", "some/dir@home"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn unknown_schemes_are_refused_with_help() {
        let error = StoreOptions::new("gs://bucket/x").open().err().expect("refused").to_string();
        assert!(error.contains("s3://"), "{error}");
        assert!(StoreOptions::new("").open().is_err());
    }
}
