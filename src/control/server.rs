//! The holder's side.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use super::{
    impatient::{Impatient, StallTimeout},
    protocol::{ControlError, Frame, REQUEST_BODY_BYTES_MAX, Reply, Request, read_header, read_rest, write_frame},
    socket::ControlSocket,
};
use crate::error::{Error, Kind};

/// Connections served at the same time; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// Requests of one connection under way at the same time; further ones wait in the socket.
const PIPELINED_MAX: usize = 8;
/// Bytes of requests under way at the same time, those of all connections together; further ones wait in their sockets.
const REQUEST_BYTES_MAX: usize = 256 << 20;
const BYTES_PER_PERMIT: usize = 1 << 10;
/// Requests up to this size are not counted.
const SMALL_BYTES: usize = 64 << 10;
/// How long a peer may neither send the rest of a request nor take anything of a reply; then its connection ends, so that it does
/// not keep what others wait for.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// The same where others wait for what its reply holds ([`Holder::is_waited_for`]).
const STALLED_MIN: Duration = Duration::from_secs(1);
/// How long a shutdown waits for replies under way.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Does what requests ask.
pub trait Holder: Send + Sync + 'static {
    /// Starts a request and gives its reply later. Called in the order of a connection's requests; replies go out in that
    /// order, too.
    fn handle(self: Arc<Self>, request: Request, body: Bytes) -> BoxFuture<'static, Result<(Reply, Bytes), Error>>;

    /// Whether requests wait for what replies hold until they have been taken.
    fn is_waited_for(&self) -> bool {
        false
    }
}

/// A running server. Dropping it stops it at once; [`Server::shutdown`] lets requests under way finish.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `socket` until stopped.
    pub fn start(socket: ControlSocket, holder: Arc<impl Holder>) -> Server {
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(socket, holder, stopped));
        Server { stop, accepting }
    }

    /// Takes no further requests, waits for the replies under way, and removes the socket.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(SHUTDOWN_WAIT, &mut self.accepting).await.is_err() {
            tracing::warn!("some control requests did not finish in time");
            self.accepting.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(socket: ControlSocket, holder: Arc<impl Holder>, mut stopped: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let bytes = Arc::new(Semaphore::new(REQUEST_BYTES_MAX / BYTES_PER_PERMIT));
    let mut serving = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { break };
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = socket.listener.accept() => accepted,
        };
        while serving.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !is_allowed(&stream, socket.owner_uid) {
            tracing::warn!("refused a control connection of another user");
            continue;
        }
        let (holder, stopped, bytes) = (Arc::clone(&holder), stopped.clone(), Arc::clone(&bytes));
        serving.spawn(async move {
            let _permit = permit;
            if let Err(error) = serve(stream, holder, stopped, bytes).await {
                tracing::debug!(%error, "a control connection ended");
            }
        });
    }
    drop(socket);
    while serving.join_next().await.is_some() {}
}

/// The file's mode already keeps other users out; this also holds where the mode is not looked at.
fn is_allowed(stream: &UnixStream, owner_uid: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == owner_uid || peer.uid() == 0)
}

async fn serve(
    stream: UnixStream,
    holder: Arc<impl Holder>,
    mut stopped: watch::Receiver<bool>,
    bytes: Arc<Semaphore>,
) -> Result<(), ControlError> {
    let (mut reader, mut writer) = stream.into_split();
    let waited_for = Arc::clone(&holder);
    let is_waited_for = Arc::new(move || waited_for.is_waited_for());
    let hurried = StallTimeout { most: STALLED_MAX, least: STALLED_MIN, is_waited_for };
    let (queue, mut replies) = mpsc::channel::<BoxFuture<'static, Result<(Reply, Bytes), Error>>>(PIPELINED_MAX);
    let read = async move {
        loop {
            let frame = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                frame = read_request(&mut reader, &bytes) => frame,
            };
            let (reply, last) = match frame {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => (Arc::clone(&holder).handle(frame.head, frame.body), false),
                // The stream is out of step after this: say why, then close.
                Err(error) => (failed(error), true),
            };
            if queue.send(reply).await.is_err() || last {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some(reply) = replies.recv().await {
            // A reply under way must go on even if its future panics in a task of its own; here it is only awaited.
            let (reply, body) = match reply.await {
                Ok(reply) => reply,
                Err(error) => (Reply::Failed { kind: error.kind(), message: error.to_string() }, Bytes::new()),
            };
            // Only a body holds what others may wait for.
            let timeout = if body.is_empty() { StallTimeout::of(STALLED_MAX) } else { hurried.clone() };
            write_frame(&mut Impatient::new(&mut writer, timeout), &reply, &body).await?;
        }
        Ok(())
    };
    let (read, write): (Result<(), ControlError>, Result<(), ControlError>) = tokio::join!(read, write);
    read.and(write)
}

/// A request, whose body holds a part of [`REQUEST_BYTES_MAX`] until it has been dealt with.
async fn read_request(
    reader: &mut OwnedReadHalf,
    bytes: &Arc<Semaphore>,
) -> Result<Option<Frame<Request>>, ControlError> {
    let Some(header) = read_header(reader, REQUEST_BODY_BYTES_MAX).await? else { return Ok(None) };
    let wanted = header.head_bytes as usize + header.body_bytes as usize;
    // Those of all connections together are few: questions need not wait behind records.
    let counted = if wanted <= SMALL_BYTES { 0 } else { wanted.div_ceil(BYTES_PER_PERMIT) };
    let permits = u32::try_from(counted).unwrap_or(u32::MAX);
    let permit = Arc::clone(bytes).acquire_many_owned(permits).await.map_err(|_| ControlError::Closed)?;
    let mut patient = Impatient::new(reader, StallTimeout::of(STALLED_MAX));
    let Frame { head, body } = read_rest::<Request>(&mut patient, header).await?;
    let body = if body.is_empty() { body } else { Bytes::from_owner(Received { body, _permit: permit }) };
    Ok(Some(Frame { head, body }))
}

/// A request's body, and its part of [`REQUEST_BYTES_MAX`].
struct Received {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn failed(error: ControlError) -> BoxFuture<'static, Result<(Reply, Bytes), Error>> {
    let reply = Reply::Failed { kind: Kind::Failure, message: error.to_string() };
    std::future::ready(Ok((reply, Bytes::new()))).boxed()
}
