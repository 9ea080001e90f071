//! A disk as a crash leaves it, and every operation of its recovery failed in turn.

use std::sync::Arc;

use watershed_log::simulation::{Answer, Effect, Failure, Fate, OperationKind, SimulatedDisk};
use watershed_log::{EventLog, FileLog, ManualClock};

use super::Step;
use super::model::Model;
use super::session::{Fault, LOG, Session, options};

/// What a crash leaves behind.
pub struct Scene {
    disk: SimulatedDisk,
    clock: Arc<ManualClock>,
    model: Model,
    fault: Fault,
}

/// The scene after a fault that kills the process, and perhaps a power cut at the same moment.
pub fn after(script: &[Step], fault: Fault, cut: Option<u64>) -> Scene {
    let mut session = Session::new(Some(fault));
    for &step in script {
        if step(&mut session).is_err() || session.is_dead() {
            break;
        }
    }
    let Session { disk, clock, mut model, .. } = session;
    disk.kill_all();
    if let Some(seed) = cut {
        disk.power_cut(seed);
        model.forget_volatile();
    }
    Scene { disk, clock, model, fault }
}

impl Scene {
    /// Lets every operation of the recovery fail. Returns how many faults were tried.
    pub fn fail_recovery(&self) -> u64 {
        let mut tried = 0;
        for number in 0.. {
            let Some(kind) = self.try_fault(number, Fate::KILLED_BEFORE, None) else { break };
            tried += 1;
            for fate in [Fate::KILLED_WITHIN, Fate::KILLED_AFTER] {
                if kind.is_change() && (fate == Fate::KILLED_AFTER || kind.has_parts()) {
                    self.try_fault(number, fate, None);
                    self.try_fault(number, fate, Some(number));
                    tried += 2;
                }
            }
            self.try_fault(number, Fate::failed(Effect::Nothing, Failure::Io), None);
            tried += 1;
        }
        tried
    }

    /// Opens the log with a fault at one operation, then without. Returns the operation's kind, if there is such a one.
    fn try_fault(&self, number: u64, fate: Fate, cut: Option<u64>) -> Option<OperationKind> {
        let (disk, mut model) = (self.disk.copy(), self.model.clone());
        let process = disk.process();
        let met = Arc::new(std::sync::Mutex::new(None));
        let meeting = met.clone();
        process.set_fates(move |operation| {
            if operation.number != number {
                return Fate::DONE;
            }
            *meeting.lock().unwrap() = Some(operation.clone());
            fate
        });
        let opened = FileLog::open_stepped(LOG, options(&process), self.clock.clone());
        let operation = met.lock().unwrap().clone()?;
        let context = || format!("{:?}, then {operation:?} {fate:?}", self.fault);
        match (&opened, fate.answer) {
            (Ok(_), _) => {}
            (Err(error), Answer::Failed(_)) => {
                assert!(error.to_string().contains(operation.path.to_str().unwrap()), "{}: {error}", context());
            }
            (Err(_), _) => assert!(!process.is_running(), "{}: {opened:?}", context()),
        }
        process.kill();
        drop(opened);
        if operation.kind == OperationKind::Sync && matches!(fate.answer, Answer::Failed(_)) {
            model.forget_volatile();
            disk.forget_pages(number);
        }
        if let Some(seed) = cut {
            disk.power_cut(seed);
            model.forget_volatile();
        }
        let process = disk.process();
        let log = FileLog::open_stepped(LOG, options(&process), self.clock.clone());
        let log = log.unwrap_or_else(|error| panic!("{}: cannot be opened: {error}", context()));
        model.check_opened(&log);
        for source in log.sources().unwrap() {
            let partitions = log.partitions(&source).unwrap();
            let name = if source == "s" { "s" } else { "t" };
            let records: Vec<_> = (0..partitions).map(|partition| model.send(name, partition, 20)).collect();
            let appended = log.append(name, records.clone()).unwrap();
            model.acknowledged(name, &records, &appended, watershed_log::Durability::Fsync);
        }
        process.kill();
        drop(log);
        disk.power_cut(number);
        let log = FileLog::open_stepped(LOG, options(&disk.process()), self.clock.clone());
        model.check_opened(&log.unwrap_or_else(|error| panic!("{}: lost: {error}", context())));
        Some(operation.kind)
    }
}
