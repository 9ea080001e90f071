//! A proxy in front of the S3 server that does to requests what networks and overloaded servers do to them.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::s3::S3Server;

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The proxy answers with an error of S3.
    Answer {
        /// The status.
        status: u16,
        /// The code in the body.
        code: &'static str,
        /// The header `Retry-After`.
        retry_after: Option<&'static str>,
        /// Whether the server has done what was asked before.
        after_effect: bool,
    },
    /// The connection is reset before the request reaches the server.
    ResetBefore,
    /// The server does what was asked, and the connection is reset.
    ResetAfter,
    /// The answer breaks off in the middle of its body; one without a body, in the middle of its head.
    Cut,
    /// The answer says that it is half as long as it is, and ends there.
    Short,
    /// The answer says that it is longer than it is.
    Long,
    /// The request reaches the server only after this time.
    Slow(Duration),
    /// A listing is answered as it was so many times ago: what was written since is not in it yet, and what was deleted still is.
    Stale(usize),
    /// There is no answer until the client goes away. The server has not seen the request.
    Hang,
}

impl Fault {
    /// An error that the server answers without doing anything.
    pub const fn refuse(status: u16, code: &'static str) -> Fault {
        Fault::Answer { status, code, retry_after: None, after_effect: false }
    }

    /// An error that is answered although the server has done what was asked.
    pub const fn deny(status: u16, code: &'static str) -> Fault {
        Fault::Answer { status, code, retry_after: None, after_effect: true }
    }
}

/// A request as a plan sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `PUT` …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// When it came.
    pub at: Instant,
    /// What the plan had happen to it.
    pub fault: Option<Fault>,
}

impl Asked {
    /// Whether it asks for a listing.
    pub fn is_listing(&self) -> bool {
        self.method == "GET" && self.path.contains("list-type=")
    }
}

/// Says what happens to a request.
type Plan = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

struct Shared {
    server: SocketAddr,
    plan: Mutex<Plan>,
    asked: Mutex<Vec<Asked>>,
    /// By path: what the server answered lately, the latest last.
    listings: Mutex<HashMap<String, VecDeque<Listing>>>,
    manifests: AtomicUsize,
}

/// The proxy. It runs until the process ends.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// A proxy in front of `server` that passes everything on.
    pub fn new(server: &S3Server) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            server: server.address(),
            plan: Mutex::new(Box::new(|_| None)),
            asked: Mutex::default(),
            listings: Mutex::default(),
            manifests: AtomicUsize::new(0),
        });
        let of_threads = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_threads);
                // A client that goes away ends its thread.
                thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        FaultProxy { address, shared }
    }

    /// `http://…`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, `plan` says what happens to each request.
    pub fn plan(&self, plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        *locked(&self.shared.plan) = Box::new(plan);
        locked(&self.shared.asked).clear();
    }

    /// From now on, everything is passed on.
    pub fn calm(&self) {
        self.plan(|_| None);
    }

    /// The requests since the plan was made.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.shared.asked).clone()
    }

    /// How many requests met a fault since the plan was made.
    pub fn faults(&self) -> usize {
        locked(&self.shared.asked).iter().filter(|asked| asked.fault.is_some()).count()
    }
}

/// Listings of one path that are remembered.
const LISTINGS_MAX: usize = 4;

/// A listing, and how many manifests had been created before.
#[derive(Clone)]
struct Listing {
    answer: Message,
    manifests: usize,
}

impl Shared {
    /// Has the server do what was asked.
    fn forward(&self, asked: &Asked, request: &Message) -> io::Result<Message> {
        let answer = forward(self.server, request)?;
        if !answer.head.starts_with(b"HTTP/1.1 200") {
            return Ok(answer);
        }
        if asked.method == "PUT" && asked.path.contains("/manifests/") {
            self.manifests.fetch_add(1, Ordering::SeqCst);
        }
        if asked.is_listing() {
            let mut listings = locked(&self.listings);
            let known = listings.entry(asked.path.clone()).or_default();
            known.push_back(Listing { answer: answer.clone(), manifests: self.manifests.load(Ordering::SeqCst) });
            if known.len() > LISTINGS_MAX {
                known.pop_front();
            }
        }
        Ok(answer)
    }

    /// The answer that the same listing had so many times ago, or the oldest that is remembered. One of manifests does not lag behind
    /// by more than as many manifests.
    fn stale(&self, asked: &Asked, times: usize) -> Option<Message> {
        let listings = locked(&self.listings);
        let known = listings.get(&asked.path)?;
        let found = known.get(known.len().saturating_sub(times))?;
        let behind = self.manifests.load(Ordering::SeqCst) - found.manifests;
        (!asked.path.contains("manifests") || behind <= times).then(|| found.answer.clone())
    }
}

/// A request or an answer.
#[derive(Clone)]
struct Message {
    /// The first line and the headers, with the empty line at the end.
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Reads one request; `None` when the client has closed the connection.
fn read_request(client: &mut TcpStream) -> io::Result<Option<(Message, Asked)>> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(length) = request.parse(&bytes).map_err(io::Error::other)? {
            let header = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            assert!(header("transfer-encoding").is_none(), "the client says how long its requests are");
            let body_length = header("content-length").map_or(0, |header| {
                std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).expect("a length")
            });
            let (method, path) =
                (request.method.expect("a method").to_owned(), request.path.expect("a path").to_owned());
            let mut body = bytes.split_off(length);
            let read = body.len();
            body.resize(body_length, 0);
            client.read_exact(&mut body[read..])?;
            let asked = Asked { method, path, at: Instant::now(), fault: None };
            return Ok(Some((Message { head: bytes, body }, asked)));
        }
        let mut more = [0; 8192];
        match client.read(&mut more)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&more[..read]),
        }
    }
}

/// Has the server do what was asked.
fn forward(server: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server)?;
    let head = String::from_utf8_lossy(&request.head);
    // One request for each connection: so the answer ends where the connection does.
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head = lines.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    match httparse::Response::new(&mut headers).parse(&answer).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => {
            let body = answer.split_off(length);
            Ok(Message { head: answer, body })
        }
        httparse::Status::Partial => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    while let Some((request, mut asked)) = read_request(&mut client)? {
        let fault = (locked(&shared.plan))(&asked);
        asked.fault = fault;
        locked(&shared.asked).push(asked.clone());
        match fault {
            Some(Fault::Answer { status, code, retry_after, after_effect }) => {
                if after_effect {
                    shared.forward(&asked, &request)?;
                }
                client.write_all(&error_answer(status, code, retry_after))?;
            }
            Some(Fault::ResetBefore) => return reset(client),
            Some(Fault::Hang) => {
                // Reading gives something, or an end, only when the client does not wait any more.
                let _ = client.read(&mut [0]);
                return Ok(());
            }
            Some(Fault::Slow(time)) => {
                thread::park_timeout(time);
                return pass_on(client, &shared.forward(&asked, &request)?);
            }
            Some(Fault::Stale(times)) => {
                let now = shared.stale(&asked, times).map_or_else(|| shared.forward(&asked, &request), Ok)?;
                return pass_on(client, &now);
            }
            None => return pass_on(client, &shared.forward(&asked, &request)?),
            Some(of_answer) => {
                let answer = shared.forward(&asked, &request)?;
                return spoil(client, &answer, of_answer);
            }
        }
    }
    Ok(())
}

fn pass_on(mut client: TcpStream, answer: &Message) -> io::Result<()> {
    client.write_all(&answer.head)?;
    client.write_all(&answer.body)
}

/// Closes the connection as one that has failed.
fn reset(client: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))
}

fn spoil(mut client: TcpStream, answer: &Message, fault: Fault) -> io::Result<()> {
    let half = answer.body.len() / 2;
    match fault {
        Fault::ResetAfter => return reset(client),
        Fault::Cut if answer.body.is_empty() => client.write_all(&answer.head[..answer.head.len() / 2])?,
        Fault::Cut => {
            client.write_all(&answer.head)?;
            client.write_all(&answer.body[..half])?;
        }
        Fault::Short => {
            client.write_all(&with_length(&answer.head, half))?;
            client.write_all(&answer.body[..half])?;
        }
        Fault::Long => {
            client.write_all(&with_length(&answer.head, answer.body.len() + 100))?;
            client.write_all(&answer.body)?;
        }
        other => unreachable!("{other:?} is not about the answer"),
    }
    Ok(())
}

/// The head with another `Content-Length`.
fn with_length(head: &[u8], length: usize) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let is_length = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-length:") || line.starts_with("transfer-encoding:")
    };
    let lines = head.trim_end().lines().filter(|line| !is_length(line));
    (lines.collect::<Vec<_>>().join("\r\n") + &format!("\r\nContent-Length: {length}\r\n\r\n")).into_bytes()
}

fn error_answer(status: u16, code: &str, retry_after: Option<&str>) -> Vec<u8> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a fault of the tests</Message></Error>");
    let retry_after = retry_after.map(|value| format!("Retry-After: {value}\r\n")).unwrap_or_default();
    let length = body.len();
    format!("HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n{retry_after}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
