//! Servers that are told by the PROXY protocol whose connection each is.

use crate::harness::{Authority, Client, Edge, Origin, behind_tls, eventually, get, h2c, post};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Takes what each connection begins with, and passes on the rest.
pub struct Peeler {
    pub address: SocketAddr,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Peeler {
    pub fn before(to: SocketAddr) -> Peeler {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let headers: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let noted = Arc::clone(&headers);
        // Ends with the tests' process: it waits for what never comes.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                thread::spawn(move || {
                    // Who leaves early has said what the test looks at, or nothing.
                    let header = header(&stream).unwrap_or_default();
                    noted.lock().expect("no panic with it").push(header);
                    let _ = pass_on(&stream, to);
                });
            }
        });
        Peeler { address, headers }
    }

    /// But those of probes.
    pub fn of_clients(&self) -> Vec<Vec<u8>> {
        let all = self.headers.lock().expect("no panic with it");
        all.iter().filter(|h| !is_local(h)).cloned().collect()
    }

    fn probes(&self) -> usize {
        let all = self.headers.lock().expect("no panic with it");
        all.iter().filter(|h| is_local(h)).count()
    }
}

fn is_local(header: &[u8]) -> bool {
    header == b"PROXY UNKNOWN\r\n" || header == [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

/// Exactly that, and nothing of what follows.
fn header(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut header = vec![0; 6];
    stream.read_exact(&mut header)?;
    let mut more = |header: &mut Vec<u8>, n: usize| {
        let begin = header.len();
        header.resize(begin + n, 0);
        stream.read_exact(&mut header[begin..])
    };
    if header == b"PROXY " {
        while !header.ends_with(b"\r\n") {
            more(&mut header, 1)?;
        }
        return Ok(header);
    }
    more(&mut header, 10)?;
    let length = usize::from(header[14]) << 8 | usize::from(header[15]);
    more(&mut header, length)?;
    Ok(header)
}

fn pass_on(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    let copy = |mut from: TcpStream, mut into: TcpStream| {
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut part) {
                if into.write_all(&part[..n]).is_err() {
                    break;
                }
            }
            // It may be closed already.
            let _ = into.shutdown(Shutdown::Write);
        })
    };
    copy(client.try_clone()?, server.try_clone()?);
    copy(server, client.try_clone()?);
    Ok(())
}

fn config(server: &Peeler, version: &str, more: &str) -> String {
    format!(
        "
listeners: {{web: {{address: $web}}}}
trusted_proxies: [127.0.0.1]
upstreams: {{app: {{servers: [{}], proxy_protocol: {version}{more}}}}}
caches: {{pages: {{memory: 1MiB}}}}
routes:
- {{name: cached, match: {{path: /cached}}, upstream: app, cache: {{in: pages, ttl: 1m}}}}
- {{name: all, match: {{path: /*}}, upstream: app}}
",
        server.address
    )
}

fn source(client: &Client) -> SocketAddr {
    client.local()
}

#[test]
fn each_request_is_told_whose_it_is() {
    let origin = Origin::saying("hello");
    let peeler = Peeler::before(origin.address);
    let edge = Edge::start(&config(&peeler, "v1", ""), &[]);
    let sources: [IpAddr; 2] = [[127, 0, 0, 7].into(), [127, 0, 0, 8].into()];
    let mut clients = sources.map(|source| Client::connect_from(source, edge.web));
    let mut expected = Vec::new();
    for _ in 0..2 {
        for client in &mut clients {
            // One goes our way to servers, one Pingora's.
            assert_eq!(get("/").on(client).expect(200).text(), "hello");
            assert_eq!(post("/", "text").on(client).expect(200).text(), "hello");
            let (from, to) = (source(client), edge.web);
            let line = format!(
                "PROXY TCP4 {} {} {} {}\r\n",
                from.ip(),
                to.ip(),
                from.port(),
                to.port()
            );
            expected.extend([line.clone(), line]);
        }
    }
    let told = peeler.of_clients().into_iter();
    let told: Vec<_> = told.map(|h| String::from_utf8(h).expect("text")).collect();
    assert_eq!(
        told, expected,
        "no connection is shared, not even by one client"
    );

    // What a fill is for, its leader; and over HTTP/2 as over HTTP/1.1.
    get("/cached").on(&mut clients[0]).expect(200);
    get("/cached").on(&mut clients[1]).expect(200);
    h2c(edge.web, &get("/")).expect(200);
    let told = peeler.of_clients().split_off(expected.len());
    assert_eq!(told.len(), 2, "the second took what was stored");
    assert!(told[0].starts_with(b"PROXY TCP4 127.0.0.7 "));
    assert!(told[1].starts_with(b"PROXY TCP4 127.0.0.1 "));
}

#[test]
fn version_2_says_the_same_in_bytes_and_of_ipv6() {
    let origin = Origin::saying("hello");
    let peeler = Peeler::before(origin.address);
    let edge = Edge::start(&config(&peeler, "v2", ""), &[]);
    let mut client = edge.connect();
    get("/").on(&mut client).expect(200);
    let (from, to) = (source(&client).port(), edge.web.port());
    let behind = get("/").with("x-forwarded-for", "2001:db8::7");
    behind.on(&mut client).expect(200);

    let told = peeler.of_clients();
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let v4 = [127, 0, 0, 1];
    let expected = [SIGNATURE, &[0x21, 0x11, 0, 12], &v4, &v4, &ports].concat();
    assert_eq!(told[0], expected);
    // The client is behind a proxy, so its port is nobody's to know; the edge's address is of IPv4.
    let v6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let mapped = [&[0; 10][..], &[0xff, 0xff], &v4].concat();
    let ports = [[0, 0], to.to_be_bytes()].concat();
    let expected = [SIGNATURE, &[0x21, 0x21, 0, 36], &v6, &mapped, &ports].concat();
    assert_eq!(told[1], expected);
}

#[test]
fn it_is_said_before_tls() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let secured = behind_tls(&origin, &authority, "app.internal");
    for version in ["v1", "v2"] {
        let peeler = Peeler::before(secured.address);
        let tls = ", tls: {server_name: app.internal, ca_file: $dir/ca.pem}";
        let edge = Edge::start_with(&config(&peeler, version, tls), &[], |dir| {
            authority.write(dir)
        });
        let mut client = edge.connect();
        assert_eq!(get("/").on(&mut client).expect(200).text(), "inside");
        assert_eq!(
            post("/", "text").on(&mut client).expect(200).text(),
            "inside"
        );
        assert_eq!(peeler.of_clients().len(), 2);
    }
}

#[test]
fn probes_are_the_edges_own() {
    let origin = Origin::saying("hello");
    for (version, protocol) in [("v1", "http"), ("v2", "http"), ("v1", "tcp"), ("v2", "tcp")] {
        let peeler = Peeler::before(origin.address);
        let check = format!(", health_check: {{interval: 20ms, protocol: {protocol}}}");
        let edge = Edge::start(&config(&peeler, version, &check), &[]);
        eventually("probes", || peeler.probes() > 2);
        assert_eq!(peeler.of_clients(), Vec::<Vec<u8>>::new());
        edge.await_state(peeler.address, "up");
        get("/").send(&edge).expect(200);
    }
}
