//! Questions and how they are answered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use watershed_batch::Manifest;
use watershed_log::{EventLog, Position};
use watershed_pipelines::{
    catalog::Catalog,
    key::KeyFilter,
    partial::CoreKernel,
    registry::Registry,
    source::{SourceCounts, ViewCounts},
    tail::{Budget, Rel, TailPlan},
    types::{Schema, Value},
};
use watershed_speed::{Built, SpeedOptions};

use crate::{
    answer::Answer,
    error::{Result, ServingError},
    keys,
    limits::Limits,
    pin::Pin,
    receipt::{Receipt, ViewReceipt},
    rows::Rows,
    sides::{BatchSide, SpeedSide},
};

/// Plans that are kept compiled.
const PLANS_MAX: usize = 128;
/// Plans of longer texts are not kept, whatever they are compiled to.
const PLAN_TEXT_BYTES_MAX: usize = 16 << 10;
/// How often a query pins anew because a file was gone.
const PINS_MAX: usize = 4;

/// How a question is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Read your own writes: wait until every record below this position is covered.
    pub at_least: Option<Position>,
    /// The answer as it was at this epoch, exactly.
    pub as_of: Option<u64>,
    /// How long to wait at most for `at_least`, or for the live part to follow a manifest.
    pub timeout: Duration,
    /// What answering may take.
    pub limits: Limits,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { at_least: None, as_of: None, timeout: Duration::from_secs(5), limits: Limits::default() }
    }
}

impl ReadOptions {
    /// Waits until every record below `position` is covered.
    #[must_use]
    pub fn at_least(mut self, position: Position) -> Self {
        self.at_least = Some(position);
        self
    }

    /// Within these limits.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// As it was at this epoch.
    #[must_use]
    pub fn as_of(mut self, epoch: u64) -> Self {
        self.as_of = Some(epoch);
        self
    }
}

/// Answers questions. Calls block the thread; any number of threads may ask at once.
pub struct Serving {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) batch: Arc<dyn BatchSide>,
    pub(crate) speed: Arc<dyn SpeedSide>,
    /// For `as_of`; without it, only edges of the live part can be asked for.
    pub(crate) log: Option<Arc<dyn EventLog>>,
    pub(crate) speed_options: SpeedOptions,
    pub(crate) kernels: BTreeMap<String, CoreKernel>,
    known: Mutex<Known>,
    plans: Mutex<HashMap<String, Arc<Plan>>>,
}

/// The newest manifest known, and the one before it.
#[derive(Default)]
struct Known {
    newest: Option<Arc<Manifest>>,
    before: Option<Option<Arc<Manifest>>>,
}

struct Plan {
    tail: TailPlan,
    schema: Arc<Schema>,
    views: Vec<String>,
}

impl Plan {
    fn compile(rel: &Rel, schema: &Arc<Schema>, registry: &Registry) -> Result<Plan> {
        let views = rel.scans().into_keys().map(str::to_owned).collect();
        Ok(Plan { tail: TailPlan::compile(rel, registry)?, schema: schema.clone(), views })
    }
}

impl Serving {
    /// Serving over two sides. Looks up the newest manifest.
    pub fn new(
        catalog: Arc<Catalog>,
        registry: Arc<Registry>,
        batch: Arc<dyn BatchSide>,
        speed: Arc<dyn SpeedSide>,
    ) -> Result<Serving> {
        let kernels = catalog
            .materialized()
            .map(|(view, core)| Ok((view.name.clone(), CoreKernel::compile(core, &registry)?)))
            .collect::<Result<_>>()?;
        let serving = Serving {
            catalog,
            registry,
            batch,
            speed,
            log: None,
            speed_options: SpeedOptions::default(),
            kernels,
            known: Mutex::default(),
            plans: Mutex::default(),
        };
        serving.refresh()?;
        Ok(serving)
    }

    /// With a log to replay for `as_of`, within the bounds of `options`.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn EventLog>, options: SpeedOptions) -> Serving {
        self.log = Some(log);
        self.speed_options = options;
        self
    }

    /// Answers a `SELECT` over views.
    pub fn sql(&self, sql: &str, options: &ReadOptions) -> Result<Answer> {
        let plan = self.plan(sql, || {
            let query = self.catalog.plan_query(sql, &self.registry)?;
            Plan::compile(&query.rel, &query.schema, &self.registry)
        })?;
        self.answer(&plan, None, options)
    }

    /// The rows of a view whose key, or the first columns of it, has these values.
    pub fn lookup(&self, view: &str, key: &[Value], options: &ReadOptions) -> Result<Answer> {
        let filter = keys::exactly(view, self.key_schema(view)?, key)?;
        self.scan(view, &filter, options)
    }

    /// The rows of a view whose keys lie in `filter`; all with [`KeyFilter::all`].
    pub fn scan(&self, view: &str, filter: &KeyFilter, options: &ReadOptions) -> Result<Answer> {
        let definition = self.view(view)?;
        if !filter.is_all() {
            keys::key_schema(&self.catalog, definition)?;
        }
        // A name cannot begin with a NUL, so this cannot be the text of a query.
        let plan =
            self.plan(&format!("\0{view}"), || Plan::compile(&definition.tail, &definition.schema, &self.registry))?;
        self.answer(&plan, (!filter.is_all()).then_some(filter), options)
    }

    /// The key columns that [`Serving::lookup`] takes values for.
    pub fn key_schema(&self, view: &str) -> Result<Schema> {
        keys::key_schema(&self.catalog, self.view(view)?)
    }

    /// Looks for a newer manifest. Call it when a batch run has published one; queries do so themselves when what they have
    /// pinned does not fit or is gone. Returns whether there was one.
    pub fn refresh(&self) -> Result<bool> {
        let known = self.known().newest.clone();
        Ok(self.batch.newest(known.as_ref())?.is_some_and(|newest| self.adopt(newest)))
    }

    /// Takes a manifest that the caller has read, if it is newer. Returns whether it was.
    ///
    /// Whoever moves the speed layer's cut gives the manifest here, too: read again, the store could fail in between, and the
    /// two sides would not fit.
    pub fn adopt(&self, newest: Arc<Manifest>) -> bool {
        let mut state = self.known();
        if newest.number <= state.newest.as_ref().map_or(0, |known| known.number) {
            return false;
        }
        state.before = Some(state.newest.replace(newest));
        true
    }

    /// The newest manifest known.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        self.known().newest.clone()
    }

    /// The catalog that is served.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The manifests that a query may pin, newest first.
    pub(crate) fn manifests(&self) -> Vec<Option<Arc<Manifest>>> {
        let known = self.known();
        std::iter::once(known.newest.clone()).chain(known.before.clone()).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, view: &str) -> Result<&Arc<watershed_pipelines::catalog::View>> {
        self.catalog.view(view).ok_or_else(|| ServingError::NotFound {
            view: view.to_owned(),
            known: self.catalog.views.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    fn plan(&self, key: &str, compile: impl FnOnce() -> Result<Plan>) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(compile()?);
        if key.len() > PLAN_TEXT_BYTES_MAX {
            return Ok(plan);
        }
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.insert(key.to_owned(), plan.clone());
        Ok(plan)
    }

    fn answer(&self, plan: &Plan, filter: Option<&KeyFilter>, options: &ReadOptions) -> Result<Answer> {
        let begun = Instant::now();
        let limits = options.limits;
        let stopped = || limits.is_late(begun);
        let mut pins = 1;
        loop {
            let pin = self.pin(options)?;
            let budget = Budget::new(limits.bytes_max, limits.rows_max, &stopped);
            let rows = Rows { serving: self, pin: &pin, filter, budget: &budget };
            match self.answer_from(plan, &rows, limits) {
                // A newer manifest no longer names the file, so it was collected: read from the newer one.
                Err(ServingError::Batch(error)) if error.is_gone() && pins < PINS_MAX && self.refresh()? => pins += 1,
                answered => return answered,
            }
        }
    }

    fn answer_from(&self, plan: &Plan, rows: &Rows<'_>, limits: Limits) -> Result<Answer> {
        let frame = plan.tail.execute_within(rows, rows.budget).map_err(|error| limits.error(error))?;
        Ok(Answer { frame, schema: plan.schema.clone(), receipt: self.receipt(plan, rows.pin)? })
    }

    pub(crate) fn is_built(&self, manifest: &Manifest, view: &str) -> bool {
        let fingerprint = self.catalog.view(view).map(|view| &view.fingerprint);
        manifest.views.get(view).map(|stored| &stored.fingerprint) == fingerprint
    }

    fn receipt(&self, plan: &Plan, pin: &Pin) -> Result<Receipt> {
        let mut receipt = Receipt {
            manifest: pin.manifest.as_ref().map(|manifest| manifest.number),
            epoch: pin.manifest.as_ref().map(|manifest| manifest.epoch),
            cut: pin.low.clone(),
            head: pin.head(),
            ..Receipt::default()
        };
        for name in &plan.views {
            let kernel = &self.kernels[name.as_str()];
            let source = &kernel.core().source.name;
            let manifest = pin.manifest.as_ref();
            let stored = manifest.filter(|manifest| self.is_built(manifest, name)).map(|m| &m.views[name]);
            let mut counts = stored.map_or(ViewCounts::default(), |stored| stored.counts);
            for partials in pin.snapshot.view(name, stored.map(|_| &pin.low), pin.high.as_ref())? {
                counts.merge(&partials.counts);
            }
            if !receipt.sources.contains_key(source) {
                let declared = &kernel.core().source;
                let below = manifest.map_or(Some(SourceCounts::default()), |manifest| manifest.source_counts(declared));
                if let Some(mut counts) = below {
                    counts.merge(&pin.snapshot.source_counts(source, &pin.low, pin.high.as_ref())?);
                    receipt.sources.insert(source.clone(), counts);
                }
            }
            let fingerprint = self.catalog.view(name).map(|view| view.fingerprint.clone()).unwrap_or_default();
            let view = ViewReceipt { fingerprint, source: source.clone(), built: stored.is_some(), counts };
            receipt.views.insert(name.clone(), view);
        }
        Ok(receipt)
    }
}

/// What a manifest says to the speed layer.
pub fn built_by(manifest: &Manifest) -> Built {
    let fingerprints = manifest.views.iter().map(|(name, view)| (name.clone(), view.fingerprint.clone())).collect();
    Built { cut: manifest.cut.clone(), fingerprints }
}
