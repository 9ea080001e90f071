//! A project with its speed layer in this process, as `watershed up` has it.

use std::{error::Error, path::Path, sync::Arc};

use watershed::{
    Project, Registry,
    parts::{
        batch::{BatchOptions, BatchRun, Report, Store, WriterId},
        log::{EventLog, FileLog, Options, SystemClock},
        serving::{FixedSpeed, Serving, SpeedSide, StoredViews, built_by},
        speed::{Built, SpeedLayer, SpeedOptions, SpeedSnapshot},
    },
};

/// Large enough that no view stalls in a measurement.
const VIEW_BYTES_MAX: usize = 16 << 30;

pub fn open(directory: &Path) -> Result<Project, Box<dyn Error>> {
    Ok(Project::open(directory, Registry::new())?)
}

pub fn speed_options() -> SpeedOptions {
    SpeedOptions { view_bytes_max: VIEW_BYTES_MAX, ..SpeedOptions::default() }
}

/// The project's log as its writer.
pub fn writer(project: &Project) -> Result<Arc<FileLog>, Box<dyn Error>> {
    let log = FileLog::open_writer(project.log_directory(), Options::default(), Arc::new(SystemClock))?;
    for source in project.catalog().sources.values() {
        log.create_source(&source.name, source.partitions)?;
    }
    Ok(Arc::new(log))
}

/// What the newest manifest says.
pub fn built(store: &Store) -> Result<Built, Box<dyn Error>> {
    Ok(store.latest_manifest()?.as_ref().map(built_by).unwrap_or_default())
}

/// A speed layer that has read nothing yet.
pub fn speed(project: &Project, log: &Arc<FileLog>, built: &Built) -> Result<Arc<SpeedLayer>, Box<dyn Error>> {
    let log: Arc<dyn EventLog> = log.clone();
    Ok(Arc::new(SpeedLayer::new(project.catalog().clone(), project.registry(), log, speed_options(), built)?))
}

pub fn serving(project: &Project, speed: Arc<dyn SpeedSide>) -> Result<Arc<Serving>, Box<dyn Error>> {
    let views = Arc::new(StoredViews(project.store()?));
    Ok(Arc::new(Serving::new(project.catalog().clone(), Arc::new(Registry::new()), views, speed)?))
}

/// Everything above the newest manifest's cut, folded once.
pub fn replayed(project: &Project) -> Result<Arc<SpeedSnapshot>, Box<dyn Error>> {
    let log = Arc::new(project.log()?);
    let speed = speed(project, &log, &built(&project.store()?)?)?;
    while speed.step()? {}
    Ok(speed.snapshot())
}

/// Serving over a replay.
pub fn replayed_serving(project: &Project) -> Result<Arc<Serving>, Box<dyn Error>> {
    serving(project, Arc::new(FixedSpeed(replayed(project)?)))
}

/// A batch run up to now; the speed layer and serving follow it.
pub fn batch(
    project: &Project,
    log: &FileLog,
    speed: &SpeedLayer,
    serving: &Serving,
    threads: Option<usize>,
) -> Result<Report, Box<dyn Error>> {
    let store = project.store()?;
    let head = log.head()?;
    speed.add_epoch(&head)?;
    store.record_epoch(&head, project.clock().now_micros(), &WriterId::random())?;
    let options =
        BatchOptions { archive: false, threads, ..BatchOptions::new(project.directory().join(".watershed-scratch")) };
    let run = BatchRun {
        store: &store,
        log,
        catalog: project.catalog(),
        registry: project.registry(),
        clock: &**project.clock(),
        options: &options,
    };
    let report = run.run()?;
    speed.advance_cut(&built(&store)?)?;
    serving.refresh()?;
    Ok(report)
}
