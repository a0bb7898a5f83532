//! gRPC: calls of all four kinds, over HTTP/2 on both sides.

use crate::harness::{
    Authority, Calls, Edge, GrpcServer, Http2, Secured, Trust, eventually, free_address,
};
use h2::Reason;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// One route to servers at these addresses; `upstream` and `route` say more of them.
fn config(servers: &[SocketAddr], upstream: &str, route: &str) -> String {
    let servers: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
    format!(
        "
upstreams: {{app: {{servers: [{}], protocol: h2c{upstream}}}}}
routes: [{{name: all, match: {{path: /test.Test/*}}, upstream: app{route}}}]
",
        servers.join(", ")
    )
}

fn before(server: &GrpcServer, upstream: &str, route: &str) -> Edge {
    Edge::start(&config(&[server.address], upstream, route), &[])
}

fn connect(edge: &Edge) -> Calls {
    Calls(Http2::connect(edge.web))
}

/// All four kinds, each message in its turn, and what comes before and after.
fn all_four_kinds(calls: &Calls) {
    let unary = Calls::to("Echo")
        .with("grpc-timeout", "9S")
        .with("x-own-bin", "AAEC");
    let mut unary = calls.call(&unary, &[b"one"]);
    let head = unary.head().expect(200);
    assert_eq!(head.the("content-type"), "application/grpc+test");
    assert_eq!(head.the("x-head"), "was here");
    assert_eq!(unary.message().as_deref(), Some(&b"one"[..]));
    assert_eq!(unary.message(), None);
    let trailers = unary.trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-trailer"], "was here");

    let mut counting = calls.call(&Calls::to("Count"), &[b"300 1000"]);
    counting.head().expect(200);
    for i in 0..300 {
        let message = counting.message().expect("one of 300");
        assert_eq!(message.len(), 1000);
        assert!(message.starts_with(format!("{i} ").as_bytes()));
    }
    assert_eq!(counting.message(), None);
    assert_eq!(counting.trailers().expect("trailers")["grpc-status"], "0");

    let parts: Vec<_> = (0..100u8).map(|n| vec![n; 2000]).collect();
    let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    let mut joining = calls.call(&Calls::to("Join"), &slices);
    joining.head().expect(200);
    assert_eq!(joining.message().expect("all of them"), parts.concat());
    assert_eq!(joining.message(), None);
    assert_eq!(joining.trailers().expect("trailers")["grpc-status"], "0");

    let mut talking = calls.begin(&Calls::to("Echo"));
    talking.head().expect(200);
    for i in 0..50 {
        // The next is said only when this one was answered.
        let word = format!("word {i}").into_bytes();
        talking.send(&word);
        assert_eq!(talking.message().expect("an echo"), word);
    }
    talking.stream.end().expect("it is open");
    assert_eq!(talking.message(), None);
    assert_eq!(talking.trailers().expect("trailers")["grpc-status"], "0");
}

#[test]
fn all_four_kinds_of_calls_pass_with_their_trailers() {
    let server = GrpcServer::start();
    let edge = before(&server, "", "");
    let calls = connect(&edge);

    all_four_kinds(&calls);

    let heads = server.heads();
    assert_eq!(heads.len(), 4);
    // RFC 9113 §8.2.2; servers may refuse calls without it.
    assert!(heads.iter().all(|head| head["te"] == "trailers"));
    // The deadline is its client's and the server's affair.
    assert_eq!(heads[0]["grpc-timeout"], "9S");
    assert_eq!(heads[0]["x-own-bin"], "AAEC");
}

#[test]
fn and_inside_tls_on_both_sides() {
    let (server, authority) = (GrpcServer::start(), Authority::new());
    let identity = authority.sign("app.internal");
    let inside = Secured::with(server.address, &identity, &["h2"], None);
    let yaml = format!(
        "
listeners:
  web: {{address: $web, tls: {{certificates: [{{cert_file: $dir/site.pem, key_file: $dir/site.key}}]}}}}
upstreams:
  app:
    servers: [{}]
    protocol: http2
    tls: {{server_name: app.internal, ca_file: $dir/ca.pem}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
        inside.address
    );
    let edge = Edge::start_with(&yaml, &[], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    let trust = Trust::of(&authority);
    let calls = Calls(Http2::connect_tls(edge.web, &trust, "edge.test"));

    all_four_kinds(&calls);

    assert_eq!(inside.handshakes()[0].alpn.as_deref(), Some("h2"));
}

#[test]
fn many_calls_share_a_connection() {
    let server = GrpcServer::start();
    let edge = before(&server, "", "");
    let calls = connect(&edge);
    // One after the other: a connection is shared from its first answer on.
    let mut open: Vec<_> = (0..20)
        .map(|_| {
            let mut call = calls.begin(&Calls::to("Echo"));
            call.head().expect(200);
            call
        })
        .collect();

    for round in 0..10 {
        for (i, call) in open.iter_mut().enumerate() {
            let word = format!("call {i}, {round}").into_bytes();
            call.send(&word);
            assert_eq!(call.message().expect("an echo"), word);
        }
    }
    for call in &mut open {
        call.stream.end().expect("it is open");
        assert_eq!(call.message(), None);
        assert_eq!(call.trailers().expect("trailers")["grpc-status"], "0");
    }

    assert_eq!(server.connections(), 1);
}

#[test]
fn what_a_server_refuses_is_refused_in_its_words() {
    let server = GrpcServer::start();
    let edge = before(&server, "", "");
    let calls = connect(&edge);
    // A client that is done, and one that would go on.
    let done = calls.call(&Calls::to("Refuse"), &[b"one"]);
    let mut open = calls.begin(&Calls::to("Refuse"));
    open.send(b"one");

    for mut call in [done, open] {
        let head = call.head().expect(200);
        assert_eq!(head.the("grpc-status"), "5");
        assert_eq!(head.the("grpc-message"), "no such thing: 100%25");
        assert_eq!(head.the("x-details-bin"), "AAEC");
        assert!(call.stream.is_over());
    }
}

#[test]
fn a_server_learns_that_nobody_waits_any_more() {
    let server = GrpcServer::start();
    let edge = before(&server, "", "");
    let calls = connect(&edge);
    let cancelled = |n| {
        eventually("the server was told", || server.resets().len() == n);
        assert_eq!(server.resets(), vec![Reason::CANCEL; n]);
    };

    let waiting = calls.call(&Calls::to("Hang"), &[b"one"]);
    eventually("it has come", || server.heads().len() == 1);
    waiting.stream.cancel();
    cancelled(1);

    let mut talking = calls.begin(&Calls::to("Echo"));
    talking.send(b"word");
    talking.head();
    assert!(talking.message().is_some());
    talking.stream.cancel();
    cancelled(2);

    let mut reading = calls.call(&Calls::to("Count"), &[b"1000000 10000"]);
    reading.head();
    assert!(reading.message().is_some());
    reading.stream.cancel();
    cancelled(3);

    // One that takes its connection along.
    let leaving = connect(&edge);
    let mut talking = leaving.begin(&Calls::to("Echo"));
    talking.send(b"word");
    talking.head();
    drop(talking);
    drop(leaving);
    cancelled(4);
    assert!(
        server.connections() < 4,
        "what is cancelled leaves its connection to the next"
    );
}

/// A stream that nobody reads stops at its window, and those beside it on the same connection go on.
#[test]
fn a_slow_reader_is_not_buffered_for_and_holds_up_nobody() {
    const ALL: usize = 32 << 20;
    let server = GrpcServer::start();
    let edge = before(&server, "", "");
    let calls = connect(&edge);
    let mut slow = calls.call(&Calls::to("Count"), &[b"512 65536"]);
    slow.head().expect(200);
    eventually("it has filled what there is", || server.sent() > 256 << 10);

    let others = connect(&edge);
    for _ in 0..100 {
        let mut other = others.call(&Calls::to("Echo"), &[&[7; 50_000]]);
        other.head().expect(200);
        assert_eq!(other.message().expect("an echo").len(), 50_000);
        assert_eq!(other.message(), None);
    }

    assert_eq!(server.connections(), 1);
    let for_others = 100 * 50_005;
    let for_slow = server.sent() - for_others;
    assert!(for_slow < 2 << 20, "{for_slow} bytes were taken of {ALL}");
    for i in 0..512 {
        let message = slow.message().expect("one of 512");
        assert!(message.starts_with(format!("{i} ").as_bytes()), "{i}");
    }
    assert_eq!(slow.message(), None);
    assert_eq!(slow.trailers().expect("trailers")["grpc-status"], "0");
}

/// The same towards a server: here nobody reads what the client sends.
#[test]
fn nor_is_a_server_that_does_not_read() {
    let server = GrpcServer::start();
    // While a part waits to be written, these alone end the call: see ARCHITECTURE.md.
    let edge = before(&server, ", timeouts: {write: 2s, read: 2s}", "");
    let calls = connect(&edge);
    let mut call = calls.begin(&Calls::to("Hang"));
    let sent = call.stream.send_for(Duration::from_millis(500), 64 << 20);
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    call.stream.cancel();
    eventually("the server was told", || server.resets().len() == 1);
}

/// A call that is refused is told so in the way that gRPC's clients read, whatever the reason.
#[test]
fn what_the_edge_refuses_is_said_in_grpc() {
    let server = GrpcServer::start();
    let yaml = format!(
        "
upstreams:
  app: {{servers: [{}], protocol: h2c}}
  gone: {{servers: [{}], protocol: h2c}}
rate_limits: {{one: {{rate: 1/h, burst: 1, key: client_address}}}}
routes:
  - {{name: limited, match: {{path: /limited/*}}, upstream: app, rate_limits: [one]}}
  - {{name: late, match: {{path: /late/*}}, upstream: app, timeout: 100ms}}
  - {{name: gone, match: {{path: /gone/*}}, upstream: gone}}
  - {{name: denied, match: {{path: /denied/*}}, upstream: app, deny: [127.0.0.0/8]}}
  - {{name: small, match: {{path: /small/*}}, upstream: app, body_size: 100B}}
  - {{name: closed, match: {{path: /closed/*}}, upstream: app, maintenance: true}}
",
        server.address,
        free_address()
    );
    let edge = Edge::start(&yaml, &[]);
    let calls = connect(&edge);
    let to = |target: &str| {
        let mut ask = Calls::to("");
        ask.target = target.into();
        ask
    };
    let mut first = calls.call(&to("/limited/Echo"), &[b"one"]);
    first.head().expect(200);
    assert_eq!(first.message().as_deref(), Some(&b"one"[..]));

    for (target, code, status) in [
        ("/nowhere/Echo", "12", 404),
        ("/limited/Echo", "8", 429),
        ("/late/Hang", "4", 504),
        ("/gone/Echo", "14", 502),
        ("/denied/Echo", "7", 403),
        ("/small/Hang", "8", 413),
        ("/closed/Echo", "14", 503),
    ] {
        let mut call = calls.begin(&to(target));
        // It may be refused before all of that is taken.
        let _ = call.stream.send(&[0; 1000]);
        let head = call.head().expect(200);
        assert_eq!(head.the("content-type"), "application/grpc", "{target}");
        assert_eq!(head.the("grpc-status"), code, "{target}");
        assert!(!head.the("grpc-message").is_empty(), "{target}");
        assert!(!head.the("x-request-id").is_empty(), "{target}");
        assert!(call.stream.is_over(), "{target}");
        if status == 429 {
            assert!(!head.the("retry-after").is_empty());
        }
        let id = head.the("x-request-id").to_owned();
        eventually("it is logged as what it is", || {
            let log = edge.access_log(1);
            let line = log.iter().find(|line| line["id"] == id.as_str());
            line.is_some_and(|line| line["status"] == status)
        });
    }
}

/// RFC 9113 §8.7: what was not begun can be asked again, whatever it is.
#[test]
fn what_a_server_has_not_begun_another_is_asked() {
    let (leaving, server) = (GrpcServer::leaving(), GrpcServer::start());
    let servers = [leaving.address, server.address];
    let edge = Edge::start(&config(&servers, ", balance: round_robin", ""), &[]);
    let calls = connect(&edge);

    for _ in 0..4 {
        let mut call = calls.begin(&Calls::to("Echo"));
        call.send(b"one");
        call.head().expect(200);
        assert_eq!(call.message().as_deref(), Some(&b"one"[..]));
        call.stream.end().expect("it is open");
        assert_eq!(call.message(), None);
        assert_eq!(call.trailers().expect("trailers")["grpc-status"], "0");
    }

    assert!(!leaving.heads().is_empty());
    assert_eq!(server.heads().len(), 4);
}

/// RFC 9113 §6.8: nor was anything begun that a GOAWAY leaves out.
#[test]
fn what_a_server_leaves_out_as_it_goes_away_another_is_asked() {
    let (going, server) = (going_away(), GrpcServer::start());
    let servers = [going, server.address];
    let edge = Edge::start(&config(&servers, ", balance: round_robin", ""), &[]);
    let calls = connect(&edge);

    for n in 1..=4 {
        let mut call = calls.begin(&Calls::to("Echo"));
        call.send(b"one");
        call.head().expect(200);
        assert_eq!(call.message().as_deref(), Some(&b"one"[..]));
        call.stream.end().expect("it is open");
        assert_eq!(call.message(), None);
        assert_eq!(call.trailers().expect("trailers")["grpc-status"], "0");
        assert_eq!(server.heads().len(), n);
    }
    let tried = edge.access_log(4);
    assert!(tried.iter().any(|line| line["attempts"] == 2), "{tried:?}");
}

/// Answers whatever it is asked with a GOAWAY that leaves it out.
fn going_away() -> SocketAddr {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // Whoever leaves meanwhile is told nothing.
            let _ = (|| -> std::io::Result<()> {
                stream.read_exact(&mut [0; PREFACE])?;
                stream.write_all(&SETTINGS)?;
                loop {
                    let mut head = [0; 9];
                    stream.read_exact(&mut head)?;
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    std::io::copy(&mut (&stream).take(length.into()), &mut std::io::sink())?;
                    if head[3] == HEADERS {
                        stream.write_all(&GOAWAY)?;
                    }
                }
            })();
        }
    });
    address
}
