//! Syncs several files at the same time: file systems commit their journal once for all of them.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::segment::Segment;

type Job = Arc<Segment>;
type Synced = Result<(), (PathBuf, io::Error)>;

/// Threads that sync, started when they are first needed. The caller's thread is one more.
pub(crate) struct SyncPool {
    threads_max: usize,
    threads: Vec<JoinHandle<()>>,
    jobs: Option<mpsc::Sender<Job>>,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    report: mpsc::Sender<Synced>,
    done: mpsc::Receiver<Synced>,
}

fn sync(segment: &Segment) -> Synced {
    segment.file.sync_data().map_err(|error| (segment.path.clone(), error))
}

impl SyncPool {
    /// A pool for syncing so many files at a time. With one, all is done on the caller's thread, in order.
    pub fn new(sync_threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        let (report, done) = mpsc::channel();
        let (threads_max, queue) = (sync_threads.saturating_sub(1), Arc::new(Mutex::new(queue)));
        Self { threads_max, threads: Vec::new(), jobs: Some(jobs), queue, report, done }
    }

    /// Syncs all of them, or says which failed.
    pub fn sync_all(&mut self, segments: Vec<Job>) -> Synced {
        self.start(segments.len().saturating_sub(1));
        let mut outcome = Ok(());
        let mut handed_over = 0;
        let mut here = Vec::new();
        for segment in segments {
            match &self.jobs {
                Some(jobs) if !self.threads.is_empty() && !here.is_empty() && jobs.send(segment.clone()).is_ok() => {
                    handed_over += 1;
                }
                _ => here.push(segment),
            }
        }
        for segment in here {
            outcome = outcome.and(sync(&segment));
        }
        for _ in 0..handed_over {
            let gone = || Err((PathBuf::new(), io::Error::other("a sync thread is gone")));
            outcome = outcome.and(self.done.recv().unwrap_or_else(|_| gone()));
        }
        outcome
    }

    /// Starts the threads that are missing for `wanted` files beside the caller's.
    fn start(&mut self, wanted: usize) {
        while self.threads.len() < wanted.min(self.threads_max) {
            let (queue, report) = (self.queue.clone(), self.report.clone());
            let work = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(segment) = job else { break };
                    if report.send(sync(&segment)).is_err() {
                        break;
                    }
                }
            };
            let name = format!("log-sync-{}", self.threads.len() + 1);
            match std::thread::Builder::new().name(name).spawn(work) {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, threads = self.threads.len(), "could not start one more thread that syncs");
                    self.threads_max = self.threads.len();
                }
            }
        }
    }
}

impl Default for SyncPool {
    /// One without threads.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Drop for SyncPool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
