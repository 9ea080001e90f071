//! The speed layer of this process, and what it answers to others.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use watershed_log::EventLog;
use watershed_serving::{Answer, Serving, ServingError};
use watershed_speed::SpeedLayer;

use super::{
    Project,
    answer::{Asked, encode},
    blocking,
    ledger::LiveFigures,
};
use crate::{control::Reply, error::Error};

/// A running speed layer, and serving over it.
pub(super) struct Live {
    pub project: Project,
    pub log: Arc<dyn EventLog>,
    pub speed: Arc<SpeedLayer>,
    pub serving: Arc<Serving>,
    /// Another process has published a manifest.
    pub look_for_manifest: Notify,
}

impl Live {
    /// Answers from memory and the store. What was acknowledged before the question is in the answer, as long as the speed
    /// layer is not too far behind; the receipt says.
    async fn ask(&self, asked: Asked) -> Result<Answer, Error> {
        let (serving, log) = (Arc::clone(&self.serving), Arc::clone(&self.log));
        blocking(move || match asked.of(&serving, Some(&log.head()?)) {
            Err(Error::Serving(ServingError::NotReached { .. })) if !asked.says_at_least() => asked.of(&serving, None),
            answered => answered,
        })
        .await
    }

    pub async fn answer_query(
        self: Arc<Self>,
        sql: String,
        at_least: Option<serde_json::Value>,
        as_of: Option<u64>,
    ) -> Result<(Reply, Bytes), Error> {
        let malformed = |e: serde_json::Error| Error::usage(format!("at_least is no position: {e}"));
        let at_least = at_least.map(serde_json::from_value).transpose().map_err(malformed)?;
        self.answer(Asked::Query { sql, at_least, as_of }).await
    }

    pub async fn answer(self: Arc<Self>, asked: Asked) -> Result<(Reply, Bytes), Error> {
        encode(&self.ask(asked).await?)
    }

    /// The figures above the cut, as JSON.
    pub fn figures(&self) -> Result<serde_json::Value, Error> {
        let figures = LiveFigures::of(self.project.catalog(), &self.speed.snapshot(), Some(std::process::id()));
        serde_json::to_value(figures).map_err(|e| Error::Internal(e.to_string()))
    }
}
