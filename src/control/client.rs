//! The other processes' side.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
};

use super::protocol::{
    ControlError, Frame, REPLY_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MAX, Reply, Request, read_frame, write_frame,
};
use crate::error::Error;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A connection to the holder.
#[derive(Debug)]
pub struct Client {
    writer: OwnedWriteHalf,
    replies: mpsc::Receiver<Result<Frame<Reply>, ControlError>>,
    reading: JoinHandle<()>,
    waiting: usize,
}

impl Client {
    /// Connects to the socket that the lock file names.
    pub async fn connect(path: &Path) -> Result<Client, ControlError> {
        let connected = tokio::time::timeout(CONNECT_WAIT, UnixStream::connect(path)).await;
        let timed_out = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer");
        let connected = connected.unwrap_or_else(|_| Err(timed_out()));
        let (reader, writer) = connected.map_err(ControlError::io("connect to the running process"))?.into_split();
        let (sender, replies) = mpsc::channel(1);
        let reading = tokio::spawn(read(BufReader::new(reader), sender));
        Ok(Client { writer, replies, reading, waiting: 0 })
    }

    /// Sends a request without waiting for its reply, which [`Client::receive`] gives in order. Must be awaited to its end.
    pub async fn send(&mut self, request: &Request, body: &[u8]) -> Result<(), ControlError> {
        // Said here: the other side would only close the connection while this one is still sending.
        if body.len() as u64 > u64::from(REQUEST_BODY_BYTES_MAX) {
            return Err(ControlError::TooLarge { bytes: body.len() as u64, bytes_max: REQUEST_BODY_BYTES_MAX.into() });
        }
        write_frame(&mut self.writer, request, body).await?;
        self.waiting += 1;
        Ok(())
    }

    /// Number of requests that have no reply yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next reply; what failed over there is an error here. Nothing is lost if it is not awaited to its end.
    pub async fn receive(&mut self) -> Result<(Reply, Bytes), Error> {
        let Some(frame) = self.replies.recv().await else {
            self.waiting = 0;
            return Err(ControlError::Closed.into());
        };
        self.waiting = self.waiting.saturating_sub(1);
        let frame = frame?;
        match frame.head {
            Reply::Failed { kind, message } => Err(Error::Remote { kind, message }),
            reply => Ok((reply, frame.body)),
        }
    }

    /// A request and its reply.
    pub async fn ask(&mut self, request: &Request, body: &[u8]) -> Result<(Reply, Bytes), Error> {
        self.send(request, body).await?;
        self.receive().await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads replies in a task of its own, so that whoever waits for one may stop waiting at any moment.
async fn read(mut reader: BufReader<OwnedReadHalf>, replies: mpsc::Sender<Result<Frame<Reply>, ControlError>>) {
    while let Some(frame) = read_frame::<Reply>(&mut reader, REPLY_BODY_BYTES_MAX).await.transpose() {
        let last = frame.is_err();
        if replies.send(frame).await.is_err() || last {
            return;
        }
    }
}
