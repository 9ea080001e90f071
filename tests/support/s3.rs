//! A real S3 server on this machine: SeaweedFS, shared by the tests of one run.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    tools::{Tools, leave_out, support},
    wait,
};

/// Access key of the tests' server.
pub const ACCESS_KEY: &str = "watershed-test-key";
/// Secret key of the tests' server.
pub const SECRET_KEY: &str = "watershed-test-secret-7d1f";
const PORTS: [&str; 8] = [
    "-master.port",
    "-master.port.grpc",
    "-volume.port",
    "-volume.port.grpc",
    "-filer.port",
    "-filer.port.grpc",
    "-s3.port",
    "-s3.port.grpc",
];

/// A running server. It ends with the process of the tests, whose end of the pipe to it then closes.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    filer: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

impl S3Server {
    /// The server, started on first use. `None`: `test` must be left out, which has been said.
    pub fn for_test(test: &str) -> Option<&'static S3Server> {
        static SERVER: OnceLock<Result<S3Server, String>> = OnceLock::new();
        let tools = Tools::for_test(test)?;
        match SERVER.get_or_init(|| start(tools)) {
            Ok(server) => Some(server),
            Err(why) => {
                leave_out(test, why);
                None
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket: to the server, a folder of its filer.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn make_bucket(&self, bucket: &str) {
        let answer = request(self.filer, "POST", &format!("/buckets/{bucket}/")).expect("the filer answers");
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// The `[store]` section of a configuration that uses `bucket`; credentials come from [`S3Server::credentials`].
    pub fn store_section(&self, bucket: &str) -> String {
        format!(
            "[store]\nurl = \"s3://{bucket}/watershed\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\npath_style = true\n\
             allow_http = true\n",
            self.endpoint()
        )
    }

    /// Environment variables with the credentials.
    pub fn credentials(&self) -> [(&'static str, &'static str); 2] {
        [("WATERSHED__STORE__ACCESS_KEY_ID", ACCESS_KEY), ("WATERSHED__STORE__SECRET_ACCESS_KEY", SECRET_KEY)]
    }
}

fn start(tools: &Tools) -> Result<S3Server, String> {
    let directory = TempDir::new().map_err(|e| e.to_string())?;
    let identities = serde_json::json!({"identities": [{
        "name": "watershed",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let identities_file = directory.path().join("identities.json");
    std::fs::write(&identities_file, identities.to_string()).map_err(|e| e.to_string())?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data).map_err(|e| e.to_string())?;

    // The ports are free now; that nothing takes them before the server does is likely, not certain: hence three tries.
    let mut last = String::new();
    for _ in 0..3 {
        let listeners: Vec<_> = (0..PORTS.len())
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let ports: Vec<u16> = listeners
            .iter()
            .map(|l| l.local_addr().map(|a| a.port()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        drop(listeners);
        let log = directory.path().join("server.log");
        let mut process = Command::new("python3")
            .arg(support().join("while_open.py"))
            .arg(&log)
            .arg(tools.program("weed"))
            .arg("server")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=50", "-s3"])
            .args(["-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", identities_file.display()))
            .args(PORTS.iter().zip(&ports).map(|(flag, port)| format!("{flag}={port}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start weed: {e}"))?;
        let [filer, address] = [ports[4], ports[6]].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // It is ready when it knows whom to refuse.
        let ready = wait::until("the S3 server", || match process.try_wait() {
            Ok(None) => answers(address).then_some(true),
            _ => Some(false),
        });
        if ready {
            return Ok(S3Server { address, filer, _process: process, _directory: directory });
        }
        last = std::fs::read_to_string(&log).unwrap_or_default();
    }
    Err(format!("weed server ends at once: {last}"))
}

/// Whether the server answers as one that knows its identities.
fn answers(address: SocketAddr) -> bool {
    request(address, "GET", "/some-bucket").is_ok_and(|answer| answer.starts_with("HTTP/1.1 403"))
}

fn request(address: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
