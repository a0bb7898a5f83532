//! Real processes on free ports and temporary folders, and a plain client to talk to them.

mod contract;
mod redis;
mod starting;
mod wire;

pub use redis::Redis;
pub use starting::Starting;
pub use wire::Wire;

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;
use ureq::{Agent, Body, SendBody, http};

/// Without demonstration data, and soon sure that a silent worker is dead.
const ARGUMENTS: &[&str] = &["--no-demo", "--lease", "2"];

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Origin {
    process: Child,
    client: Client,
    home: Arc<Home>,
}

/// Where processes keep what lasts.
struct Home {
    data: TempDir,
    /// The arguments that name the database.
    database: Vec<String>,
}

#[derive(Clone)]
pub struct Client {
    address: String,
    agent: Agent,
}

pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    headers: http::HeaderMap,
}

impl Origin {
    /// Alone, on a folder of its own, without demonstration data.
    pub fn start() -> Self {
        Self::start_on(&on_any_database())
    }

    /// With these arguments besides.
    pub fn start_with(arguments: &[&str]) -> Self {
        let home = Home::on(&on_any_database());
        let process = home.spawn(&[ARGUMENTS, arguments].concat());
        Self::listening(process, home)
    }

    /// With these arguments besides, for every process and command of its home.
    pub fn start_always_with(arguments: &[String]) -> Self {
        Self::start_on(&[&on_any_database(), arguments].concat())
    }

    /// On the database that these arguments name.
    pub fn start_on(database: &[String]) -> Self {
        let home = Home::on(database);
        let process = home.spawn(ARGUMENTS);
        Self::listening(process, home)
    }

    /// All started before any of them listens, on one folder, with demonstration data.
    pub fn start_together(count: usize) -> Vec<Self> {
        let home = Home::on(&on_any_database());
        let processes: Vec<_> = (0..count).map(|_| home.spawn(&[])).collect();
        processes
            .into_iter()
            .map(|process| Self::listening(process, home.clone()))
            .collect()
    }

    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    pub fn start_again_with(&mut self, arguments: &[&str]) {
        let process = self.home.spawn(&[ARGUMENTS, arguments].concat());
        *self = Self::listening(process, self.home.clone());
    }

    /// The exit code after that signal; `None` when the signal itself was the end.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.ended()
    }

    pub fn signal(&self, signal: &str) {
        send(&self.process, signal);
    }

    /// The exit code, once it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        self.process.wait().expect("our own child").code()
    }

    /// The log's `listening` line names the port; the rest of the log is read so that writing it
    /// never blocks.
    fn listening(mut process: Child, home: Arc<Home>) -> Self {
        let mut log = BufReader::new(process.stderr.take().expect("standard error is piped"));
        let address = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).expect("a log") > 0,
                "it ended before listening"
            );
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if line["event"] == "listening" {
                break line["address"].as_str().expect("an address").to_owned();
            }
            // Where much goes on, a database may be silent for a moment, and answers then.
            if line["event"] != "database_node" {
                assert_ne!(line["level"], "error", "{line}");
            }
        };
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        Self {
            process,
            client: Client {
                address,
                agent: settings.build().into(),
            },
            home,
        }
    }

    /// Another command on the same home; whether it succeeded.
    pub fn run(&self, arguments: &[&OsStr]) -> bool {
        let ran = self.home.command().args(arguments).output();
        ran.expect("the binary starts").status.success()
    }

    /// Another command on the same home, which is not waited for.
    pub fn begin(&self, arguments: &[&OsStr]) -> Child {
        let mut command = self.home.command();
        command.args(arguments).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    }

    /// What a process on the same home says that ends because of these arguments.
    pub fn refused_with(&self, arguments: &[&str]) -> String {
        let process = self.home.spawn(&[ARGUMENTS, arguments].concat());
        let ended = process.wait_with_output().expect("our own child");
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    }

    /// Somebody new, with what every one of them has.
    pub fn register(&self, email: &str) -> String {
        let person = json!({"name": "Ada", "email": email, "password": "correct horse"});
        let reply = self.post("/api/v1/register", None, &person);
        let reply = reply.expect_status(201).json();
        reply["token"].as_str().expect("a token").to_owned()
    }

    /// Somebody new with that role.
    pub fn register_as(&self, role: &str, email: &str) -> String {
        self.register(email);
        let granted = format!("{role}={email}");
        assert!(self.run(&["--grant".as_ref(), granted.as_ref()]));
        let login = json!({"email": email, "password": "correct horse"});
        let reply = self.post("/api/v1/login", None, &login).expect_status(200);
        reply.json()["token"].as_str().expect("a token").to_owned()
    }

    /// A listing of theirs; its path.
    pub fn lend(&self, token: &str, listing: &Value) -> String {
        let reply = self.post("/api/v1/listings", Some(token), listing);
        reply.expect_status(201).header("location").to_owned()
    }

    pub fn address(&self) -> &str {
        &self.client.address
    }

    pub fn data(&self) -> &std::path::Path {
        self.home.data.path()
    }

    /// Ends it as a crash would: nothing is finished, nothing is said.
    pub fn kill(&mut self) {
        self.process.kill().expect("our own child");
        self.process.wait().expect("our own child");
    }

    /// Another process on the same folder.
    pub fn start_another(&self) -> Self {
        let process = self.home.spawn(ARGUMENTS);
        Self::listening(process, self.home.clone())
    }

    /// Another process on the same folder, which may not be able to serve.
    pub fn start_unawaited(&self) -> Starting {
        Starting::on(self.home.clone(), &[])
    }

    pub fn photo_files(&self) -> usize {
        fs::read_dir(self.data().join("photos"))
            .expect("the photos' folder")
            .count()
    }

    pub fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Client {
    pub fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Reply {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.call("POST", path, &headers, body.to_string().as_bytes())
    }

    pub fn patch(&self, path: &str, token: &str, seen: Option<&str>, body: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("authorization", &bearer),
        ];
        headers.extend(seen.map(|etag| ("if-match", etag)));
        self.call("PATCH", path, &headers, body.to_string().as_bytes())
    }

    pub fn upload(&self, listing: &str, token: &str, media_type: &str, photo: &[u8]) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", media_type), ("authorization", &bearer)];
        self.call("POST", &format!("{listing}/photos"), &headers, photo)
    }

    /// Without an announced length.
    pub fn upload_chunked(
        &self,
        listing: &str,
        token: &str,
        media_type: &str,
        photo: &[u8],
    ) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", media_type), ("authorization", &bearer)];
        self.send(
            "POST",
            &format!("{listing}/photos"),
            &headers,
            SendBody::from_owned_reader(std::io::Cursor::new(photo.to_vec())),
        )
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let body = body.to_vec();
        self.send(method, path, headers, body)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ureq::AsSendBody,
    ) -> Reply {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = self.agent.run(request);
        let reply: Reply = answer
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
            .into();
        contract::check(method, path, &reply);
        reply
    }

    pub fn get_as(&self, token: &str, path: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        self.call("GET", path, &[("authorization", &bearer)], b"")
    }

    pub fn put_as(&self, token: &str, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        self.call("PUT", path, &headers, body.to_string().as_bytes())
    }

    pub fn delete_as(&self, token: &str, path: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        self.call("DELETE", path, &[("authorization", &bearer)], b"")
    }

    /// With an Idempotency-Key.
    pub fn post_once(&self, path: &str, token: &str, key: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("idempotency-key", key),
        ];
        self.call("POST", path, &headers, body.to_string().as_bytes())
    }
}

impl Home {
    fn on(database: &[String]) -> Arc<Self> {
        Arc::new(Self {
            data: tempfile::tempdir().expect("a temporary folder"),
            database: database.to_vec(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakh-origin"));
        command.arg("--data").arg(self.data.path());
        command.args(&self.database);
        command
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(["--port", "0"]).args(arguments);
        command.stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }
}

fn send(process: &Child, signal: &str) {
    let process = process.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &process]).status();
    assert!(sent.expect("kill runs").success());
}

/// The one that this binary's tests are about.
fn on_any_database() -> Vec<String> {
    let named = |url| ["--database".to_owned(), url];
    crate::database().into_iter().flat_map(named).collect()
}

impl Deref for Origin {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Reply {
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

impl From<http::Response<Body>> for Reply {
    fn from(answer: http::Response<Body>) -> Self {
        let (head, body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.into_reader()
            .read_to_end(&mut bytes)
            .expect("a whole body");
        Self {
            status: head.status.as_u16(),
            body: bytes,
            headers: head.headers,
        }
    }
}
