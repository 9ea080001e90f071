//! Appending, from any process: with the lock, or through the process that holds it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::Mutex;
use watershed_log::{LockHolder, LogError, Numbering, lock_holder};

use super::{Project, holder::LogHolder};
use crate::{
    config::Durability,
    control::{
        Acknowledged, Client, ControlError, ControlSocket, ProducerRecords, Reply, Request, Server, encode_payloads,
    },
    error::Error,
};

/// How often, and how far apart, the lock and its holder are tried: a holder may be just starting or just ending.
pub(super) const ATTEMPTS_MAX: u32 = 100;
pub(super) const ATTEMPT_WAIT: Duration = Duration::from_millis(20);
/// How long a process is waited for that holds the lock for a moment: one that creates tables, with thousands of partitions perhaps.
const MOMENT_MAX: Duration = Duration::from_secs(60);

/// With others that are in the way.
pub(super) struct Patience {
    attempts: u32,
    began: Instant,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { attempts: 0, began: Instant::now() }
    }

    /// Whether to try again, now that this one holds the lock.
    pub(super) fn lasts(&mut self, holder: Option<&LockHolder>) -> bool {
        if let Some(LockHolder { socket: None, .. }) = holder {
            return self.began.elapsed() < MOMENT_MAX;
        }
        self.attempts += 1;
        self.attempts < ATTEMPTS_MAX
    }
}

/// Bytes of payloads that one request carries, if not one payload alone is larger.
const PIECE_BYTES: usize = 8 << 20;
/// Payloads of one request.
const PIECE_PAYLOADS: usize = 256 << 10;

/// A way into the log.
///
/// The first process that asks holds the log's lock, and a control socket on which it appends for others, until its writer is
/// closed or dropped.
#[derive(Debug)]
pub struct Writer {
    route: Route,
}

enum Route {
    Local { holder: Arc<LogHolder>, server: Option<Server> },
    Remote(Mutex<Client>),
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Route::Local { .. } => "Local",
            Route::Remote(_) => "Remote",
        })
    }
}

impl Project {
    /// A way into the log: its lock if it is free, else the process that holds it.
    pub async fn writer(&self) -> Result<Writer, Error> {
        let (mut pid, mut patience) = (None, Patience::new());
        loop {
            let holder = self.lock_holder()?;
            match &holder {
                Some(LockHolder { socket: Some(socket), .. }) => {
                    if let Ok(client) = Client::connect(socket).await {
                        return Ok(Writer { route: Route::Remote(Mutex::new(client)) });
                    }
                }
                Some(LockHolder { socket: None, .. }) => {}
                None => match self.local_writer().await {
                    Err(Error::Log(LogError::Locked { .. })) => {}
                    other => return other,
                },
            }
            pid = holder.as_ref().map(|holder| holder.pid).or(pid);
            if !patience.lasts(holder.as_ref()) {
                break;
            }
            tokio::time::sleep(ATTEMPT_WAIT).await;
        }
        let by = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        Err(Error::Busy(format!(
            "the log is held by {by}, which does not answer on its control socket; stop it, or wait for it"
        )))
    }

    /// Takes the log's lock, and serves the control socket.
    pub(super) async fn local_writer(&self) -> Result<Writer, Error> {
        let directory = self.log_directory();
        // Bound before the lock is taken, so that whoever reads the lock file can connect.
        let socket = ControlSocket::bind(&directory)?;
        let log = self.open_log_writer(Some(socket.path().to_owned()))?;
        socket.remove_stale(&directory);
        let holder = Arc::new(LogHolder::new(self.clone(), log));
        let server = Server::start(socket, Arc::clone(&holder));
        Ok(Writer { route: Route::Local { holder, server: Some(server) } })
    }

    /// Takes the log's lock as soon as those who hold it for a moment let go: an append, a reader that creates a new table. A
    /// process that runs the speed layer holds it for long.
    pub(super) async fn lasting_writer(&self) -> Result<Writer, Error> {
        let mut patience = Patience::new();
        loop {
            match self.local_writer().await {
                Err(Error::Log(LogError::Locked { .. })) => {}
                other => return other,
            }
            let is_live = matches!(self.ask_holder(&Request::Status).await?, Some((Reply::Live { .. }, _)));
            if is_live || !patience.lasts(self.lock_holder()?.as_ref()) {
                return self.local_writer().await;
            }
            tokio::time::sleep(ATTEMPT_WAIT).await;
        }
    }

    /// Who writes to the log at this moment.
    pub(super) fn lock_holder(&self) -> Result<Option<LockHolder>, Error> {
        Ok(lock_holder(self.log_directory())?)
    }

    /// Asks the process that holds the log; `None` if there is none, or it does not answer.
    pub(super) async fn ask_holder(&self, request: &Request) -> Result<Option<(Reply, Bytes)>, Error> {
        let Some(LockHolder { socket: Some(socket), .. }) = self.lock_holder()? else { return Ok(None) };
        let Ok(mut client) = Client::connect(&socket).await else { return Ok(None) };
        match client.ask(request, &[]).await {
            // It ended in this moment.
            Err(Error::Control(ControlError::Closed)) => Ok(None),
            other => other.map(Some),
        }
    }
}

impl Writer {
    /// Appends records to a table and waits until they are durable as asked (as configured, if `durability` is `None`).
    pub async fn append(
        &self,
        table: &str,
        payloads: Vec<Bytes>,
        durability: Option<Durability>,
    ) -> Result<Acknowledged, Error> {
        self.route(table, payloads, durability, None).await
    }

    /// Appends those of a producer's records that the log does not have, and waits likewise. The producer numbers its records of
    /// the table 0, 1, 2, …; these are the ones from `numbering.first` on. What was not acknowledged can be sent again, by this or
    /// any other process, with the same numbers.
    pub async fn append_numbered(
        &self,
        table: &str,
        numbering: Numbering,
        payloads: Vec<Bytes>,
        durability: Option<Durability>,
    ) -> Result<Acknowledged, Error> {
        self.route(table, payloads, durability, Some(numbering)).await
    }

    async fn route(
        &self,
        table: &str,
        payloads: Vec<Bytes>,
        durability: Option<Durability>,
        numbering: Option<Numbering>,
    ) -> Result<Acknowledged, Error> {
        match &self.route {
            Route::Local { holder, .. } => holder.submit(table, payloads, durability, numbering).await,
            Route::Remote(client) => {
                let mut client = client.lock().await;
                let mut all = Acknowledged::default();
                let mut sent = 0;
                for piece in pieces(payloads) {
                    let numbering = numbering
                        .as_ref()
                        .map(|of| Numbering { producer: of.producer.clone(), first: of.first + sent });
                    sent += piece.len() as u64;
                    let request = append_request(table, durability, numbering);
                    let (reply, _) = client.ask(&request, &encode_payloads(&piece)).await?;
                    all.merge(&acknowledged(reply)?);
                }
                Ok(all)
            }
        }
    }

    /// Records an epoch at the head, and returns its number.
    pub async fn epoch(&self) -> Result<u64, Error> {
        match &self.route {
            Route::Local { holder, .. } => Ok(Arc::clone(holder).epoch().await?.number),
            Route::Remote(client) => match client.lock().await.ask(&Request::Epoch, &[]).await?.0 {
                Reply::Epoch { number } => Ok(number),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// Whether this process holds the log's lock.
    pub fn is_local(&self) -> bool {
        matches!(self.route, Route::Local { .. })
    }

    pub(super) fn holder(&self) -> Option<&Arc<LogHolder>> {
        match &self.route {
            Route::Local { holder, .. } => Some(holder),
            Route::Remote(_) => None,
        }
    }

    /// Begins to append without waiting for each acknowledgement.
    pub(super) fn pipeline(&mut self) -> Pipeline<'_> {
        match &mut self.route {
            Route::Local { holder, .. } => Pipeline::Local { holder, waiting: FuturesOrdered::new() },
            Route::Remote(client) => Pipeline::Remote(client.get_mut()),
        }
    }

    /// Lets requests of other processes finish, then writes and syncs what is queued and gives the lock back.
    pub async fn close(self) -> Result<(), Error> {
        if let Route::Local { holder, server } = self.route {
            if let Some(server) = server {
                server.shutdown().await;
            }
            let log = Arc::clone(&holder.log);
            super::blocking(move || Ok(log.close()?)).await?;
        }
        Ok(())
    }
}

/// Appends under way. Acknowledgements come in the order of the appends.
pub(super) enum Pipeline<'a> {
    Local { holder: &'a LogHolder, waiting: FuturesOrdered<BoxFuture<'static, Result<Acknowledged, Error>>> },
    Remote(&'a mut Client),
}

impl Pipeline<'_> {
    /// Appends without waiting. Must be awaited to its end.
    pub async fn send(
        &mut self,
        table: &str,
        payloads: Vec<Bytes>,
        durability: Option<Durability>,
        numbering: Option<Numbering>,
    ) -> Result<(), Error> {
        match self {
            Pipeline::Local { holder, waiting } => {
                waiting.push_back(holder.submit(table, payloads, durability, numbering));
            }
            Pipeline::Remote(client) => {
                client.send(&append_request(table, durability, numbering), &encode_payloads(&payloads)).await?;
            }
        }
        Ok(())
    }

    /// Appends that are not acknowledged.
    pub fn waiting(&self) -> usize {
        match self {
            Pipeline::Local { waiting, .. } => waiting.len(),
            Pipeline::Remote(client) => client.waiting(),
        }
    }

    /// The next acknowledgement. May be given up at any moment.
    pub async fn receive(&mut self) -> Result<Acknowledged, Error> {
        match self {
            Pipeline::Local { waiting, .. } => waiting.next().await.unwrap_or(Ok(Acknowledged::default())),
            Pipeline::Remote(client) => acknowledged(client.receive().await?.0),
        }
    }
}

/// Payloads in requests of a size that the control socket takes.
fn pieces(payloads: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut pieces: Vec<Vec<Bytes>> = Vec::new();
    let mut bytes = PIECE_BYTES;
    let is_full = |pieces: &[Vec<Bytes>]| pieces.last().is_none_or(|piece| piece.len() == PIECE_PAYLOADS);
    for payload in payloads {
        if bytes + payload.len() > PIECE_BYTES || is_full(&pieces) {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += payload.len() + 4;
        pieces.last_mut().into_iter().for_each(|piece| piece.push(payload.clone()));
    }
    pieces
}

fn append_request(table: &str, durability: Option<Durability>, numbering: Option<Numbering>) -> Request {
    let producer =
        numbering.map(|Numbering { producer, first }| ProducerRecords { id: producer.as_str().to_owned(), first });
    Request::Append { source: table.to_owned(), fsync: durability.map(|d| d == Durability::Fsync), producer }
}

fn acknowledged(reply: Reply) -> Result<Acknowledged, Error> {
    match reply {
        Reply::Appended(acknowledged) => Ok(acknowledged),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::Control(ControlError::Malformed(format!("this reply does not fit the request: {reply:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_into_requests_and_keep_their_order() {
        for sizes in [
            vec![],
            vec![0; 5],
            vec![0; PIECE_PAYLOADS + 1],
            vec![10 << 20, 1, 1],
            vec![3 << 20; 7],
            vec![1, 64 << 20, 1],
        ] {
            let payloads: Vec<Bytes> = sizes.iter().map(|&bytes| vec![0u8; bytes].into()).collect();
            let pieces = pieces(payloads.clone());
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            assert!(pieces.iter().all(|piece| piece.len() == 1 || encode_payloads(piece).len() <= PIECE_BYTES + 64));
            assert_eq!(pieces.concat(), payloads);
        }
    }
}
