//! Making damaged files of the archive anew from the log, before anything else reads the archive.

use watershed_log::LogError;
use watershed_pipelines::decode::{ColumnSet, Decoder, RawRecord};

use super::{options::BatchRun, plan::Plan, scan::read_chunk};
use crate::{
    archive::{self, ArchiveWriter, ArchivedRecord},
    error::{BatchError, Result},
    manifest::{ArchiveFile, SourceState},
};

/// Puts files made anew in the place of the damaged ones in the plan's sources, where the log still has the records. Returns the
/// paths of those that were replaced.
pub(super) fn run(run: &BatchRun<'_>, attempt: &str, plan: &mut Plan) -> Result<Vec<String>> {
    let mut replaced = Vec::new();
    for (source, partition, file) in std::mem::take(&mut plan.damaged_archive) {
        let of = &plan.sources[source].source;
        // Beside what this run may write for the same records.
        let folder = format!("{attempt}/again");
        let nothing = SourceState::default();
        let writer = ArchiveWriter::new(run.store, &folder, &of.name, partition, &nothing, file.end - file.start);
        match copy(run, of, partition, &file, &writer) {
            Ok(()) => {}
            Err(BatchError::Log(error))
                if error.is_of_one_partition() || matches!(error, LogError::BelowStart { .. }) =>
            {
                tracing::warn!(path = file.file.path, %error, "a damaged file of the archive cannot be made anew");
                continue;
            }
            Err(error) => return Err(error),
        }
        let made = writer.finish()?.files;
        if let Some(files) = plan.sources[source].previous.archive.get_mut(&partition)
            && let Some(at) = files.iter().position(|old| *old == file)
        {
            files.splice(at..=at, made);
            replaced.push(file.file.path);
        }
    }
    Ok(replaced)
}

/// Archives the records of a file once more.
fn copy(
    run: &BatchRun<'_>,
    source: &watershed_pipelines::source::Source,
    partition: u32,
    file: &ArchiveFile,
    writer: &ArchiveWriter,
) -> Result<()> {
    let decoder = Decoder::new(source);
    let columns = ColumnSet::all(source);
    let declared: Vec<String> = source.schema.fields.iter().map(|field| field.name.clone()).collect();
    let (mut at, mut number) = (file.start, 0);
    while at < file.end {
        let chunk = read_chunk(run.log, &source.name, partition, at, file.end)?;
        let records: Vec<ArchivedRecord<'_>> = chunk.iter().map(ArchivedRecord::from).collect();
        let raw = records.iter().copied().map(RawRecord::from);
        let decoded = decoder.decode(partition, raw, &columns);
        let dead: Vec<(u64, &str)> = decoded.dead.iter().map(|dead| (dead.offset, dead.reason.as_str())).collect();
        let batch = archive::batch(partition, &records, &decoded.batch.frame, &declared, &dead)?;
        writer.add(number, vec![batch])?;
        number += 1;
        at = chunk.next_offset();
    }
    Ok(())
}
