//! The holder's side.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    net::UnixStream,
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use super::{
    protocol::{ControlError, REQUEST_BODY_BYTES_MAX, Reply, Request, read_frame, write_frame},
    socket::ControlSocket,
};
use crate::error::{Error, Kind};

/// Connections served at the same time; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// Requests of one connection under way at the same time; further ones wait in the socket.
const PIPELINED_MAX: usize = 8;
/// How long a shutdown waits for replies under way.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Does what requests ask.
pub trait Holder: Send + Sync + 'static {
    /// Starts a request and gives its reply later. Called in the order of a connection's requests; replies go out in that
    /// order, too.
    fn handle(self: Arc<Self>, request: Request, body: Bytes) -> BoxFuture<'static, Result<(Reply, Bytes), Error>>;
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
        let (holder, stopped) = (Arc::clone(&holder), stopped.clone());
        serving.spawn(async move {
            let _permit = permit;
            if let Err(error) = serve(stream, holder, stopped).await {
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
) -> Result<(), ControlError> {
    let (mut reader, mut writer) = stream.into_split();
    let (queue, mut replies) = mpsc::channel::<BoxFuture<'static, Result<(Reply, Bytes), Error>>>(PIPELINED_MAX);
    let read = async move {
        loop {
            let frame = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                frame = read_frame::<Request>(&mut reader, REQUEST_BODY_BYTES_MAX) => frame,
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
            write_frame(&mut writer, &reply, &body).await?;
        }
        Ok(())
    };
    let (read, write): (Result<(), ControlError>, Result<(), ControlError>) = tokio::join!(read, write);
    read.and(write)
}

fn failed(error: ControlError) -> BoxFuture<'static, Result<(Reply, Bytes), Error>> {
    let reply = Reply::Failed { kind: Kind::Failure, message: error.to_string() };
    std::future::ready(Ok((reply, Bytes::new()))).boxed()
}
