//! A project's configuration: built-in defaults → `watershed.toml` → `WATERSHED__SECTION__KEY` → flags.

mod secret;
mod units;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use config::{ConfigError, Environment, File, FileFormat};
use serde::{Deserialize, Serialize};
use watershed_batch::{ParityPolicy, Secrets};

pub use self::{
    secret::Secret,
    units::{ByteSize, Span},
};
use crate::error::Error;

/// Name of the configuration file in a project's directory.
pub const CONFIG_FILE: &str = "watershed.toml";
/// More queries at the same time would have no threads.
const QUERIES_MAX: usize = 256;
/// Prefix of environment variables: `WATERSHED__LOG__PATH` is `log.path`.
pub const ENVIRONMENT_PREFIX: &str = "WATERSHED";

/// Everything that can be configured. Unknown keys are errors.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[log]`: the event log.
    pub log: LogConfig,
    /// `[store]`: where epochs, manifests, views and the archive are kept.
    pub store: StoreConfig,
    /// `[batch]`: batch runs.
    pub batch: BatchConfig,
    /// `[speed]`: the speed layer.
    pub speed: SpeedConfig,
    /// `[epochs]`: how often `up` records one.
    pub epochs: EpochsConfig,
    /// `[query]`: what one query may take.
    pub query: QueryConfig,
    /// `[logging]`: what goes to standard error.
    pub logging: LoggingConfig,
}

/// `[log]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Directory of the log; relative to the project's.
    pub path: PathBuf,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// A segment is sealed when it is as large as this …
    pub segment_bytes: ByteSize,
    /// … or as old as this.
    pub segment_age: Span,
    /// How long a sealed segment is kept after the archive holds it; absent: forever.
    pub retention: Option<Span>,
}

/// When an append is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After `fsync`: survives a power cut. Concurrent appends share one `fsync`.
    #[default]
    Fsync,
    /// After the write to the operating system: survives a crash of the process, not a power cut.
    Os,
}

/// `[store]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// A directory (relative to the project's) or `s3://bucket/prefix`.
    pub url: String,
    /// S3 endpoint, for servers other than AWS.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// Whether the bucket stands in the path (`endpoint/bucket/key`) instead of the host name.
    pub path_style: bool,
    /// Whether plain HTTP is allowed.
    pub allow_http: bool,
    /// S3 access key; absent: the usual AWS environment variables or instance metadata.
    pub access_key_id: Option<Secret>,
    /// S3 secret key.
    pub secret_access_key: Option<Secret>,
    /// Session token, with temporary credentials.
    pub session_token: Option<Secret>,
    /// How long a request is repeated after errors that may pass.
    pub retry_timeout: Span,
    /// How long one request may take until its answer is whole.
    pub request_timeout: Span,
}

/// `[batch]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Cron expression of the runs that `up` starts; empty: none.
    pub schedule: String,
    /// Time zone of the schedule.
    pub time_zone: String,
    /// Memory that one run may use for partials.
    pub memory: ByteSize,
    /// Whether runs archive the records as Parquet.
    pub archive: bool,
    /// What happens if a run differs from a running speed layer.
    pub parity: ParityPolicy,
    /// Manifests that are kept, at least 1 …
    pub keep_manifests: usize,
    /// … each for at least this many minutes after the next one was published.
    pub keep_minutes: u64,
}

/// `[speed]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeedConfig {
    /// Memory that one view's slices may use. Nearing it asks for a batch run; a view beyond it is stalled.
    pub max_bytes: ByteSize,
    /// Bytes of log that are decoded together at most.
    pub step_bytes: ByteSize,
}

/// `[epochs]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EpochsConfig {
    /// How often `up` records an epoch, if there are new records.
    pub every: Span,
}

/// `[query]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Rows of an answer.
    pub max_rows: u64,
    /// Memory that one query may hold.
    pub max_bytes: ByteSize,
    /// Time from the question to the answer.
    pub timeout: Span,
    /// Queries that `up` answers at the same time; further ones wait, at most for their timeout.
    pub concurrent: usize,
}

/// `[logging]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// Plain text or JSON lines.
    pub format: LoggingFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,watershed_batch=debug`. Absent: `info` for `up`, `warn`
    /// for every other command.
    pub level: Option<String>,
}

/// Form of the lines on standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LoggingFormat {
    /// For people.
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            path: PathBuf::from("log"),
            durability: Durability::default(),
            segment_bytes: ByteSize(128 << 20),
            segment_age: span_seconds(3_600),
            retention: None,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            url: "store".to_owned(),
            endpoint: None,
            region: None,
            path_style: false,
            allow_http: false,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            retry_timeout: span_seconds(60),
            request_timeout: span_seconds(120),
        }
    }
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig {
            schedule: "0 3 * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            memory: ByteSize(1 << 30),
            archive: true,
            parity: ParityPolicy::default(),
            keep_manifests: 3,
            keep_minutes: 60,
        }
    }
}

impl Default for SpeedConfig {
    fn default() -> SpeedConfig {
        SpeedConfig { max_bytes: ByteSize(512 << 20), step_bytes: ByteSize(32 << 20) }
    }
}

impl Default for EpochsConfig {
    fn default() -> EpochsConfig {
        EpochsConfig { every: span_seconds(60) }
    }
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig { max_rows: 10_000_000, max_bytes: ByteSize(2 << 30), timeout: span_seconds(300), concurrent: 4 }
    }
}

fn span_seconds(seconds: u64) -> Span {
    Span(std::time::Duration::from_secs(seconds))
}

/// What stands above `watershed.toml`: the environment, and `key=value` settings from flags.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Environment to read instead of the process's (for tests).
    pub environment: Option<HashMap<String, String>>,
    /// (`section.key`, value) in order; the last one wins.
    pub settings: Vec<(String, String)>,
}

impl Config {
    /// Loads the configuration of the project in `project`, the layers in their order.
    pub fn load(project: &Path, overrides: &Overrides) -> Result<Config, Error> {
        Config::load_from(Some(&project.join(CONFIG_FILE)), overrides)
    }

    /// The configuration where there is no project: defaults, environment and flags.
    pub fn without_file(overrides: &Overrides) -> Result<Config, Error> {
        Config::load_from(None, overrides)
    }

    /// The configuration in a text.
    pub(crate) fn from_toml(text: &str) -> Result<Config, Error> {
        let built = config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build();
        let config = built.and_then(config::Config::try_deserialize::<Config>);
        config.map_err(|error| Error::config(describe(&error)))?.validated()
    }

    fn load_from(file: Option<&Path>, overrides: &Overrides) -> Result<Config, Error> {
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(overrides.environment.clone());
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            check_file(file)?;
            builder = builder.add_source(File::from(file).format(FileFormat::Toml).required(true));
        }
        builder = builder.add_source(environment);
        for (key, value) in &overrides.settings {
            builder = builder.set_override(key, value.as_str()).map_err(|e| Error::config(describe(&e)))?;
        }
        let wrong = |error: &ConfigError, secrets: &Secrets| {
            let text = secrets.hidden(&describe(error));
            match file {
                Some(file) => Error::config(format!("{}: {text}", file.display())),
                None => Error::config(text),
            }
        };
        let built = builder.build().map_err(|error| wrong(&error, &Secrets::default()))?;
        let secrets = suspicious(&built);
        let config: Config = built.try_deserialize().map_err(|error| wrong(&error, &secrets))?;
        config.validated()
    }

    /// Checks what types alone do not.
    pub fn validated(self) -> Result<Config, Error> {
        let refuse = |key: &str, why: &str| Err(Error::config(format!("{key}: {why}")));
        if self.batch.keep_manifests == 0 {
            return refuse("batch.keep_manifests", "at least one manifest must be kept");
        }
        if self.batch.time_zone.parse::<chrono_tz::Tz>().is_err() {
            let zone = &self.batch.time_zone;
            return refuse(
                "batch.time_zone",
                &format!("{zone:?} is no IANA time zone; write, for example, \"Europe/Paris\""),
            );
        }
        if self.epochs.every.0.is_zero() {
            return refuse("epochs.every", "must be longer than nothing");
        }
        if self.query.concurrent == 0 || self.query.concurrent > QUERIES_MAX {
            return refuse("query.concurrent", &format!("must be from 1 to {QUERIES_MAX}"));
        }
        if self.log.segment_bytes.0 < 4096 {
            return refuse("log.segment_bytes", "must be at least 4 KiB");
        }
        if self.speed.step_bytes.0 < 4096 {
            return refuse("speed.step_bytes", "must be at least 4 KiB");
        }
        if self.store.access_key_id.is_some() != self.store.secret_access_key.is_some() {
            return refuse("store.access_key_id", "set it together with store.secret_access_key, or neither");
        }
        const CREDENTIALS: &str = "must not hold credentials; use store.access_key_id and store.secret_access_key";
        if may_hold_credentials(&self.store.url) {
            return refuse("store.url", CREDENTIALS);
        }
        if self.store.endpoint.as_deref().is_some_and(|endpoint| endpoint.contains(['@', '?'])) {
            return refuse("store.endpoint", CREDENTIALS);
        }
        Ok(self)
    }

    /// The secrets in it, and those of the environment that the store's client reads by itself.
    pub(crate) fn secrets(&self) -> Secrets {
        let store = &self.store;
        let ours = [&store.access_key_id, &store.secret_access_key, &store.session_token];
        let ours = ours.into_iter().flatten().map(|secret| secret.expose().to_owned());
        let theirs = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"];
        Secrets::new(ours.chain(theirs.into_iter().filter_map(|name| std::env::var(name).ok())))
    }

    /// The log's directory.
    pub fn log_directory(&self, project: &Path) -> PathBuf {
        project.join(&self.log.path)
    }

    /// The effective configuration as TOML-like lines `section.key = value`, secrets hidden.
    pub fn lines(&self) -> Vec<(String, serde_json::Value)> {
        let mut lines = Vec::new();
        let serde_json::Value::Object(sections) = serde_json::to_value(self).unwrap_or_default() else { return lines };
        for (section, keys) in sections {
            let serde_json::Value::Object(keys) = keys else { continue };
            lines.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
        lines
    }
}

/// The largest configuration that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Refuses what is no file of a reasonable size: a device would be read for ever.
fn check_file(file: &Path) -> Result<(), Error> {
    match std::fs::metadata(file) {
        Ok(found) if !found.is_file() => Err(Error::config(format!("{} is not a file", file.display()))),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(Error::config(format!("{} has more than {FILE_BYTES_MAX} bytes", file.display())))
        }
        // That it is missing is told where it is read.
        _ => Ok(()),
    }
}

/// Whether a URL (not a path) has something before an `@`, or after a `?`.
fn may_hold_credentials(url: &str) -> bool {
    let is_url = url.split_once(':').is_some_and(|(scheme, rest)| scheme.starts_with("s3") || rest.starts_with("//"));
    is_url && url.contains(['@', '?'])
}

/// The error's text. A TOML syntax error quotes the line it is in, which may hold a secret: only its place and the reason stay.
fn describe(error: &ConfigError) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => {
            let text = cause.to_string();
            let said: Vec<&str> = text.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
            if said.is_empty() { "not valid TOML".to_owned() } else { said.join(": ") }
        }
        other => other.to_string(),
    }
}

/// Values that an error about this configuration must not quote: by their keys, or because they look like an address with a
/// password.
fn suspicious(config: &config::Config) -> Secrets {
    fn walk(key: &str, value: &serde_json::Value, into: &mut Vec<String>) {
        let named = ["secret", "token", "password", "access_key"].iter().any(|word| key.to_lowercase().contains(word));
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(inner, value)| {
                walk(if named { key } else { inner }, value, into);
            }),
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(key, item, into)),
            serde_json::Value::String(text) if named || text.contains('@') => into.push(text.clone()),
            serde_json::Value::Null | serde_json::Value::String(_) => {}
            other if named => into.push(other.to_string()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(values) = config.clone().try_deserialize::<serde_json::Value>() {
        walk("", &values, &mut found);
    }
    Secrets::new(found)
}

#[cfg(test)]
mod tests;
