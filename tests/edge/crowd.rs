//! Ten thousand who wait for one slow fill: one fetch, every byte right, and little memory.

use crate::harness::{Answer, Edge, Gate, Origin, Step, get, noise};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify, Semaphore};

const CLIENTS: usize = 10_000;
const BODY: usize = 256 << 10;
/// As many as one machine can read 100 MiB for, in a few minutes.
const PATIENT: usize = 1000;
const LARGE: usize = 100 << 20;
/// For all of them together.
const LONG: Duration = Duration::from_secs(120);
const LONGER: Duration = Duration::from_secs(900);
/// Clients that connect at the same time, so that the edge's queue of connections does not overflow.
const CONNECTING: usize = 256;

const CACHED: &str = "
limits: {connections_per_address: 20000}
upstreams: {app: {servers: [$0], timeouts: {read: 5m}, retry: {attempts: 1}}}
caches: {pages: {memory: 512MiB, max_object: 128MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
access_log: {to: none}
";

/// Each test takes half of the files that a process may have open.
static ONE_CROWD: Mutex<()> = Mutex::const_new(());

#[test]
fn a_crowd_on_one_slow_fill_is_one_fetch() {
    is_one_fetch(CLIENTS, BODY, LONG);
}

/// Minutes of copying: `cargo test --workspace --test edge -- --ignored crowd`.
#[test]
#[ignore = "100 GiB through loopback"]
fn a_crowd_on_one_large_fill_is_one_fetch() {
    is_one_fetch(PATIENT, LARGE, LONGER);
}

fn is_one_fetch(clients: usize, size: usize, patience: Duration) {
    let (gate, body) = (Gate::default(), Arc::new(noise(size, 31)));
    let origin = slow_origin(&gate, &body, Step::Send(body[size / 2..].to_vec()));
    let edge = Edge::start(CACHED, &[&origin]);

    let ends = crowd(&edge, &body, &gate, clients, patience);

    assert_eq!(origin.count(), 1);
    for end in &ends {
        assert_eq!(*end, End::Whole);
    }
    let collapsed = edge.metric(r#"lakh_cache_requests_total{status="collapsed"}"#);
    assert_eq!(collapsed, clients as f64 - 1.0);
    assert!(get("/").send(&edge).expect(200).is_hit());
    let peak = edge.peak_memory();
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
}

#[test]
fn when_the_origin_dies_half_way_a_crowd_sees_it_and_nothing_is_stored() {
    let (gate, body) = (Gate::default(), Arc::new(noise(BODY, 32)));
    let origin = slow_origin(&gate, &body, Step::Reset);
    let edge = Edge::start(CACHED, &[&origin]);

    let ends = crowd(&edge, &body, &gate, CLIENTS, LONG);

    assert_eq!(origin.count(), 1);
    for end in &ends {
        assert_eq!(*end, End::Broken(BODY / 2));
    }
    assert_eq!(edge.metric("lakh_cache_objects"), 0.0);
    let peak = edge.peak_memory();
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
}

/// Sends half of the body, and the rest, or what is in its place, once the gate is open.
fn slow_origin(gate: &Gate, body: &Arc<Vec<u8>>, then: Step) -> Origin {
    let (gate, body, then) = (
        gate.clone(),
        body.clone(),
        std::sync::Mutex::new(Some(then)),
    );
    Origin::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = Answer::raw(head).then_send(&body[..body.len() / 2]);
        // One alone does not wait long enough.
        for _ in 0..4 {
            answer = answer.then(Step::Wait(gate.clone()));
        }
        let then = then.lock().expect("no thread panics with it").take();
        answer.then(then.unwrap_or(Step::Close))
    })
}

#[derive(Debug, PartialEq)]
enum End {
    Whole,
    /// After so many bytes.
    Broken(usize),
    Wrong(String),
}

/// All read what is there, and when the last of them has done so, the gate is opened.
fn crowd(
    edge: &Edge,
    body: &Arc<Vec<u8>>,
    gate: &Gate,
    clients: usize,
    patience: Duration,
) -> Vec<End> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(async {
        let _alone = ONE_CROWD.lock().await;
        let waiting = Arc::new(Waiting::for_all(clients));
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        let client = |_| {
            let client = client(edge.web, body.clone(), waiting.clone(), connecting.clone());
            tokio::spawn(async move {
                let end = client.await;
                end.unwrap_or_else(|e| End::Wrong(e.to_string()))
            })
        };
        let crowd: Vec<_> = (0..clients).map(client).collect();
        let all = async {
            waiting.all.notified().await;
            gate.open();
            let mut ends = Vec::with_capacity(clients);
            for client in crowd {
                ends.push(client.await.expect("no client panics"));
            }
            ends
        };
        let waited = tokio::time::timeout(patience, all).await;
        waited.unwrap_or_else(|_| {
            let missing = waiting.missing.load(Ordering::SeqCst);
            panic!("{missing} of {clients} miss the first half, or some the rest")
        })
    })
}

/// For those who have yet to read the first half.
struct Waiting {
    missing: AtomicUsize,
    all: Notify,
}

impl Waiting {
    fn for_all(clients: usize) -> Waiting {
        Waiting {
            missing: AtomicUsize::new(clients),
            all: Notify::new(),
        }
    }
}

async fn client(
    edge: SocketAddr,
    body: Arc<Vec<u8>>,
    waiting: Arc<Waiting>,
    connecting: Arc<Semaphore>,
) -> io::Result<End> {
    let turn = connecting.acquire().await.expect("it is never closed");
    let mut stream = TcpStream::connect(edge).await?;
    stream.write_all(&get("/").wire()).await?;
    drop(turn);
    let head = read_head(&mut stream).await?;
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Ok(End::Wrong(String::from_utf8_lossy(&head).into_owned()));
    }
    let mut at = 0;
    while at < body.len() {
        let before = at;
        stream.readable().await?;
        match read_right(&stream, &body, &mut at) {
            Ok(0) => return Ok(End::Broken(at)),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(End::Broken(at)),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        let half = body.len() / 2;
        if before < half && at >= half && waiting.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            waiting.all.notify_one();
        }
    }
    Ok(End::Whole)
}

/// Byte by byte, so that nothing of the body is taken along.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// What has come, if it is what the body has at `at`. The buffer is not kept while it waits.
fn read_right(stream: &TcpStream, body: &[u8], at: &mut usize) -> io::Result<usize> {
    let mut some = [0; 32 << 10];
    let most = some.len().min(body.len() - *at);
    let n = stream.try_read(&mut some[..most])?;
    if some[..n] != body[*at..*at + n] {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("wrong bytes after {at}"),
        ));
    }
    *at += n;
    Ok(n)
}
