//! One history: a process that works on a log until a fault meets it, and what follows.

use std::path::Path;
use std::sync::{Arc, Mutex};

use watershed_log::simulation::{
    Answer, Effect, Failure, Fate, Operation, OperationKind, SimulatedDisk, SimulatedProcess,
};
use watershed_log::{Append, AppendFuture, Durability, EventLog, FileLog, LogError, ManualClock, Options, Result};

use super::model::Model;

pub const PROJECT: &str = "/project";
pub const LOG: &str = "/project/log";
pub const PARTITIONS: u32 = 2;

/// What happens when the process is dead, or the log has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aftermath {
    /// The log is opened again.
    Reopened,
    /// The power fails at the same moment; a seed draws what survives.
    PowerCut(u64),
    /// The log is opened again and appended to; then the power fails.
    ReopenedThenPowerCut(u64),
}

/// A fault: which operation meets it, what becomes of that, and what follows.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub number: u64,
    pub fate: Fate,
    pub aftermath: Aftermath,
}

/// The disk, the process that uses it, and what must be there.
pub struct Session {
    pub disk: SimulatedDisk,
    pub clock: Arc<ManualClock>,
    pub model: Model,
    process: Arc<SimulatedProcess>,
    log: Option<FileLog>,
    fault: Option<Fault>,
    met: Arc<Mutex<Option<Operation>>>,
    /// Whether an error was returned, or the process died.
    pub surfaced: bool,
}

pub fn options(process: &Arc<SimulatedProcess>) -> Options {
    Options {
        segment_bytes_max: 700,
        segment_age_max_micros: 1_000_000,
        batch_bytes_max: 300,
        files: process.clone(),
        ..Options::default()
    }
}

/// An empty disk with a project's directory.
pub fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let user = disk.process();
    watershed_log::FileSystem::create_dir_all(&*user, Path::new(PROJECT)).unwrap();
    watershed_log::FileSystem::sync_dir(&*user, Path::new("/")).unwrap();
    disk
}

impl Session {
    pub fn new(fault: Option<Fault>) -> Self {
        let disk = disk();
        let process = disk.process();
        let met = Arc::new(Mutex::new(None));
        let seen = met.clone();
        process.set_fates(move |operation| match fault {
            Some(fault) if fault.number == operation.number => {
                *seen.lock().unwrap() = Some(operation.clone());
                fault.fate
            }
            _ => Fate::DONE,
        });
        let (clock, model) = (Arc::new(ManualClock::new(1_000)), Model::default());
        Self { disk, clock, model, process, log: None, fault, met, surfaced: false }
    }

    /// Records what the process does, instead of disturbing it.
    pub fn record(&self) -> Arc<Mutex<Vec<Operation>>> {
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let into = recorded.clone();
        self.process.set_fates(move |operation| {
            into.lock().unwrap().push(operation.clone());
            Fate::DONE
        });
        recorded
    }

    pub fn log(&mut self) -> Result<&FileLog> {
        if self.log.is_none() {
            let log = FileLog::open_stepped(LOG, options(&self.process), self.clock.clone())?;
            self.model.check_opened(&self.reader());
            self.log = Some(log);
        }
        Ok(self.log.as_ref().unwrap())
    }

    /// Does one step of a script. If a fault meets it, what must follow does, and the step is done again.
    pub fn step(&mut self, step: fn(&mut Self) -> Result<()>) {
        if let Err(error) = step(self) {
            self.recover(&error);
            step(self).unwrap_or_else(|error| panic!("{:?}: the next attempt fails: {error}", self.fault));
        } else if !self.process.is_running() {
            self.recover(&LogError::Closed);
        }
    }

    fn recover(&mut self, error: &LogError) {
        let met = self.met.lock().unwrap().clone();
        let (Some(fault), Some(operation)) = (self.fault, met) else { panic!("{:?}: {error}", self.fault) };
        assert!(!self.surfaced, "{fault:?} {operation:?}: a second failure: {error}");
        self.surfaced = true;
        let is_none = fault.fate == Fate::SHORT || fault.fate.answer == Answer::Failed(Failure::Interrupted);
        assert!(!is_none, "{operation:?}: {fault:?} is no failure, but {error}");
        if matches!(fault.fate.answer, Answer::Failed(_)) {
            let place = operation.path.to_str().unwrap();
            assert!(error.to_string().contains(place), "{operation:?} failed, and the error does not say so: {error}");
            if !matches!(error, LogError::Stopped { .. }) && self.log.is_some() {
                return;
            }
            self.check_stopped(&operation);
        }
        self.log = None;
        let may_be_lost = operation.kind == OperationKind::Sync && matches!(fault.fate.answer, Answer::Failed(_));
        if may_be_lost {
            self.model.forget_volatile();
            self.disk.forget_pages(fault.number);
        }
        self.process = self.disk.process();
        match fault.aftermath {
            Aftermath::Reopened => {}
            Aftermath::PowerCut(seed) => self.power_cut(seed),
            Aftermath::ReopenedThenPowerCut(seed) => {
                self.log().unwrap_or_else(|error| panic!("{fault:?} {operation:?}: cannot be opened: {error}"));
                append_everywhere(self).unwrap();
                self.power_cut(seed);
            }
        }
    }

    /// A log that has stopped takes nothing more, and changes nothing.
    fn check_stopped(&self, operation: &Operation) {
        let Some(log) = &self.log else { return };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = seen.clone();
        self.process.set_fates(move |operation| {
            into.lock().unwrap().push(operation.clone());
            Fate::DONE
        });
        for source in log.sources().unwrap() {
            let refused = log.append(&source, vec![Append::new(0, "after")]);
            // It was being closed, perhaps.
            assert!(matches!(refused, Err(LogError::Stopped { .. } | LogError::Closed)), "{operation:?}: {refused:?}");
            assert!(log.seal(&source).is_err(), "{operation:?}");
        }
        let _ = log.close();
        let seen = seen.lock().unwrap();
        let is_lock = |operation: &&Operation| operation.path.ends_with("lock");
        assert_eq!(seen.iter().find(|operation| operation.kind.is_change() && !is_lock(operation)), None);
    }

    /// The power fails, and the log is opened again with a healthy disk.
    pub fn power_cut(&mut self, seed: u64) {
        self.process.kill();
        self.log = None;
        self.disk.power_cut(seed);
        self.model.forget_volatile();
        self.process = self.disk.process();
        let fault = self.fault;
        self.log().unwrap_or_else(|error| panic!("{fault:?}: cannot be opened after a power cut: {error}"));
    }

    /// Whether the fault has killed the process.
    pub fn is_dead(&self) -> bool {
        !self.process.is_running()
    }

    pub fn close(&mut self) -> Result<()> {
        let closed = self.log()?.close();
        if closed.is_ok() {
            self.log = None;
        }
        closed
    }

    /// The log as a process sees it that no fault meets.
    fn reader(&self) -> FileLog {
        FileLog::open_reader_on(self.disk.process(), LOG).unwrap()
    }

    /// Looks at the log as another process does, and compares.
    pub fn read_elsewhere(&mut self) -> Result<()> {
        self.log()?;
        let reader = FileLog::open_reader_on(self.process.clone(), LOG)?;
        let (start, head) = (reader.start()?, reader.head()?);
        for source in reader.sources()? {
            for partition in 0..reader.partitions(&source)? {
                let from = start.partition(&source, partition);
                reader.read(&source, partition, from, head.partition(&source, partition), 1 << 20)?;
                reader.offset_at_time(&source, partition, 1_500)?;
            }
        }
        let reader = self.reader();
        self.model.check(&reader);
        let starts = self.log.as_ref().map(|log| log.start().unwrap());
        assert!(
            starts.is_none_or(|start| start == reader.start().unwrap()),
            "{:?}: deleted, but still there",
            self.fault
        );
        Ok(())
    }

    /// Appends records of one call; done when it is acknowledged.
    pub fn append(&mut self, source: &'static str, records: &[(u32, usize)], durability: Durability) -> Result<()> {
        let mut under_way = self.submit(source, records, durability)?;
        self.finish(&mut under_way)
    }

    pub fn submit(
        &mut self,
        source: &'static str,
        records: &[(u32, usize)],
        durability: Durability,
    ) -> Result<UnderWay> {
        self.log()?;
        let records: Vec<Append> =
            records.iter().map(|&(partition, bytes)| self.model.send(source, partition, bytes)).collect();
        let answer = self.log()?.submit(source, records.clone(), Some(durability));
        Ok(UnderWay { source, records, durability, answer })
    }

    pub fn finish(&mut self, under_way: &mut UnderWay) -> Result<()> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(answer) = under_way.answer.as_mut().poll(&mut context) {
                let UnderWay { source, records, durability, .. } = under_way;
                self.model.acknowledged(source, records, &answer?, *durability);
                return Ok(());
            }
            self.log()?.step();
        }
    }
}

/// An append that has not been answered.
pub struct UnderWay {
    source: &'static str,
    records: Vec<Append>,
    durability: Durability,
    answer: AppendFuture,
}

/// Appends durably to every partition there is.
pub fn append_everywhere(session: &mut Session) -> Result<()> {
    for source in ["s", "t"] {
        if let Ok(partitions) = session.log()?.partitions(source) {
            let records: Vec<(u32, usize)> = (0..partitions).map(|partition| (partition, 30)).collect();
            session.append(source, &records, Durability::Fsync)?;
        }
    }
    Ok(())
}

/// Every fate that an operation can meet, with its name.
pub fn fates(kind: OperationKind) -> Vec<(&'static str, Fate)> {
    let mut fates = Vec::new();
    let effects: &[Effect] = match (kind.is_change(), kind.has_parts()) {
        (true, true) => &[Effect::Nothing, Effect::Part, Effect::Whole],
        (true, false) => &[Effect::Nothing, Effect::Whole],
        (false, _) => &[Effect::Nothing],
    };
    for &effect in effects {
        fates.push(("I/O error", Fate::failed(effect, Failure::Io)));
        if kind.is_change() {
            fates.push(("disk full", Fate::failed(effect, Failure::Full)));
        }
        fates.push(("permission lost", Fate::failed(effect, Failure::Permission)));
        fates.push(("killed", Fate { effect, answer: Answer::Killed }));
    }
    if matches!(kind, OperationKind::Read | OperationKind::Write) {
        fates.push(("short", Fate::SHORT));
        fates.push(("interrupted", Fate::failed(Effect::Nothing, Failure::Interrupted)));
    }
    fates
}
