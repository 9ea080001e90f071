//! The process that holds the writer lock: it appends, records epochs, and answers for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use watershed_batch::{Epoch, WriterId};
use watershed_log::{Append, EventLog, FileLog, Numbering, ProducerId};
use watershed_pipelines::decode::Decoder;

use super::{Project, answer::Asked, blocking, live::Live, parity};
use crate::{
    config::Durability,
    control::{Acknowledged, Holder, ProducerRecords, Reply, Request, decode_payloads},
    error::Error,
};

/// What holds the log open for writing.
pub(super) struct LogHolder {
    pub project: Project,
    pub log: Arc<FileLog>,
    pub writer: WriterId,
    decoders: BTreeMap<String, Arc<Decoder>>,
    /// One epoch is recorded at a time: heads taken one after the other are ordered, so epochs form a chain.
    epochs: tokio::sync::Mutex<()>,
    /// The speed layer, if this process runs one.
    pub live: OnceLock<Arc<Live>>,
}

impl LogHolder {
    pub fn new(project: Project, log: FileLog) -> LogHolder {
        let sources = &project.catalog().sources;
        let decoders = sources.iter().map(|(name, source)| (name.clone(), Arc::new(Decoder::new(source)))).collect();
        LogHolder {
            project,
            log: Arc::new(log),
            writer: WriterId::random(),
            decoders,
            epochs: tokio::sync::Mutex::new(()),
            live: OnceLock::new(),
        }
    }

    /// Appends payloads; those of a producer that the log does not have. They take their place in the log in the order of the
    /// calls.
    pub fn submit(
        &self,
        table: &str,
        payloads: Vec<Bytes>,
        durability: Option<Durability>,
        numbering: Option<Numbering>,
    ) -> BoxFuture<'static, Result<Acknowledged, Error>> {
        let Some(decoder) = self.decoders.get(table) else {
            let message =
                format!("the process that writes the log knows no table {table:?}; if it is new, restart that process");
            return std::future::ready(Err(Error::Usage(message))).boxed();
        };
        let records = payloads
            .into_iter()
            .map(|payload| {
                let (partition, key) = decoder.partition_of(&payload);
                Append { partition, key: key.map(Bytes::from), payload }
            })
            .collect();
        let durability = durability.map(Into::into);
        if let Some(numbering) = numbering {
            let submitted = self.log.submit_numbered(table, numbering, records, durability);
            return async move {
                let mut acknowledged = Acknowledged::default();
                submitted.await?.records.into_iter().for_each(|place| acknowledged.add_place(place));
                Ok(acknowledged)
            }
            .boxed();
        }
        let submitted = self.log.submit(table, records, durability);
        async move {
            let mut acknowledged = Acknowledged::default();
            for (partition, offset) in submitted.await?.records {
                acknowledged.add(partition, offset);
            }
            Ok(acknowledged)
        }
        .boxed()
    }

    /// Records an epoch at the head.
    pub async fn epoch(self: Arc<Self>) -> Result<Epoch, Error> {
        let _one_at_a_time = self.epochs.lock().await;
        let holder = Arc::clone(&self);
        blocking(move || {
            let head = holder.log.head()?;
            // Told first, while the speed layer has hardly read past it.
            if let Some(live) = holder.live.get() {
                live.speed.add_epoch(&head)?;
            }
            let now_micros = holder.project.clock().now_micros();
            Ok(holder.project.store()?.record_epoch(&head, now_micros, &holder.writer)?)
        })
        .await
    }
}

impl Holder for LogHolder {
    fn is_waited_for(&self) -> bool {
        self.live.get().is_some_and(|live| live.questions.are_waited_for())
    }

    fn handle(self: Arc<Self>, request: Request, body: Bytes) -> BoxFuture<'static, Result<(Reply, Bytes), Error>> {
        let live = self.live.get().cloned();
        let without_body = |reply: Reply| (reply, Bytes::new());
        match (request, live) {
            (Request::Append { source, fsync, producer }, _) => {
                let durability = fsync.map(|fsync| if fsync { Durability::Fsync } else { Durability::Os });
                // Held until the acknowledgement: what waits for room in the log counts for the requests under way.
                let held = body.clone();
                let numbering = producer.map(|ProducerRecords { id, first }| {
                    ProducerId::new(id).map(|producer| Numbering { producer, first })
                });
                let (payloads, numbering) = match (decode_payloads(body), numbering.transpose()) {
                    (Ok(payloads), Ok(numbering)) => (payloads, numbering),
                    (Err(error), _) => return std::future::ready(Err(error.into())).boxed(),
                    (_, Err(error)) => return std::future::ready(Err(error.into())).boxed(),
                };
                let appended = self.submit(&source, payloads, durability, numbering);
                async move {
                    let acknowledged = appended.await?;
                    drop(held);
                    Ok(without_body(Reply::Appended(acknowledged)))
                }
                .boxed()
            }
            (Request::Epoch, _) => {
                async move { Ok(without_body(Reply::Epoch { number: self.epoch().await?.number })) }.boxed()
            }
            (Request::Published { .. }, live) => {
                if let Some(live) = live {
                    live.look_for_manifest.notify_one();
                }
                std::future::ready(Ok(without_body(Reply::Done))).boxed()
            }
            (_, None) => std::future::ready(Ok(without_body(Reply::NotLive))).boxed(),
            (Request::Query { sql, at_least, as_of, limits }, Some(live)) => {
                live.answer_query(sql, at_least, as_of, limits).boxed()
            }
            (Request::Lookup { view, key }, Some(live)) => live.answer(Asked::Lookup { view, key }).boxed(),
            (Request::Scan { view, keys }, Some(live)) => live.answer(Asked::Scan { view, keys }).boxed(),
            (Request::Parity { question }, Some(live)) => {
                async move { Ok((Reply::Parity, blocking(move || parity::encoded_summary(&live, &question)).await?)) }
                    .boxed()
            }
            (Request::ParityRows { question, view, partition }, Some(live)) => async move {
                let rows = blocking(move || parity::encoded_rows(&live, &question, &view, &partition)).await?;
                Ok((Reply::Parity, rows))
            }
            .boxed(),
            (Request::Status, Some(live)) => {
                async move { Ok(without_body(Reply::Live { figures: live.figures()? })) }.boxed()
            }
        }
    }
}
