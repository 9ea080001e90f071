//! Syncs several files at the same time: file systems commit their journal once for all of them.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::Options;
use crate::segment::Segment;

type Job = Arc<Segment>;

/// Threads that sync. The caller's thread is one more.
pub(crate) struct SyncPool {
    options: Options,
    jobs: Option<mpsc::Sender<Job>>,
    done: mpsc::Receiver<Result<(), (PathBuf, io::Error)>>,
    threads: Vec<JoinHandle<()>>,
}

fn sync(options: &Options, segment: &Segment) -> Result<(), (PathBuf, io::Error)> {
    let synced = options.before_sync(&segment.path).and_then(|()| File::sync_data(&segment.file));
    synced.map_err(|error| (segment.path.clone(), error))
}

impl SyncPool {
    pub fn start(options: &Options) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (report, done) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for number in 1..options.sync_threads {
            let (queue, report, options) = (queue.clone(), report.clone(), options.clone());
            let work = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(segment) = job else { break };
                    if report.send(sync(&options, &segment)).is_err() {
                        break;
                    }
                }
            };
            threads.push(std::thread::Builder::new().name(format!("log-sync-{number}")).spawn(work)?);
        }
        Ok(Self { options: options.clone(), jobs: Some(jobs), done, threads })
    }

    /// Syncs all of them, or says which failed.
    pub fn sync_all(&self, mut segments: Vec<Job>) -> Result<(), (PathBuf, io::Error)> {
        let mut outcome = Ok(());
        let Some(own) = segments.pop() else { return Ok(()) };
        let mut handed_over = 0;
        let mut here = vec![own];
        for segment in segments {
            match &self.jobs {
                Some(jobs) if !self.threads.is_empty() && jobs.send(segment.clone()).is_ok() => handed_over += 1,
                _ => here.push(segment),
            }
        }
        for segment in here {
            outcome = outcome.and(sync(&self.options, &segment));
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
