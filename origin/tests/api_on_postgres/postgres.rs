//! A real PostgreSQL for the tests of this binary: one primary that all share, each with a database of its own;
//! and, for those who break things, primaries and streaming replicas for one test alone. It refuses to run
//! as root, so there it runs as nobody. It ends with the process that started it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// Nothing here outlives its test.
const CAREFREE: &[&str] = &["fsync=off", "full_page_writes=off", "max_connections=300"];

pub struct Postgres {
    folder: TempDir,
    port: u16,
    process: Child,
}

/// A database of one's own in the primary that all share.
pub fn database() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let shared = SHARED.get_or_init(Postgres::primary);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let port = shared.port.to_string();
    let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", &name];
    succeed(Command::new(program("createdb")).args(arguments));
    shared.url(&name)
}

/// What the statement gives, as text.
pub fn ask(url: &str, statement: &str) -> String {
    let said = succeed(Command::new(program("psql")).args([url, "-Atc", statement]));
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

/// What a statement has locked, until it is dropped.
pub struct Held(Child);

pub fn hold(url: &str, statement: &str) -> Held {
    let mut command = Command::new(program("psql"));
    command.args([url, "-At"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut session = piped.spawn().expect("psql starts");
    let mut told = session.stdin.as_ref().expect("it is piped");
    writeln!(told, "BEGIN; {statement}; SELECT 'held';").expect("it reads");
    let said = BufReader::new(session.stdout.as_mut().expect("it is piped"));
    let mut lines = said.lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "held"), "it can't be held");
    Held(session)
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its transaction ends with its connection.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Postgres {
    pub fn primary() -> Self {
        Self::primary_with(|_| {})
    }

    /// Takes nobody without TLS. Certificate and key in PEM.
    pub fn behind_tls(certificate: &str, key: &str) -> Self {
        Self::primary_with(|data| {
            let settings = fs::read_to_string(data.join("postgresql.conf")).expect("it is made");
            put(data, "postgresql.conf", &(settings + "\nssl = on\n"));
            put(data, "pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n");
            put(data, "server.crt", certificate);
            put(data, "server.key", key);
        })
    }

    fn primary_with(prepare: impl FnOnce(&Path)) -> Self {
        let folder = folder();
        let options = [
            "-U",
            "postgres",
            "--auth=trust",
            "--locale=C.UTF-8",
            "-E",
            "UTF8",
            "--no-sync",
        ];
        let data = folder.path().join("data");
        succeed(as_somebody("initdb").args(options).arg("-D").arg(&data));
        prepare(&data);
        Self::started(folder, free_port())
    }

    /// Streams from this one.
    pub fn replica(&self) -> Self {
        let folder = folder();
        let port = self.port.to_string();
        let from = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-R",
            "--checkpoint=fast",
            "--no-sync",
        ];
        let data = folder.path().join("data");
        succeed(as_somebody("pg_basebackup").args(from).arg("-D").arg(&data));
        Self::started(folder, free_port())
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// At once, as when its machine fails.
    pub fn stop(&mut self) {
        self.control(&["stop", "-m", "immediate"]);
        self.process.wait().expect("our own child");
    }

    pub fn start_again(&mut self) {
        self.process = start(&self.folder.path().join("data"), self.port);
        self.await_ready();
    }

    /// It does nothing more, but its connections stay.
    pub fn hang(&self) -> Hung {
        let server = self.process.id();
        let children = format!("/proc/{server}/task/{server}/children");
        let children = fs::read_to_string(children).expect("it runs");
        let processes = children.split_whitespace().map(str::to_owned);
        let hung = Hung([server.to_string()].into_iter().chain(processes).collect());
        hung.send("STOP");
        hung
    }

    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    /// What the statement gives, as text.
    pub fn say(&self, statement: &str) -> String {
        let port = self.port.to_string();
        let arguments = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-Atc",
            statement,
        ];
        let said = succeed(Command::new(program("psql")).args(arguments));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    fn control(&self, arguments: &[&str]) {
        let data = self.folder.path().join("data");
        succeed(as_somebody("pg_ctl").args(arguments).arg("-D").arg(data));
    }

    fn started(folder: TempDir, port: u16) -> Self {
        let process = start(&folder.path().join("data"), port);
        let postgres = Self {
            folder,
            port,
            process,
        };
        postgres.await_ready();
        postgres
    }

    fn await_ready(&self) {
        let start = Instant::now();
        let port = self.port.to_string();
        let mut ask = Command::new(program("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        while !ask.status().expect("pg_isready runs").success() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "PostgreSQL does not start"
            );
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// A server that goes on when this is dropped.
pub struct Hung(Vec<String>);

impl Hung {
    fn send(&self, signal: &str) {
        // One of them may have ended by itself.
        let _ = Command::new("kill")
            .args(["-s", signal])
            .args(&self.0)
            .output();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.send("CONT");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children end when it has gone. It may have been stopped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// From a thread that lives as long as this process: the kernel ends a child when the thread that started it
/// ends, and the one of a test does so early.
fn start(data: &Path, port: u16) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, started) in taken {
                let child = command.spawn().expect("postgres starts");
                started.send(child).expect("somebody waits for it");
            }
        });
        orders
    });
    let mut command = as_somebody("postgres");
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    for option in CAREFREE {
        command.args(["-c", option]);
    }
    command
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (started, child) = mpsc::channel();
    starter
        .send((command, started))
        .expect("the thread never ends");
    child.recv().expect("postgres starts")
}

/// One of PostgreSQL's programs, as somebody who isn't root.
fn as_somebody(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        command.args([&user, &group, "--clear-groups"]);
    }
    // Not ours: nobody may not enter it.
    command.current_dir("/").arg(program(name));
    command
}

/// Debian keeps the server's programs out of the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut programs: Vec<_> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.exists())
        .collect();
    programs.sort();
    programs.pop().unwrap_or_else(|| name.into())
}

fn folder() -> TempDir {
    let folder = TempDir::new_in(env::temp_dir()).expect("a temporary folder");
    if is_root() {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("we are root");
    }
    folder
}

/// Into the data folder, for its owner alone.
fn put(data: &Path, name: &str, text: &str) {
    use std::os::unix::fs::{PermissionsExt, chown};
    let file = data.join(name);
    fs::write(&file, text).expect("we may write there");
    if is_root() {
        chown(&file, Some(NOBODY), Some(NOBODY)).expect("we are root");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
