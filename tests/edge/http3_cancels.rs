//! Clients over HTTP/3 that leave: whatever is waited for at the time, it is noticed at once.

use crate::harness::{Asked, Authority, Edge, PATIENCE, ask, get, post};
use crate::http3::{connect, with_http3};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// A way to leave.
type Leave = fn(&mut Asked<'_>, &quinn::Connection);

/// RFC 9114 §4.1.1, RFC 9000 §10.2.
const LEAVES: [Leave; 2] = [
    |asked, _| asked.cancel(),
    |_, connection| connection.close(0u32.into(), b""),
];

/// Before a server whose timeouts are long, and that does as a test does.
fn start(authority: &Authority) -> (Edge, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let server = format!("[{address}], timeouts: {{write: 10m, read: 10m}}");
    let yaml = with_http3("", "limits: {body_size: 1GiB}").replace("[$0]", &server);
    let edge = Edge::start_with(&yaml, &[], |dir: &Path| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    (edge, listener)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (server, _) = listener.accept().expect("the edge");
    server.set_read_timeout(Some(PATIENCE)).expect("an option");
    server
}

/// Reads what came, until the edge has closed.
fn is_left(server: &mut TcpStream) {
    let mut rest = vec![0; 1 << 20];
    loop {
        match server.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) => return assert_eq!(e.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn who_leaves_an_upload_is_heard_while_its_server_reads_nothing() {
    let authority = Authority::new();
    let (edge, listener) = start(&authority);
    for (n, leave) in LEAVES.into_iter().enumerate() {
        let mut client = connect(&edge, &authority);
        let connection = client.quic();
        let mut upload = client.begin(&ask("POST", "/"));
        let mut server = accept(&listener);
        upload.send_for(Duration::from_secs(1));
        edge.await_metric("lakh_in_flight", 1.0);
        leave(&mut upload, &connection);
        edge.await_metric("lakh_in_flight", 0.0);
        is_left(&mut server);
        let left = r#"lakh_http_requests_total{route="all",code="499"}"#;
        edge.await_metric(left, (n + 1) as f64);
    }
}

#[test]
fn who_leaves_a_long_poll_frees_its_server() {
    let authority = Authority::new();
    let (edge, listener) = start(&authority);
    for leave in LEAVES {
        for asks in [
            get("/").with("cache-control", "no-store"),
            post("/", "a body"),
        ] {
            let mut client = connect(&edge, &authority);
            let connection = client.quic();
            let mut asked = client.begin(&asks);
            asked.send(&asks.body).expect("taken");
            asked.finish().expect("taken");
            let mut server = accept(&listener);
            // Its head, at least.
            assert!(server.read(&mut [0; 4096]).expect("a request") > 0);
            edge.await_metric("lakh_in_flight", 1.0);
            leave(&mut asked, &connection);
            edge.await_metric("lakh_in_flight", 0.0);
            is_left(&mut server);
        }
    }
}
