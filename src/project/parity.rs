//! The gate before a manifest, seen from the speed layer: what it holds of the records between two cuts, told to a batch run in this
//! process or in another.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use watershed_batch::{
    AskedView, Parity, ParityQuestion, ParitySummary, SpeedParity, ViewSummary,
    columns::{from_arrow, to_arrow},
    declaration,
};
use watershed_pipelines::{
    partial::{CoreKernel, Partials, PartitionRows},
    source::ViewCounts,
};
use watershed_speed::SpeedSnapshot;

use super::{Project, live::Live};
use crate::{
    control::{Reply, Request},
    error::Error,
};

/// How long a run waits until the speed layer has read up to the new cut. It is milliseconds behind, or far behind.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// How long a run waits for the answer of another process.
const ANSWERED_WITHIN: Duration = Duration::from_secs(300);

/// The speed layer of this process.
pub(super) struct LocalParity(pub Arc<Live>);

/// The speed layer of the process that holds the log, if it runs one.
struct RemoteParity {
    project: Project,
    runtime: Handle,
}

impl Project {
    /// With whom a batch run of this process is compared: the speed layer here, if there is one, else the holder's.
    pub(super) fn parity(&self, live: Option<&Arc<Live>>, runtime: Handle) -> Parity {
        let speed: Arc<dyn SpeedParity> = match live {
            Some(live) => Arc::new(LocalParity(Arc::clone(live))),
            None => Arc::new(RemoteParity { project: self.clone(), runtime }),
        };
        Parity { policy: self.config().batch.parity, speed: Some(speed) }
    }
}

impl SpeedParity for LocalParity {
    fn summary(&self, question: &ParityQuestion) -> Result<Option<ParitySummary>, String> {
        self.0.parity_summary(question).map(Some).map_err(|error| error.to_string())
    }

    fn partition(
        &self,
        question: &ParityQuestion,
        view: &str,
        partition: &str,
        _kernel: &CoreKernel,
    ) -> Result<Partials, String> {
        self.0.parity_rows(question, view, partition).map_err(|error| error.to_string())
    }
}

impl SpeedParity for RemoteParity {
    fn summary(&self, question: &ParityQuestion) -> Result<Option<ParitySummary>, String> {
        match self.ask(&Request::Parity { question: question.clone() })? {
            Some((Reply::Parity, body)) => serde_json::from_slice(&body).map(Some).map_err(|error| error.to_string()),
            Some((Reply::NotLive, _)) | None => Ok(None),
            Some((other, _)) => Err(format!("this reply does not fit the request: {other:?}")),
        }
    }

    fn partition(
        &self,
        question: &ParityQuestion,
        view: &str,
        partition: &str,
        kernel: &CoreKernel,
    ) -> Result<Partials, String> {
        let (view, partition) = (view.to_owned(), partition.to_owned());
        match self.ask(&Request::ParityRows { question: question.clone(), view, partition })? {
            Some((Reply::Parity, body)) => decode(kernel, body).map_err(|error| error.to_string()),
            _ => Err("the speed layer is gone".to_owned()),
        }
    }
}

impl RemoteParity {
    /// Called by the run's threads, none of which belongs to the runtime.
    fn ask(&self, request: &Request) -> Result<Option<(Reply, Bytes)>, String> {
        let asked = async { tokio::time::timeout(ANSWERED_WITHIN, self.project.ask_holder(request)).await };
        match self.runtime.block_on(asked) {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the process that runs the speed layer did not answer in time".to_owned()),
        }
    }
}

impl Live {
    /// Digests of what the speed layer made of the records asked for. Works on one thread and on an immutable snapshot, so that
    /// tailing goes on beside it.
    pub(super) fn parity_summary(&self, question: &ParityQuestion) -> Result<ParitySummary, Error> {
        let snapshot = self.snapshot_for(question)?;
        let mut summary = ParitySummary::default();
        for (view, asked) in &question.views {
            let summed = self.summarise(&snapshot, question, view, asked);
            summary.views.insert(view.clone(), summed.map_err(|error| error.to_string()));
        }
        for (source, declared) in &self.project.catalog().sources {
            if question.declarations.get(source) != Some(&declaration(declared)) {
                continue;
            }
            let counts = snapshot.source_counts(source, &question.low, Some(&question.high))?;
            summary.sources.insert(source.clone(), counts);
        }
        Ok(summary)
    }

    /// What it made of them in one partition of a view.
    pub(super) fn parity_rows(
        &self,
        question: &ParityQuestion,
        view: &str,
        partition: &str,
    ) -> Result<Partials, Error> {
        let snapshot = self.snapshot_for(question)?;
        let asked = question.views.get(view).ok_or_else(|| Error::usage(format!("{view:?} was not asked for")))?;
        let (kernel, parts) = self.parts(&snapshot, question, view, asked)?;
        merged(&kernel, &parts, &divided(&kernel, &parts)?, partition)
    }

    /// A snapshot with edges at both cuts.
    fn snapshot_for(&self, question: &ParityQuestion) -> Result<Arc<SpeedSnapshot>, Error> {
        // It was told of the epoch before that was recorded, unless another process did so earlier.
        self.speed.add_epoch(&question.high)?;
        let snapshot = self.speed.wait_until(&mut |s| s.reaches(&question.high), REACHED_WITHIN)?;
        if !snapshot.reaches(&question.high) {
            return Err(Error::Unavailable("the speed layer has not read up to the new cut".to_owned()));
        }
        if !snapshot.covers(&question.low, Some(&question.high)) {
            return Err(Error::Unavailable("the speed layer does not begin at the old cut".to_owned()));
        }
        Ok(snapshot)
    }

    fn parts(
        &self,
        snapshot: &SpeedSnapshot,
        question: &ParityQuestion,
        view: &str,
        asked: &AskedView,
    ) -> Result<(CoreKernel, Vec<Arc<Partials>>), Error> {
        let known = self.project.catalog().materialized().find(|(known, _)| known.name == view);
        let Some((_, core)) = known.filter(|(known, _)| known.fingerprint == asked.fingerprint) else {
            return Err(Error::Unavailable("the process that runs the speed layer has another definition".to_owned()));
        };
        let from_zero = snapshot.cut().is_zero() && question.low.is_zero();
        let low = (!asked.all || from_zero).then_some(&question.low);
        if low.is_none() && !snapshot.fits(view, None, Some(&question.high)) {
            return Err(Error::Unavailable("it is built anew, and the speed layer has only what is new".to_owned()));
        }
        let parts = snapshot.view(view, low, Some(&question.high))?;
        Ok((CoreKernel::compile(core, self.project.registry())?, parts))
    }

    fn summarise(
        &self,
        snapshot: &SpeedSnapshot,
        question: &ParityQuestion,
        view: &str,
        asked: &AskedView,
    ) -> Result<ViewSummary, Error> {
        let (kernel, parts) = self.parts(snapshot, question, view, asked)?;
        let divided = divided(&kernel, &parts)?;
        let mut counts = ViewCounts::default();
        parts.iter().for_each(|part| counts.merge(&part.counts));
        let mut summary = ViewSummary { partitions: BTreeMap::new(), counts };
        for name in divided.iter().flat_map(BTreeMap::keys) {
            if !summary.partitions.contains_key(name) {
                let digest = kernel.digest(&merged(&kernel, &parts, &divided, name)?);
                summary.partitions.insert(name.clone(), hex(&digest));
            }
        }
        Ok(summary)
    }
}

/// For each part, which of its rows lie in which partition of the view.
type Divided = Vec<BTreeMap<String, PartitionRows>>;

fn divided(kernel: &CoreKernel, parts: &[Arc<Partials>]) -> Result<Divided, Error> {
    Ok(parts.iter().map(|part| kernel.rows_by_partition(part)).collect::<Result<_, _>>()?)
}

/// One partition of the view, of all parts.
fn merged(kernel: &CoreKernel, parts: &[Arc<Partials>], divided: &Divided, partition: &str) -> Result<Partials, Error> {
    let rows = parts.iter().zip(divided).filter_map(|(part, rows)| Some(part.rows(rows.get(partition)?)));
    let rows: Vec<Partials> = rows.collect();
    Ok(kernel.merge(&rows.iter().collect::<Vec<_>>())?)
}

/// A digest as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rows for the control socket: each table's length (64 bits, little endian) and its Arrow IPC stream.
pub(super) fn encode(kernel: &CoreKernel, partials: &Partials) -> Result<Bytes, Error> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("rows cannot be encoded: {e}"));
    let mut body = Vec::new();
    for table in 0..kernel.tables().len() {
        let batch = to_arrow(&kernel.to_frame(table, partials)?)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(|e| internal(&e))?;
        writer.write(&batch).map_err(|e| internal(&e))?;
        let stream = writer.into_inner().map_err(|e| internal(&e))?;
        body.extend_from_slice(&(stream.len() as u64).to_le_bytes());
        body.extend_from_slice(&stream);
    }
    Ok(body.into())
}

fn decode(kernel: &CoreKernel, mut body: Bytes) -> Result<Partials, Error> {
    let wrong = |what: &dyn std::fmt::Display| Error::Internal(format!("rows cannot be decoded: {what}"));
    let mut frames = Vec::new();
    while body.has_remaining() {
        let bytes = body.try_get_u64_le().map_err(|e| wrong(&e))? as usize;
        if bytes > body.len() {
            return Err(wrong(&"a table is cut off"));
        }
        let reader = StreamReader::try_new(body.split_to(bytes).reader(), None).map_err(|e| wrong(&e))?;
        frames.push(from_arrow(&reader.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e))?)?);
    }
    Ok(kernel.from_frames(frames, ViewCounts::default())?)
}

/// The answer to [`Request::ParityRows`].
pub(super) fn encoded_rows(
    live: &Live,
    question: &ParityQuestion,
    view: &str,
    partition: &str,
) -> Result<Bytes, Error> {
    let rows = live.parity_rows(question, view, partition)?;
    let known = live.project.catalog().materialized().find(|(known, _)| known.name == view);
    let (_, core) = known.ok_or_else(|| Error::usage(format!("there is no view {view:?}")))?;
    encode(&CoreKernel::compile(core, live.project.registry())?, &rows)
}

/// The answer to [`Request::Parity`].
pub(super) fn encoded_summary(live: &Live, question: &ParityQuestion) -> Result<Bytes, Error> {
    let summary = live.parity_summary(question)?;
    serde_json::to_vec(&summary).map(Bytes::from).map_err(|e| Error::Internal(e.to_string()))
}
