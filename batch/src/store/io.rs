//! The border between blocking code and the store's asynchronous clients.

use std::{future::Future, sync::mpsc};

use tokio::runtime::{Builder, Runtime};

use crate::error::{BatchError, Result};

/// Threads that wait for the store. Blocking callers hand them futures and wait on a channel, so a call never enters a
/// runtime on the caller's thread: it is as safe on a rayon thread as on tokio's blocking threads.
#[derive(Debug)]
pub(super) struct IoThreads {
    runtime: Option<Runtime>,
}

impl IoThreads {
    pub(super) fn start() -> Result<IoThreads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("watershed-store")
            .enable_all()
            .build()
            .map_err(|error| BatchError::Threads(error.to_string()))?;
        Ok(IoThreads { runtime: Some(runtime) })
    }

    /// Runs `future` to its end and returns what it gives.
    pub(super) fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or_else(|| BatchError::Threads("the store is closed".to_owned()))?;
        runtime.spawn(async move {
            // The receiver only goes away with the caller.
            let _ = sender.send(future.await);
        });
        receiver.recv().map_err(|_| BatchError::Threads("a request to the store panicked".to_owned()))
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        // Dropping a runtime blocks, which tokio forbids on its own threads, where the last handle may well be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
