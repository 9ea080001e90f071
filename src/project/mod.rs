//! A project: `watershed.toml`, `definitions/*.sql`, a log and a store.

mod answer;
mod append;
mod batch;
mod definitions;
mod due;
mod fsck;
mod history;
mod holder;
mod init;
mod ledger;
mod limits;
mod listing;
mod live;
mod parity;
mod status;
mod up;
mod verify;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use watershed_batch::{Store, StoreOptions};
use watershed_log::{Clock, EventLog, FileLog, LogError, Options, SystemClock};
use watershed_pipelines::{catalog::Catalog, registry::Registry, sql::SqlFile};

pub(crate) use self::answer::{read_rows, sample_rows};
pub use self::{
    answer::QueryOptions,
    append::{AppendOptions, AppendReport, Lines},
    batch::BatchOptions,
    fsck::{Fsck, FsckChecked, FsckFinding, FsckOptions, FsckRepair, FsckVerdict},
    ledger::{Ledger, SourceLedger, ViewLedger},
    limits::QueryLimits,
    listing::{DeadLetter, RejectedRecord},
    status::{SourceStatus, Status, ViewStatus},
    up::UpSummary,
    verify::{Difference, Verified, VerifyOptions, VerifyProgress},
    writer::Writer,
};
use crate::{
    config::{CONFIG_FILE, Config, Durability, Overrides},
    error::{Error, Mistakes},
};

/// A project. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Project {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    config: Config,
    registry: Arc<Registry>,
    files: Vec<SqlFile>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    store: OnceLock<Store>,
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

/// How a project is opened. What is not given comes from its directory.
#[derive(Clone, Default)]
pub struct ProjectBuilder {
    directory: PathBuf,
    registry: Registry,
    overrides: Overrides,
    config: Option<Config>,
    catalog: Option<Catalog>,
    clock: Option<Arc<dyn Clock>>,
}

impl fmt::Debug for ProjectBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectBuilder").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl ProjectBuilder {
    /// The functions that definitions may call.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Settings above `watershed.toml`.
    #[must_use]
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// The configuration, instead of the one in `watershed.toml`; then the directory needs no such file.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// The definitions, instead of those in `definitions/`: planned from SQL, or built with the builder.
    #[must_use]
    pub fn catalog(mut self, catalog: Catalog) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// Where append times and the times of epochs and manifests come from, instead of the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the project. All mistakes in its definitions are reported at once.
    pub fn open(self) -> Result<Project, Error> {
        let directory = std::path::absolute(&self.directory).map_err(Error::io("resolve", &self.directory))?;
        let config = match self.config {
            Some(config) => config.validated()?,
            None if !directory.join(CONFIG_FILE).is_file() => return Err(Error::NotAProject(self.directory)),
            None => {
                inside(&directory, &directory.join(CONFIG_FILE))?;
                Config::load(&directory, &self.overrides)?
            }
        };
        let (files, catalog) = match self.catalog {
            Some(catalog) => (Vec::new(), catalog),
            None => definitions::load(&directory, &self.registry)?,
        };
        let inner = Inner {
            directory,
            config,
            registry: Arc::new(self.registry),
            files,
            catalog: Arc::new(catalog),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            store: OnceLock::new(),
        };
        Ok(Project { inner: Arc::new(inner) })
    }
}

impl Project {
    /// Opens the project in `directory`.
    pub fn open(directory: impl AsRef<Path>, registry: Registry) -> Result<Project, Error> {
        Project::builder(directory).registry(registry).open()
    }

    /// Opens the project in `directory` with settings above `watershed.toml`.
    pub fn open_with(directory: impl AsRef<Path>, registry: Registry, overrides: &Overrides) -> Result<Project, Error> {
        Project::builder(directory).registry(registry).overrides(overrides.clone()).open()
    }

    /// Says step by step how to open the project in `directory`.
    pub fn builder(directory: impl AsRef<Path>) -> ProjectBuilder {
        ProjectBuilder { directory: directory.as_ref().to_owned(), ..ProjectBuilder::default() }
    }

    /// Writes a new project that works as it is, and returns the files. Nothing is overwritten.
    pub fn init(directory: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
        init::init(directory.as_ref())
    }

    /// Its directory, absolute.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Its definitions, planned.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.inner.catalog
    }

    /// The functions that its definitions may call.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The texts of its definitions.
    pub fn files(&self) -> &[SqlFile] {
        &self.inner.files
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The log's directory.
    pub fn log_directory(&self) -> PathBuf {
        self.inner.config.log_directory(&self.inner.directory)
    }

    /// The store; opened when it is first asked for.
    pub fn store(&self) -> Result<Store, Error> {
        if let Some(store) = self.inner.store.get() {
            return Ok(store.clone());
        }
        let store = Store::open(&self.store_options())?;
        Ok(self.inner.store.get_or_init(|| store).clone())
    }

    fn store_options(&self) -> StoreOptions {
        let store = &self.inner.config.store;
        let is_url = store.url.contains("://") || store.url.starts_with("memory:");
        let url = match is_url {
            true => store.url.clone(),
            false => self.inner.directory.join(&store.url).to_string_lossy().into_owned(),
        };
        let exposed = |secret: &Option<crate::config::Secret>| secret.as_ref().map(|s| s.expose().to_owned());
        StoreOptions {
            endpoint: store.endpoint.clone(),
            region: store.region.clone(),
            path_style: store.path_style,
            allow_http: store.allow_http,
            access_key_id: exposed(&store.access_key_id),
            secret_access_key: exposed(&store.secret_access_key),
            session_token: exposed(&store.session_token),
            retry_timeout_seconds: Some(store.retry_timeout.0.as_secs()),
            request_timeout_seconds: Some(store.request_timeout.0.as_secs().max(1)),
            ..StoreOptions::new(url)
        }
    }

    fn log_options(&self, control_socket: Option<PathBuf>) -> Options {
        let log = &self.inner.config.log;
        Options {
            segment_bytes_max: log.segment_bytes.0,
            segment_age_max_micros: i64::try_from(log.segment_age.0.as_micros()).unwrap_or(i64::MAX),
            durability: log.durability.into(),
            control_socket,
            ..Options::default()
        }
    }

    /// Opens the log for writing, creating it and its sources where needed.
    fn open_log_writer(&self, control_socket: Option<PathBuf>) -> Result<FileLog, Error> {
        let options = self.log_options(control_socket);
        let log = FileLog::open_writer(self.log_directory(), options, Arc::clone(self.clock()))?;
        for tail in log.recovery().torn {
            tracing::warn!(?tail, "set aside a torn tail: records that were never acknowledged");
        }
        for source in self.catalog().sources.values() {
            log.create_source(&source.name, source.partitions)?;
        }
        Ok(log)
    }

    /// Does something that reads the log; a second time, if a head file was found to be damaged or behind: whoever writes next
    /// would make it anew, so that is done first.
    fn with_heads_mended<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        match work() {
            Err(error) if error.is_stale_head() => match self.open_log_writer(None) {
                Ok(log) => {
                    log.close()?;
                    work()
                }
                // Another process writes the log, and so has mended it.
                Err(Error::Log(LogError::Locked { .. })) => work(),
                Err(error) => Err(error),
            },
            done => done,
        }
    }

    /// The log for reading, with all sources of the definitions.
    pub fn log(&self) -> Result<FileLog, Error> {
        let is_complete = |log: &FileLog| -> Result<bool, LogError> {
            let existing = log.sources()?;
            Ok(self.catalog().sources.keys().all(|name| existing.contains(name)))
        };
        match FileLog::open_reader(self.log_directory()) {
            Ok(log) if is_complete(&log)? => return Ok(log),
            Ok(_) | Err(LogError::NotALog { .. } | LogError::StaleHead { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // There is no log yet, a table is new, or a head is damaged: whoever writes next would mend that, so do it now.
        match self.open_log_writer(None) {
            Ok(log) => log.close()?,
            // Another process writes; it may be about to create what is missing.
            Err(Error::Log(LogError::Locked { .. })) => {}
            Err(error) => return Err(error),
        }
        let mut patience = writer::Patience::new();
        loop {
            match FileLog::open_reader(self.log_directory()) {
                Ok(log) if is_complete(&log)? => return Ok(log),
                Ok(_) | Err(LogError::NotALog { .. } | LogError::StaleHead { .. })
                    if patience.lasts(self.lock_holder()?.as_ref()) => {}
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(writer::ATTEMPT_WAIT);
        }
        Err(Error::Busy("definitions/ has tables that the running process does not know: restart it".to_owned()))
    }

    /// Mistakes with the texts that they are in.
    fn mistakes(&self, name: &str, text: &str, diagnostic: watershed_pipelines::error::Diagnostic) -> Error {
        Error::Definitions(Mistakes { texts: vec![(name.to_owned(), text.to_owned())], diagnostics: vec![diagnostic] })
    }
}

/// Where `path` really is, which must be in the project's directory.
fn inside(project: &Path, path: &Path) -> Result<PathBuf, Error> {
    let project = project.canonicalize().map_err(Error::io("resolve", project))?;
    let target = path.canonicalize().map_err(Error::io("resolve", path))?;
    if target.starts_with(&project) {
        return Ok(target);
    }
    Err(Error::usage(format!("{} is a link that leads out of the project; put the file itself there", path.display())))
}

/// Runs work that waits for disks and stores on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Unavailable("this process is shutting down".to_owned())),
    }
}

impl From<Durability> for watershed_log::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Fsync => watershed_log::Durability::Fsync,
            Durability::Os => watershed_log::Durability::Os,
        }
    }
}

#[cfg(test)]
mod tests;
