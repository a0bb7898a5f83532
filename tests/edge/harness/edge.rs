//! The real binary, started as its operators start it.

use super::client::{Client, Reply, get};
use super::{Origin, PATIENCE, eventually, ports};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running edge. Its configuration is what the test writes, and what no test cares about:
/// one listener and the admin one, each on a free port.
///
/// In the text `$0`, `$1` … are the origins' addresses, `$dir` is a folder of this edge's own,
/// `$lakh_origin` the origin's binary and `$ports` the first of three free ports.
pub struct Edge {
    pub web: SocketAddr,
    pub admin: SocketAddr,
    pub dir: PathBuf,
    pub pid: u32,
    words: Vec<(String, String)>,
    child: Child,
    stdout: Captured,
    stderr: Captured,
    heirs: Vec<u32>,
    was_ready: bool,
}

/// What is in `$dir/token`, and what these tests send to the admin listener.
pub const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

type Captured = Arc<Mutex<Vec<u8>>>;

impl Edge {
    #[track_caller]
    pub fn start(yaml: &str, origins: &[&Origin]) -> Edge {
        // Another process may have taken the port since it was found free.
        let try_start = |_| {
            let mut edge = Edge::launch(yaml, origins);
            edge.await_ready().then_some(edge)
        };
        (0..3).find_map(try_start).expect("an edge on free ports")
    }

    /// As `start`, with files in `$dir` that the configuration names. A `trusted.pem` among them is
    /// whom the system trusts.
    #[track_caller]
    pub fn start_with(yaml: &str, origins: &[&Origin], prepare: impl Fn(&Path)) -> Edge {
        let try_start = |_| {
            let mut edge = Edge::launch_with(yaml, origins, &prepare);
            edge.await_ready().then_some(edge)
        };
        (0..3).find_map(try_start).expect("an edge on free ports")
    }

    /// With nothing but a route for everything.
    #[track_caller]
    pub fn before(origin: &Origin) -> Edge {
        Edge::start(ONE_ROUTE, &[origin])
    }

    /// Without waiting until it is ready.
    pub fn launch(yaml: &str, origins: &[&Origin]) -> Edge {
        Edge::launch_with(yaml, origins, &|_| {})
    }

    fn launch_with(yaml: &str, origins: &[&Origin], prepare: &dyn Fn(&Path)) -> Edge {
        let (web, admin, dir) = (ports::free_address(), ports::free_address(), fresh_folder());
        prepare(&dir);
        let mut words = vec![
            ("$web".to_owned(), web.to_string()),
            ("$admin".to_owned(), admin.to_string()),
            ("$dir".to_owned(), dir.display().to_string()),
            (
                "$lakh_origin".to_owned(),
                lakh_origin().display().to_string(),
            ),
            ("$ports".to_owned(), ports::free_ports(3).to_string()),
        ];
        let addresses = origins.iter().enumerate();
        words.extend(addresses.map(|(i, origin)| (format!("${i}"), origin.address.to_string())));
        let mut command = Command::new(binary());
        let trusted = dir.join("trusted.pem");
        if trusted.exists() {
            command.env("SSL_CERT_FILE", trusted);
        }
        let mut child = command
            .args(["run", "--config"])
            .arg(write_config(&dir, yaml, &words))
            .env("LAKH_ORIGIN_DATA", dir.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {}: {e}", binary().display()));
        let stdout = capture(child.stdout.take().expect("stdout is piped"));
        let stderr = capture(child.stderr.take().expect("stderr is piped"));
        Edge {
            web,
            admin,
            dir,
            pid: child.id(),
            words,
            child,
            stdout,
            stderr,
            heirs: Vec::new(),
            was_ready: false,
        }
    }

    /// False when somebody else has its port.
    fn await_ready(&mut self) -> bool {
        let mut busy = false;
        eventually("the edge is ready", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let said = self.stderr();
                assert!(
                    said.contains("in use"),
                    "the edge ended with {status}: {said}"
                );
                busy = true;
            }
            busy || self.is_ready()
        });
        self.was_ready = !busy;
        !busy
    }

    pub fn is_ready(&self) -> bool {
        self.admin("/readyz")
            .is_some_and(|reply| reply.status == 200)
    }

    /// A page of the admin listener; none while that is closed.
    pub fn admin(&self, target: &str) -> Option<Reply> {
        self.admin_within(target, PATIENCE)
    }

    pub fn admin_within(&self, target: &str, limit: Duration) -> Option<Reply> {
        let mut client = Client::try_connect(self.admin, limit).ok()?;
        let ask = get(target)
            .host("localhost")
            .with("authorization", format!("Bearer {ADMIN_TOKEN}"));
        ask.try_on(&mut client).ok()
    }

    /// What the admin listener says to a purge.
    #[track_caller]
    pub fn purge(&self, order: &str) -> String {
        let mut client = Client::connect(self.admin);
        client.send(format!(
            "POST /purge HTTP/1.1\r\nhost: lakh\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{order}",
            order.len()
        ));
        client.reply("POST").expect(200).text()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.web)
    }

    /// The most that it ever had in memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("Linux tells it in kB") << 10
    }

    /// The sum of the series that have at least these labels: `name{label="value"}`.
    #[track_caller]
    pub fn metric(&self, series: &str) -> f64 {
        let page = self
            .admin("/metrics")
            .expect("the admin listener is open")
            .text();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels: Vec<_> = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|l| !l.is_empty())
            .collect();
        let value = |line: &str| {
            let (key, value) = line.rsplit_once(' ')?;
            let (its_name, its_labels) = key.split_once('{').unwrap_or((key, ""));
            let fits = its_name == name && labels.iter().all(|l| its_labels.contains(l));
            fits.then(|| value.parse::<f64>().expect("a number"))
        };
        page.lines().filter_map(value).sum()
    }

    #[track_caller]
    pub fn await_metric(&self, series: &str, value: f64) {
        let what = format!("{series} is {value}");
        eventually(&what, || self.metric(series) == value);
    }

    /// Puts another configuration in force and waits until it is.
    #[track_caller]
    pub fn reload(&self, yaml: &str) {
        let before = self.metric("lakh_config_loads_total");
        write_config(&self.dir, yaml, &self.words);
        self.signal(libc::SIGHUP);
        self.await_metric("lakh_config_loads_total", before + 1.0);
    }

    /// Puts another configuration into the file, and leaves it to the test to have it read.
    pub fn write_config(&self, yaml: &str) {
        write_config(&self.dir, yaml, &self.words);
    }

    /// Offers a configuration that must be refused, and waits until it is.
    #[track_caller]
    pub fn reload_refused(&self, yaml: &str) {
        let before = self.metric("lakh_config_load_failures_total");
        write_config(&self.dir, yaml, &self.words);
        self.signal(libc::SIGHUP);
        self.await_metric("lakh_config_load_failures_total", before + 1.0);
    }

    /// Runs `lakh ARGUMENTS` with this edge's configuration to its end; gives what it says.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config");
        command.arg(self.dir.join("lakh.yaml"));
        command.output().expect("the binary is there")
    }

    /// Runs `lakh ARGUMENTS`, which need no configuration, to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).stdin(Stdio::null());
        command.output().expect("the binary is there")
    }

    /// What `/api/v1/upstreams` says of a server.
    #[track_caller]
    pub fn server(&self, address: SocketAddr) -> serde_json::Value {
        let page = self
            .admin("/api/v1/upstreams")
            .expect("the admin listener is open");
        let upstreams = page.json()["upstreams"].clone();
        let lists = upstreams.as_array().into_iter().flatten();
        let mut servers = lists.flat_map(|u| u["servers"].as_array().cloned().unwrap_or_default());
        let found = servers.find(|server| server["address"] == address.to_string());
        found.unwrap_or_else(|| panic!("{address} is in {upstreams:#}"))
    }

    #[track_caller]
    pub fn await_state(&self, address: SocketAddr, state: &str) {
        eventually(&format!("{address} is {state}"), || {
            self.server(address)["state"] == state
        });
    }

    pub fn sigterm(&self) {
        self.signal(libc::SIGTERM);
    }

    /// As who moves log files away tells it.
    pub fn sigusr1(&self) {
        self.signal(libc::SIGUSR1);
    }

    /// Ends it as the kernel does when memory runs out.
    pub fn sigkill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid).expect("a process id");
        // SAFETY: the process is our child and not yet waited for, so the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "the edge runs");
    }

    /// Another process serves in its place: the test's too, and ended with it.
    pub fn is_succeeded_by(&mut self, pid: u32) {
        self.heirs.push(pid);
    }

    /// Waits until it has ended, while others may still write where it wrote.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the edge ends", || {
            ended = self.child.try_wait().expect("a child can be waited for");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    /// Waits until it has ended, and until all that it said has been read.
    #[track_caller]
    pub fn await_exit(&mut self) -> ExitStatus {
        let ended = self.await_end();
        eventually("its pipes are closed", || {
            Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
        });
        ended
    }

    /// Its child processes by id, with the PORT that each was given.
    pub fn children(&self) -> Vec<(u32, u16)> {
        let processes = std::fs::read_dir("/proc").expect("Linux has /proc");
        let ids = processes
            .flatten()
            .filter_map(|p| p.file_name().to_str()?.parse().ok());
        let children = ids.filter(|id| parent(*id) == Some(self.pid));
        children.map(|id| (id, port_of(id))).collect()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().expect("no thread panics with it")).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no thread panics with it")).into_owned()
    }

    /// The access log's lines on standard output, when there are `n`.
    #[track_caller]
    pub fn access_log(&self, n: usize) -> Vec<serde_json::Value> {
        eventually(&format!("{n} lines in the access log"), || {
            self.stdout().lines().count() >= n
        });
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout().lines().map(parse).collect()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        let page = self.was_ready.then(|| self.admin("/metrics")).flatten();
        // One that is about to end may say that it can't.
        let panics = page.filter(|page| page.status == 200).map(|page| {
            let text = page.text();
            text.lines()
                .find_map(|line| line.strip_prefix("lakh_panics_total ").map(str::to_owned))
        });
        for heir in &self.heirs {
            let pid = i32::try_from(*heir).expect("a process id");
            // SAFETY: kill takes numbers only. The process is one that our edge started; it ends with us.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        // It may have ended by itself; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if failing {
            eprintln!("--- the edge's stderr\n{}", last(&self.stderr(), 6000));
            eprintln!("--- the edge's stdout\n{}", last(&self.stdout(), 2000));
            return;
        }
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.dir);
        assert!(
            panics.is_none_or(|n| n.as_deref() == Some("0")),
            "the edge panicked: {}",
            self.stderr()
        );
        assert!(
            !self.stderr().contains("panic"),
            "the edge panicked: {}",
            self.stderr()
        );
    }
}

const ONE_ROUTE: &str = "
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

/// Runs `lakh VERB --config FILE` to its end, for configurations with which it ends by itself.
pub fn lakh(verb: &str, yaml: &str) -> (Output, Duration) {
    let dir = fresh_folder();
    let file = dir.join("lakh.yaml");
    std::fs::write(&file, yaml).expect("the temporary folder takes files");
    let started = Instant::now();
    let mut child = Command::new(binary())
        .current_dir(&dir)
        .args([verb, "--config", "lakh.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("can't start {}: {e}", binary().display()));
    while child
        .try_wait()
        .expect("a child can be waited for")
        .is_none()
    {
        if started.elapsed() > PATIENCE {
            child.kill().expect("it runs");
            panic!("lakh {verb} does not end");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let took = started.elapsed();
    let output = child.wait_with_output().expect("it has ended");
    std::fs::remove_dir_all(&dir).expect("the folder is ours");
    (output, took)
}

/// What cargo has built for these tests, or the one that LAKH_BIN names.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("LAKH_BIN").map(PathBuf::from);
    let built = option_env!("CARGO_BIN_EXE_lakh").map(PathBuf::from);
    named
        .or(built)
        .expect("set LAKH_BIN, or run these tests as those of the package `lakh`")
}

/// The application, from the same build.
pub fn lakh_origin() -> PathBuf {
    let beside = std::path::absolute(binary()).expect("the working directory is there");
    beside.with_file_name("lakh-origin")
}

pub fn fresh_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "lakh-edge-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("the temporary folder takes folders");
    dir
}

fn write_config(dir: &Path, yaml: &str, words: &[(String, String)]) -> PathBuf {
    let mut text = String::new();
    if !yaml.contains("listeners:") {
        text += "listeners: {web: {address: $web}}\n";
    }
    if !yaml.contains("admin:") {
        text += "admin: {address: $admin}\n";
    }
    text += yaml;
    for (word, value) in words {
        text = text.replace(word, value);
    }
    std::fs::write(dir.join("token"), ADMIN_TOKEN).expect("the folder is ours");
    let file = dir.join("lakh.yaml");
    std::fs::write(&file, text).expect("the folder is ours");
    file
}

fn capture(mut pipe: impl Read + Send + 'static) -> Captured {
    let captured = Captured::default();
    let all = captured.clone();
    std::thread::spawn(move || {
        let mut some = vec![0; 16 << 10];
        while let Ok(n @ 1..) = pipe.read(&mut some) {
            all.lock()
                .expect("no thread panics with it")
                .extend_from_slice(&some[..n]);
        }
    });
    captured
}

/// Field 4 of /proc/ID/stat; the name before it is in parentheses and may hold anything.
fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (state, rest) = stat.rsplit_once(')')?.1.trim_start().split_once(' ')?;
    // A zombie has ended.
    if state == "Z" {
        return None;
    }
    rest.split(' ').next()?.parse().ok()
}

fn port_of(id: u32) -> u16 {
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    let mut pairs = environment.split(|b| *b == 0);
    let port = pairs.find_map(|pair| pair.strip_prefix(b"PORT="));
    port.and_then(|port| std::str::from_utf8(port).ok()?.parse().ok())
        .unwrap_or(0)
}

fn last(text: &str, most: usize) -> String {
    let skipped = text.chars().count().saturating_sub(most);
    text.chars().skip(skipped).collect()
}
