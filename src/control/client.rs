//! The other processes' side.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::protocol::{ControlError, REPLY_BODY_BYTES_MAX, Reply, Request, read_frame, write_frame};
use crate::error::Error;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A connection to the holder.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Requests that have no reply yet.
    waiting: usize,
}

impl Client {
    /// Connects to the socket that the lock file names.
    pub async fn connect(path: &Path) -> Result<Client, ControlError> {
        let connected = tokio::time::timeout(CONNECT_WAIT, UnixStream::connect(path)).await;
        let timed_out = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer");
        let stream = connected
            .unwrap_or_else(|_| Err(timed_out()))
            .map_err(ControlError::io("connect to the running process"))?;
        let (reader, writer) = stream.into_split();
        Ok(Client { reader: BufReader::new(reader), writer, waiting: 0 })
    }

    /// Sends a request without waiting for its reply, which [`Client::receive`] gives in order.
    pub async fn send(&mut self, request: &Request, body: &[u8]) -> Result<(), ControlError> {
        write_frame(&mut self.writer, request, body).await?;
        self.waiting += 1;
        Ok(())
    }

    /// Number of requests that have no reply yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next reply; what failed over there is an error here.
    pub async fn receive(&mut self) -> Result<(Reply, Bytes), Error> {
        let frame = read_frame::<Reply>(&mut self.reader, REPLY_BODY_BYTES_MAX).await?.ok_or(ControlError::Closed)?;
        self.waiting = self.waiting.saturating_sub(1);
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
