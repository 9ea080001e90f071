//! Syncs several files at the same time: file systems commit their journal once for all of them.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::segment::Segment;

type Job = Arc<Segment>;

/// Threads that sync. The caller's thread is one more.
pub(crate) struct SyncPool {
    jobs: Option<mpsc::Sender<Job>>,
    done: mpsc::Receiver<Result<(), (PathBuf, io::Error)>>,
    threads: Vec<JoinHandle<()>>,
}

fn sync(segment: &Segment) -> Result<(), (PathBuf, io::Error)> {
    segment.file.sync_data().map_err(|error| (segment.path.clone(), error))
}

impl SyncPool {
    /// A pool for syncing so many files at a time. With one, all is done on the caller's thread, in order.
    pub fn start(sync_threads: usize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (report, done) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for number in 1..sync_threads {
            let (queue, report) = (queue.clone(), report.clone());
            let work = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(segment) = job else { break };
                    if report.send(sync(&segment)).is_err() {
                        break;
                    }
                }
            };
            threads.push(std::thread::Builder::new().name(format!("log-sync-{number}")).spawn(work)?);
        }
        Ok(Self { jobs: Some(jobs), done, threads })
    }

    /// Syncs all of them, or says which failed.
    pub fn sync_all(&self, segments: Vec<Job>) -> Result<(), (PathBuf, io::Error)> {
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
}

impl Drop for SyncPool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
