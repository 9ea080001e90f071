//! Questions: answered by the process that runs the speed layer, else by this one, which replays the log's tail.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow_buffer::Buffer;
use arrow_ipc::{reader::StreamDecoder, writer::StreamWriter};
use bytes::Bytes;
use polars::prelude::DataFrame;
use watershed_batch::{
    Manifest,
    columns::{from_arrow, to_arrow},
};
use watershed_log::{EventLog, LogError, Position};
use watershed_pipelines::{key::KeyFilter, types::Value};
use watershed_serving::{
    Answer, FixedSpeed, Limits, ReadOptions, Receipt, Serving, ServingError, SpeedSide, StoredViews, built_by,
};
use watershed_speed::{SpeedError, SpeedOptions, SpeedSnapshot, replay};

use super::{Project, QueryLimits, blocking, writer::unexpected};
use crate::{
    control::{Answered, REPLY_BODY_BYTES_MAX, Reply, Request},
    error::Error,
};

/// How often the log is replayed for one answer, because a batch run published a manifest meanwhile.
const REPLAYS_MAX: usize = 3;

/// How a question is asked.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Wait until the answer covers this position: read your own writes.
    pub at_least: Option<Position>,
    /// Answer as of this epoch.
    pub as_of: Option<u64>,
    /// What the answer may take, where that is not to be as configured.
    pub limits: QueryLimits,
}

/// A question.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Query { sql: String, at_least: Option<Position>, as_of: Option<u64>, limits: QueryLimits },
    Lookup { view: String, key: Vec<Value> },
    Scan { view: String, keys: KeyFilter },
}

impl Asked {
    /// The answer, which covers `at_least` (unless the question says otherwise), within `limits`.
    pub fn of(&self, serving: &Serving, at_least: Option<&Position>, limits: Limits) -> Result<Answer, Error> {
        let options = ReadOptions { at_least: at_least.cloned(), limits, ..ReadOptions::default() };
        Ok(match self {
            Asked::Query { sql, at_least: None, as_of: None, .. } => serving.sql(sql, &options)?,
            Asked::Query { sql, at_least, as_of, .. } => {
                serving.sql(sql, &ReadOptions { at_least: at_least.clone(), as_of: *as_of, ..options })?
            }
            Asked::Lookup { view, key } => serving.lookup(view, key, &options)?,
            Asked::Scan { view, keys } => serving.scan(view, keys, &options)?,
        })
    }

    /// What the asker says about limits.
    pub fn limits(&self) -> QueryLimits {
        match self {
            Asked::Query { limits, .. } => *limits,
            Asked::Lookup { .. } | Asked::Scan { .. } => QueryLimits::default(),
        }
    }

    /// Whether the asker insists on a position.
    pub fn says_at_least(&self) -> bool {
        matches!(self, Asked::Query { at_least: Some(_), .. })
    }

    fn request(&self) -> Request {
        match self.clone() {
            Asked::Query { sql, at_least, as_of, limits } => {
                Request::Query { sql, at_least: at_least.and_then(|p| serde_json::to_value(p).ok()), as_of, limits }
            }
            Asked::Lookup { view, key } => Request::Lookup { view, key },
            Asked::Scan { view, keys } => Request::Scan { view, keys },
        }
    }
}

impl Project {
    /// Answers a `SELECT` over the views, the newest durable records included.
    pub async fn query(&self, sql: &str) -> Result<Answer, Error> {
        self.query_with(sql, QueryOptions::default()).await
    }

    /// Answers a `SELECT` over the views.
    pub async fn query_with(&self, sql: &str, options: QueryOptions) -> Result<Answer, Error> {
        // Planned here first: a mistake is then shown under the SQL, and nobody else is bothered with it.
        self.catalog().plan_query(sql, self.registry()).map_err(|d| self.mistakes(&d.file.clone(), sql, d))?;
        let QueryOptions { at_least, as_of, limits } = options;
        self.ask(Asked::Query { sql: sql.to_owned(), at_least, as_of, limits }).await
    }

    /// The rows of a view whose key, or the first columns of it, has these values.
    pub async fn lookup(&self, view: &str, key: &[Value]) -> Result<Answer, Error> {
        self.ask(Asked::Lookup { view: view.to_owned(), key: key.to_vec() }).await
    }

    /// The rows of a view whose keys lie within bounds.
    pub async fn scan(&self, view: &str, keys: KeyFilter) -> Result<Answer, Error> {
        self.ask(Asked::Scan { view: view.to_owned(), keys }).await
    }

    async fn ask(&self, asked: Asked) -> Result<Answer, Error> {
        match self.ask_holder(&asked.request()).await? {
            Some((Reply::Answer(answered), body)) => return decode(answered, &body),
            Some((Reply::NotLive, _)) | None => {}
            Some((other, _)) => return Err(unexpected(&other)),
        }
        let project = self.clone();
        blocking(move || project.with_heads_mended(|| project.answer_by_replay(&asked))).await
    }

    fn answer_by_replay(&self, asked: &Asked) -> Result<Answer, Error> {
        let limits = asked.limits().or(&self.config().query);
        let answer = || asked.of(&self.serving_by_replay()?, None, limits);
        for _ in 1..REPLAYS_MAX {
            match answer() {
                // A manifest moved the cut while the log was replayed, and the log may have been shortened up to there.
                Err(Error::Serving(ServingError::OutOfStep { .. })) => {}
                Err(Error::Speed(SpeedError::Log(LogError::BelowStart { .. }))) => {}
                other => return other,
            }
        }
        answer()
    }

    /// Serving over the store and a replay of the log above the newest manifest's cut.
    fn serving_by_replay(&self) -> Result<Serving, Error> {
        let log: Arc<dyn EventLog> = Arc::new(self.log()?);
        let (_, snapshot) = self.replay(&log)?;
        self.serving(&log, Arc::new(FixedSpeed(snapshot)))
    }

    /// The newest manifest, and what a speed layer above its cut would hold now.
    pub(super) fn replay(&self, log: &Arc<dyn EventLog>) -> Result<(Option<Manifest>, Arc<SpeedSnapshot>), Error> {
        let manifest = self.store()?.latest_manifest()?;
        let built = manifest.as_ref().map(built_by).unwrap_or_default();
        let (catalog, options) = (Arc::clone(self.catalog()), self.speed_options());
        let snapshot = replay(catalog, self.registry(), Arc::clone(log), options, &built, None)?;
        Ok((manifest, snapshot))
    }

    pub(super) fn serving(&self, log: &Arc<dyn EventLog>, speed: Arc<dyn SpeedSide>) -> Result<Serving, Error> {
        let batch = Arc::new(StoredViews(self.store()?));
        let serving = Serving::new(Arc::clone(self.catalog()), Arc::clone(&self.inner.registry), batch, speed)?;
        Ok(serving.with_log(Arc::clone(log), self.speed_options()))
    }

    pub(super) fn speed_options(&self) -> SpeedOptions {
        let speed = &self.config().speed;
        SpeedOptions {
            view_bytes_max: speed.max_bytes.as_usize(),
            step_bytes_max: speed.step_bytes.as_usize(),
            ..SpeedOptions::default()
        }
    }
}

/// Rows that were sent: whatever lengths stand in them, no more is allocated than came.
pub(crate) fn read_rows(body: Bytes) -> Result<DataFrame, Error> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("an answer cannot be decoded: {e}"));
    let read = || -> Result<DataFrame, Error> {
        let mut decoder = StreamDecoder::new();
        let mut buffer = Buffer::from(body);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            batches.extend(decoder.decode(&mut buffer).map_err(|e| internal(&e))?);
        }
        decoder.finish().map_err(|e| internal(&e))?;
        Ok(from_arrow(&batches)?)
    };
    // The decoder panics where what came contradicts itself.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(internal(&"it contradicts itself")))
}

/// Rows as they are sent, for fuzzing.
pub(crate) fn sample_rows() -> Result<Vec<u8>, Error> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("rows cannot be encoded: {e}"));
    let texts = polars::prelude::Column::new("k".into(), [Some("a"), None, Some("a text of more than twelve bytes")]);
    let numbers = polars::prelude::Column::new("n".into(), [Some(1i64), Some(-1), None]);
    let frame = DataFrame::new(3, vec![texts, numbers]).map_err(|e| internal(&e))?;
    let batch = to_arrow(&frame)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(|e| internal(&e))?;
    writer.write(&batch).map_err(|e| internal(&e))?;
    writer.into_inner().map_err(|e| internal(&e))
}

/// An answer for the control socket.
pub(super) fn encode(answer: &Answer) -> Result<(Reply, Bytes), Error> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("an answer cannot be encoded: {e}"));
    let batch = to_arrow(&answer.frame)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(|e| internal(&e))?;
    writer.write(&batch).map_err(|e| internal(&e))?;
    let body = writer.into_inner().map_err(|e| internal(&e))?;
    if body.len() > REPLY_BODY_BYTES_MAX as usize {
        let bytes = body.len();
        return Err(Error::Unavailable(format!(
            "the answer has {bytes} bytes, more than a reply can have: add LIMIT, or a condition on the key"
        )));
    }
    let receipt = serde_json::to_value(&answer.receipt).map_err(|e| internal(&e))?;
    Ok((Reply::Answer(Answered { schema: (*answer.schema).clone(), receipt }), body.into()))
}

fn decode(answered: Answered, body: &Bytes) -> Result<Answer, Error> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("an answer cannot be decoded: {e}"));
    let frame = read_rows(body.clone())?;
    let receipt: Receipt = serde_json::from_value(answered.receipt).map_err(|e| internal(&e))?;
    Ok(Answer { frame, schema: Arc::new(answered.schema), receipt })
}
