//! Writing objects under names that nobody else uses.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path as ObjectPath};

use super::{Store, location_of};
use crate::error::{BatchError, Result};

/// Objects larger than this are uploaded in parts.
const PART_BYTES: usize = 16 << 20;
/// Parts that are under way at once.
const PARTS_IN_FLIGHT: usize = 4;

impl Store {
    /// Writes an object under a name that only this attempt uses. It is durable before the next object is created, which may name it.
    ///
    /// Nobody else writes under this name, and objects are whole or not there. So where the answer was a failure, an object of
    /// this length is the one that was sent.
    pub(crate) fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (location, length) = (location_of(path), bytes.len() as u64);
        let written = self.wait(|objects| async move {
            let sent = match bytes.len() <= PART_BYTES {
                true => objects.put(&location, PutPayload::from(bytes)).await.map(|_| ()),
                false => in_parts(&*objects, &location, &bytes, PART_BYTES).await,
            };
            let Err(cause) = sent else { return Ok(()) };
            match objects.head(&location).await {
                Ok(found) if found.size == length => Ok(()),
                _ => Err(cause),
            }
        })?;
        written.map_err(BatchError::store("write", path))?;
        self.local().map_or(Ok(()), |local| local.sync_contents(path))
    }
}

/// Uploads an object in parts. If that fails, the upload is given up, so that the store forgets its parts. (What a killed
/// process leaves is not visible as an object; a lifecycle rule of the bucket clears it away.)
async fn in_parts(
    objects: &dyn ObjectStore,
    location: &ObjectPath,
    bytes: &Bytes,
    part_bytes: usize,
) -> object_store::Result<()> {
    let mut upload = objects.put_multipart(location).await?;
    let parts: Vec<_> = (0..bytes.len())
        .step_by(part_bytes)
        .map(|start| upload.put_part(PutPayload::from(bytes.slice(start..bytes.len().min(start + part_bytes)))))
        .collect();
    let sent = futures::stream::iter(parts).buffer_unordered(PARTS_IN_FLIGHT).try_collect::<Vec<()>>().await;
    let completed = match sent {
        Ok(_) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(cause) = &completed
        && let Err(error) = upload.abort().await
    {
        tracing::debug!(%location, %cause, %error, "could not give up an upload in parts");
    }
    completed
}
