//! Many WebSockets that are open and say little: what each costs, and that they outlive reloads.

use crate::harness::{Edge, PATIENCE, eventually};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes above what the kernel keeps for a connection's two sockets.
const MOST: u64 = 15 << 10;
/// With what an allocator keeps of a busy beginning, which of few sockets is much for each.
const MOST_OF_FEW: u64 = 24 << 10;
/// Clients that connect at the same time.
const CONNECTING: usize = 64;
/// "hi" from a client, masked with zeros; the server sends it back as it is.
const HI: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];

const ASKS: &str = "GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn each_costs_little_and_outlives_reloads() {
    many(500, 10, MOST_OF_FEW);
}

/// As many as 20,000 open files allow: `cargo test --workspace --test edge -- --ignored websockets`.
#[test]
#[ignore = "opens nearly as many files as a process may have"]
fn nine_thousand_websockets_outlive_a_hundred_reloads() {
    many(9000, 100, MOST);
}

fn many(count: usize, reloads: usize, most: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    runtime.spawn(echo(listener));
    let config = |timeout: usize| {
        format!(
            "
limits: {{connections_per_address: 20000}}
upstreams: {{app: {{servers: [{address}]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app, timeout: {timeout}s}}]
access_log: {{to: none}}
"
        )
    };
    let edge = Edge::start(&config(1), &[]);
    // What is made once, or kept by the allocator, is no socket's.
    drop(runtime.block_on(open(&edge, 100)));
    edge.await_metric("lakh_route_websockets", 0.0);
    for n in 0..reloads {
        edge.reload(&config(n + 2));
    }

    let before = memory(&edge);
    let mut sockets = runtime.block_on(open(&edge, count));
    edge.await_metric("lakh_route_websockets", count as f64);
    let each = || memory(&edge).saturating_sub(before) / count as u64;
    let opened = each();
    for n in 0..reloads {
        edge.reload(&config(n + 1000));
    }
    runtime.block_on(async {
        for socket in &mut sockets {
            says_hi(socket).await;
        }
    });
    let reloaded = each();
    println!("{count} WebSockets: {opened} bytes each, {reloaded} after {reloads} reloads");
    assert!(opened < most, "{opened} bytes each");
    assert!(
        reloaded < most,
        "{reloaded} bytes each after {reloads} reloads"
    );
    drop(sockets);
    eventually("all are closed", || {
        edge.metric("lakh_route_websockets") == 0.0
    });
}

/// Of the process's own, in bytes.
fn memory(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.pid));
    let status = status.expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("Linux tells it in kB") << 10
}

async fn open(edge: &Edge, count: usize) -> Vec<TcpStream> {
    let (address, turns) = (edge.web, Arc::new(Semaphore::new(CONNECTING)));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let turns = turns.clone();
        opening.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("never closed");
            let mut socket = TcpStream::connect(address).await.expect("a connection");
            socket.write_all(ASKS.as_bytes()).await.expect("sent");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let byte = timeout(PATIENCE, socket.read_u8()).await;
                head.push(byte.expect("in time").expect("an answer"));
            }
            assert!(head.starts_with(b"HTTP/1.1 101 "));
            says_hi(&mut socket).await;
            socket
        });
    }
    opening.join_all().await
}

async fn says_hi(socket: &mut TcpStream) {
    socket.write_all(&HI).await.expect("sent");
    let mut back = [0; HI.len()];
    let read = timeout(PATIENCE, socket.read_exact(&mut back)).await;
    read.expect("in time").expect("it is open");
    assert_eq!(back, HI);
}

async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    return;
                };
                head.push(byte);
            }
            let (mut part, mut out) = ([0; 64], AGREES.as_bytes().to_vec());
            while stream.write_all(&out).await.is_ok() {
                match stream.read(&mut part).await {
                    Ok(n @ 1..) => out = part[..n].to_vec(),
                    _ => return,
                }
            }
        });
    }
}
