//! The speed layer of this process, and what it answers to others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use watershed_log::EventLog;
use watershed_serving::{Answer, Limits, Serving, ServingError};
use watershed_speed::SpeedLayer;

use super::{
    Project, QueryLimits,
    answer::{Asked, encode},
    blocking,
    ledger::LiveFigures,
};
use crate::{config::Span, control::Reply, error::Error};

/// A running speed layer, and serving over it.
pub(super) struct Live {
    pub project: Project,
    pub log: Arc<dyn EventLog>,
    pub speed: Arc<SpeedLayer>,
    pub serving: Arc<Serving>,
    /// Another process has published a manifest.
    pub look_for_manifest: Notify,
    pub questions: Questions,
}

/// Who is answered at the same time.
#[derive(Debug)]
pub(super) struct Questions {
    /// One permit for each question, until its answer has been sent.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Questions {
    pub fn new(concurrent: usize) -> Questions {
        Questions { permits: Arc::new(Semaphore::new(concurrent)), waiting: AtomicUsize::new(0) }
    }

    /// A permit; `None` if there is none within this time.
    async fn permit(&self, time_max: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        tokio::time::timeout(time_max, Arc::clone(&self.permits).acquire_owned()).await.ok()?.ok()
    }

    /// Whether a question waits for a permit.
    pub fn are_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// One who waits. Given up, it waits no more.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(waiting: &AtomicUsize) -> Waiting<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's bytes, which hold the question's permit.
struct Sent {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Live {
    /// Answers from memory and the store. What was acknowledged before the question is in the answer, as long as the speed
    /// layer is not too far behind; the receipt says.
    async fn ask(&self, asked: Asked, limits: Limits) -> Result<Answer, Error> {
        let (serving, log) = (Arc::clone(&self.serving), Arc::clone(&self.log));
        blocking(move || match asked.of(&serving, Some(&log.head()?), limits) {
            Err(Error::Serving(ServingError::NotReached { .. })) if !asked.says_at_least() => {
                asked.of(&serving, None, limits)
            }
            answered => answered,
        })
        .await
    }

    pub async fn answer_query(
        self: Arc<Self>,
        sql: String,
        at_least: Option<serde_json::Value>,
        as_of: Option<u64>,
        limits: QueryLimits,
    ) -> Result<(Reply, Bytes), Error> {
        let malformed = |e: serde_json::Error| Error::usage(format!("at_least is no position: {e}"));
        let at_least = at_least.map(serde_json::from_value).transpose().map_err(malformed)?;
        self.answer(Asked::Query { sql, at_least, as_of, limits }).await
    }

    pub async fn answer(self: Arc<Self>, asked: Asked) -> Result<(Reply, Bytes), Error> {
        let configured = &self.project.config().query;
        let limits = asked.limits().at_most(configured);
        let Some(permit) = self.questions.permit(limits.time_max).await else {
            let (concurrent, wait) = (configured.concurrent, Span(limits.time_max));
            return Err(Error::Unavailable(format!(
                "{concurrent} queries are being answered (query.concurrent), and none of them ended within {wait}"
            )));
        };
        let (reply, body) = encode(&self.ask(asked, limits).await?)?;
        Ok((reply, Bytes::from_owner(Sent { body, _permit: permit })))
    }

    /// The figures above the cut, as JSON.
    pub fn figures(&self) -> Result<serde_json::Value, Error> {
        let figures = LiveFigures::of(self.project.catalog(), &self.speed.snapshot(), Some(std::process::id()));
        serde_json::to_value(figures).map_err(|e| Error::Internal(e.to_string()))
    }
}
