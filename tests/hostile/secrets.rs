//! Secrets are planted by every way into the configuration; no output, no log at `trace`, no file and no error has them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::support::{
    command::{Ended, Workplace},
    s3::S3Server,
};

/// What is planted; `+/=` look different in a URL.
const SECRETS: [&str; 3] = ["HUSH-id-7f3a", "HUSH+secret/9c=1b", "HUSH-token-e4d2/=="];
const MARK: &str = "HUSH";

/// An S3 server that tells in its answers whatever it was asked, as servers do where a signature does not fit.
struct Echo {
    url: String,
}

/// How many requests have been echoed.
static ECHOED: AtomicUsize = AtomicUsize::new(0);

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || drop(answer(stream)));
            }
        });
        Echo { url }
    }
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
            request.push_str(&line);
        }
        reader.read_exact(&mut vec![0; length])?;
        let secrets = SECRETS.join("</Secret><Secret>");
        let body = format!(
            "<Error><Code>SignatureDoesNotMatch</Code><Secret>{secrets}</Secret><CanonicalRequest>{request}</CanonicalRequest></Error>"
        );
        // Refused; wrong; failed for now, which is told in the log and tried again.
        let status = ["403 Forbidden", "400 Bad Request", "503 Slow Down"][ECHOED.fetch_add(1, Ordering::Relaxed) % 3];
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n", body.len());
        (&stream).write_all((head + &body).as_bytes())?;
    }
}

/// Checks that a command told no secret; gives back whether it logged what crates of others do.
#[track_caller]
fn discreet(ended: &Ended) -> bool {
    for (stream, text) in [("output", &ended.out), ("error", &ended.err)] {
        if let Some(at) = text.find(MARK) {
            let around: String = text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{} told a secret on standard {stream}: …{around}{}…", ended.line, &text[at..at + 12]);
        }
    }
    ["hyper", "reqwest", "object_store"].iter().any(|name| ended.err.contains(name))
}

/// Checks that no file but the configuration has a secret.
fn check_files(root: &Path) {
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_files(&path);
        } else if path.file_name().is_some_and(|name| name != "watershed.toml") {
            let bytes = fs::read(&path).unwrap_or_default();
            let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

/// The ways of a secret into the configuration.
#[derive(Clone, Copy, Debug)]
enum Way {
    File,
    Environment,
    Flags,
    Amazons,
}

fn place(way: Way, server: &str) -> (Workplace, Vec<String>) {
    let mut place = Workplace::new();
    place.run(["init", "."]).ok();
    let mut store = format!(
        "[store]\nurl = \"s3://bucket/prefix\"\nendpoint = \"{server}\"\nregion = \"us-east-1\"\npath_style = true\nallow_http = true\n\
         retry_timeout = \"200 ms\"\n"
    );
    let keys = ["access_key_id", "secret_access_key", "session_token"];
    let mut flags = Vec::new();
    for (key, secret) in keys.iter().zip(SECRETS) {
        match way {
            Way::File => store.push_str(&format!("{key} = \"{secret}\"\n")),
            Way::Environment => {
                let variable = format!("WATERSHED__STORE__{}", key.to_uppercase());
                place.environment.push((variable, secret.to_owned()));
            }
            Way::Flags => flags.extend(["--set".to_owned(), format!("store.{key}={secret}")]),
            Way::Amazons => {
                let variable = format!("AWS_{}", key.to_uppercase());
                place.environment.push((variable, secret.to_owned()));
            }
        }
    }
    place.configure(&store);
    (place, flags)
}

#[test]
fn no_command_tells_a_secret_even_at_trace_to_a_server_that_echoes() {
    let server = Echo::start();
    let payments = "{\"event_id\":\"1\",\"ts\":\"2026-01-01T00:00:30Z\",\"card\":\"c\",\"amount\":1,\"status\":\"approved\"}\nno\n";
    let (mut tried, mut logged) = (0, 0);
    for way in [Way::File, Way::Environment, Way::Flags, Way::Amazons] {
        let (place, flags) = place(way, &server.url);
        for format in ["plain", "json"] {
            for arguments in [
                vec!["validate", "--config"],
                vec!["append", "payments", "-"],
                vec!["dead-letters", "payments"],
                vec!["status"],
                vec!["epoch"],
                vec!["batch"],
                vec!["query", "SELECT * FROM card_minute"],
                vec!["query", "SELECT nothing FROM card_minute"],
                vec!["verify"],
                vec!["gc"],
                vec!["rejected", "card_minute"],
                vec!["up"],
            ] {
                let mut all = vec!["--log-level", "trace", "--log-format", format];
                all.extend(flags.iter().map(String::as_str));
                all.extend(&arguments);
                logged += usize::from(discreet(&place.run_with(&all, payments.as_bytes())));
                tried += 1;
            }
        }
        check_files(place.path());
    }
    let echoed = ECHOED.load(Ordering::Relaxed);
    eprintln!(
        "secrets: {tried} commands at trace, {logged} with logs of HTTP crates, {echoed} requests echoed: none told"
    );
    assert!(
        logged >= tried / 2 && echoed >= tried / 2,
        "the secrets were hardly in danger: {logged}, {echoed} of {tried}"
    );
}

#[test]
fn no_command_tells_a_secret_at_trace_to_a_real_server() {
    let Some(server) = S3Server::for_test("no_command_tells_a_secret_at_trace_to_a_real_server") else { return };
    let mut place = Workplace::new();
    place.run(["init", "."]).ok();
    server.make_bucket("secrets");
    place.configure(&server.store_section("secrets"));
    let credentials: Vec<(String, String)> =
        server.credentials().map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    place.environment.extend(credentials.clone());
    let payments = place.run(["datagen", "--count", "200", "--start", "2026-03-01T00:00:00Z"]).ok();
    let mut logged = 0;
    for arguments in [
        vec!["append", "payments", "-"],
        vec!["batch"],
        vec!["query", "SELECT COUNT(*) AS n FROM card_minute"],
        vec!["status"],
        vec!["verify"],
        vec!["gc"],
    ] {
        let mut all = vec!["--log-level", "trace", "--log-format", "json"];
        all.extend(&arguments);
        let ended = place.run_with(&all, payments.as_bytes());
        for (name, value) in &credentials {
            let told = ended.err.contains(value.as_str()) || ended.out.contains(value.as_str());
            assert!(!told, "{arguments:?} told {name}");
        }
        logged += ended.err.matches("\"target\":\"hyper").count();
        ended.ok();
    }
    assert!(logged > 0, "nothing of the HTTP client was logged");
}

#[test]
fn mistakes_in_the_configuration_do_not_quote_secrets() {
    let files = [
        "[store]\nsession_token = HUSH",
        "[store]\nsession_token = \"HUSH",
        "[store]\nurl = \"s3://HUSH-user:HUSH-word@bucket/x\"",
        "[store]\nurl = \"s3:HUSH-user:HUSH-word@bucket/x\"",
        "[store]\nurl = \"https://HUSH:HUSH@host/x\"",
        "[store]\nurl = \"s3://bucket/x?X-Amz-Signature=HUSH\"",
        "[store]\nurl = \"s3://bucket\"\nendpoint = \"http://HUSH:HUSH@127.0.0.1:9\"",
        "store = \"s3://HUSH:HUSH@bucket/x\"",
        "[store]\npath_style = \"s3://HUSH:HUSH@bucket/x\"",
        "[store]\nretry_timeout = \"HUSH@x\"",
        "[store]\nsecret_access_key = [\"HUSH\", \"HUSH2\"]",
        "[store]\nsecret_access_key = { inner = \"HUSH\" }",
        "[store]\nsecret_access_key = true\naccess_key_id = \"HUSH-id\"",
        "[store]\nsecret_acess_key = \"HUSH-key\"",
        "[log]\nsecret = \"HUSH-key\"",
        "[store]\naccess_key_id = \"HUSH-id\"",
        "[store]\naccess_key_id = \"HUSH-id\"\naccess_key_id = \"HUSH-id\"",
        "[store\nsecret_access_key = \"HUSH\"",
        "[query]\nmax_bytes = \"HUSH@x\"",
    ];
    let settings = [
        "store.url=s3://HUSH:HUSH@bucket",
        "store.endpoint=http://HUSH@x",
        "store.session_token.x=HUSH",
        "stores.token=HUSH",
    ];
    let mut refused = 0;
    for text in files {
        let place = Workplace::new();
        place.run(["init", "."]).ok();
        place.configure(text);
        for command in ["validate", "status"] {
            let ended = place.run(["--log-level", "trace", command]);
            discreet(&ended);
            ended.fails(2);
        }
        refused += 1;
    }
    for setting in settings {
        let mut place = Workplace::new();
        place.run(["init", "."]).ok();
        let ended = place.run(["--set", setting, "status"]);
        discreet(&ended);
        ended.fails(2);
        let (key, value) = setting.split_once('=').expect("key=value");
        let variable = format!("WATERSHED__{}", key.to_uppercase().replace('.', "__"));
        place.environment.push((variable, value.to_owned()));
        let ended = place.run(["status"]);
        discreet(&ended);
        ended.fails(2);
        refused += 2;
    }
    eprintln!("secrets: {refused} wrong configurations refused without a word of them");
}
