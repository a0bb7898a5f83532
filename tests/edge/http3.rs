//! HTTP/3, by a client that speaks nothing else.

use crate::harness::{
    Answer, Authority, Edge, Gate, Http3, Origin, Relay, Step, Trust, ask, eventually, get, head,
    noise, post,
};
use crate::images::{jpeg, red_and_blue};
use crate::tls::config;
use h3::error::{Code, StreamError};
use http::StatusCode;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ONE: &str = "certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]";

/// As the TLS tests have it, over UDP too.
pub fn with_http3(tls: &str, more: &str) -> String {
    config(&format!("{ONE}{tls}"), more).replace("$web,", "$web, http3: true,")
}

pub fn start(origin: &Origin, authority: &Authority, more: &str) -> Edge {
    start_with(origin, authority, &with_http3("", more))
}

pub fn start_with(origin: &Origin, authority: &Authority, yaml: &str) -> Edge {
    let files = |dir: &Path| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    };
    Edge::start_with(yaml, &[origin], files)
}

pub fn connect(edge: &Edge, authority: &Authority) -> Http3 {
    Http3::connect(edge.web, &Trust::of(authority), "edge.test")
}

#[test]
fn it_is_advertised_where_it_is_spoken_and_nowhere_else() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let alternative = format!("h3=\":{}\"; ma=86400", edge.web.port());
    let mut tcp = Trust::of(&authority).connect(&edge, "edge.test");
    assert_eq!(get("/").on(&mut tcp).the("alt-svc"), alternative);
    assert_eq!(post("/", "x").on(&mut tcp).the("alt-svc"), alternative);

    let reply = connect(&edge, &authority).send(&get("/")).expect(200);

    assert_eq!(reply.text(), "hello");
    assert_eq!(reply.field("alt-svc"), None);
    assert_eq!(
        edge.metric("lakh_tls_handshakes_total{outcome=\"quic\"}"),
        1.0
    );
}

#[test]
fn the_same_way_as_all_others() {
    let authority = Authority::new();
    let origin = Origin::start(|seen| match seen.path() {
        "/stored" => Answer::of(200, &[("cache-control", "max-age=60")], noise(300_000, 1)),
        "/chunks" => Answer::chunked(&[("x-is", "chunked")], &noise(200_000, 2)),
        "/nothing" => Answer::of(204, &[], ""),
        _ => Answer::ok("hello"),
    });
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);

    let miss = client.send(&get("/stored")).expect(200);
    assert_eq!(miss.body, noise(300_000, 1));
    eventually("it is stored", || {
        client
            .send(&get("/stored"))
            .cache_status()
            .starts_with("hit")
    });
    let part = client
        .send(&get("/stored").with("range", "bytes=5-9"))
        .expect(206);
    assert_eq!(part.body, noise(300_000, 1)[5..10]);
    let bodiless = client.send(&head("/stored")).expect(200);
    assert_eq!(
        (bodiless.the("content-length"), bodiless.body.len()),
        ("300000", 0)
    );
    let chunks = client.send(&get("/chunks")).expect(200);
    assert_eq!(chunks.body, noise(200_000, 2));
    assert!(chunks.field("transfer-encoding").is_none());
    client.send(&get("/nothing")).expect(204);
    assert_eq!(
        client.send(&ask_for("OPTIONS", "/")).expect(200).text(),
        "hello"
    );

    let seen = origin.seen();
    let first = &seen[0];
    assert_eq!(first.the("host"), "edge.test");
    assert_eq!(first.the("x-forwarded-proto"), "https");
    assert_eq!(first.the("x-forwarded-for"), client.address().to_string());
    let log = &edge.access_log(1)[0];
    assert_eq!(log["version"], "HTTP/3");
    assert_eq!(log["tls"], "TLSv1.3");
    assert_eq!(log.get("cipher"), None, "QUIC does not tell");
}

fn ask_for(method: &str, target: &str) -> crate::harness::Ask {
    crate::harness::ask(method, target)
}

#[test]
fn bodies_go_up_whole_or_not_at_all() {
    let authority = Authority::new();
    let origin = Origin::start(|seen| Answer::ok(seen.body.len().to_string()));
    let edge = start(&origin, &authority, "limits: {body_size: 8MiB}");
    let mut client = connect(&edge, &authority);
    let body = noise(5_000_000, 3);

    assert_eq!(client.send(&post("/", &body)).expect(200).text(), "5000000");
    assert_eq!(origin.the_request().body, body);
    let mut unsized_one = client.begin(&ask_for("POST", "/"));
    unsized_one.send(&body[..100_000]).expect("taken");
    unsized_one.finish().expect("taken");
    assert_eq!(unsized_one.reply().expect("an answer").text(), "100000");
    // Said too large, found too large, and not as long as was said.
    client
        .send(&post("/", noise(9 << 20, 4)))
        .expect_problem(413);
    let mut large = ask_for("POST", "/");
    large.body = noise(9 << 20, 4);
    client.send(&large).expect_problem(413);
    for said in [99_999, 100_001] {
        let ask = ask_for("POST", "/").with("content-length", said);
        let mut asked = client.begin(&ask);
        asked.send(&body[..100_000]).expect("taken");
        asked.finish().expect("taken");
        match asked.reply() {
            Ok(reply) => assert_eq!(reply.status, 400, "{}", reply.text()),
            Err(StreamError::RemoteTerminate { code, .. }) => {
                assert_eq!(code, Code::H3_MESSAGE_ERROR, "{said}");
            }
            Err(e) => panic!("{said}: {e}"),
        }
    }
    // POST https://edge.test/ with a body of 2 bytes, and one of 5, at once.
    let fields = b"\0\0\xd4\xd7\xc1\x50\x09edge.test\x54\x012";
    let head = [&[1, fields.len() as u8], &fields[..]].concat();
    let reset = client.exchange(&[&head, &b"\0\x05hello"[..]].concat());
    assert_eq!(reset, Err(Code::H3_MESSAGE_ERROR.value()));
    assert_eq!(origin.count(), 2, "no part was passed off as the whole");
}

/// The origin takes nothing for a while, and so does then the edge.
#[test]
fn a_slow_origin_slows_its_client_down() {
    let authority = Authority::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let origin = Origin::saying("unused");
    let yaml = with_http3("", "limits: {body_size: 100MiB}").replace("$0", &address.to_string());
    let edge = start_with(&origin, &authority, &yaml);
    let mut client = connect(&edge, &authority);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = std::thread::spawn(move || {
        let mut asked = client.begin(&ask_for("PUT", "/").with("content-length", 64 << 20));
        let part = noise(100_000, 5);
        let mut left: usize = 64 << 20;
        while left > 0 {
            let now = left.min(part.len());
            asked.send(&part[..now]).expect("taken in time");
            counted.fetch_add(now, Ordering::SeqCst);
            left -= now;
        }
        asked.finish().expect("taken");
        asked.reply().expect("an answer").expect(200);
    });
    let (mut stream, _) = listener.accept().expect("the edge");
    let mut before = usize::MAX;
    eventually("no more is taken", || {
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 32 << 20, "{before} bytes went into the edge");
    let mut came = 0;
    let mut room = vec![0; 1 << 20];
    while came < 64 << 20 {
        came += std::io::Read::read(&mut stream, &mut room).expect("more");
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    std::io::Write::write_all(&mut stream, answer).expect("taken");
    sending.join().expect("the client is answered");
}

/// A client that takes nothing for a while costs the edge a bound.
#[test]
fn a_big_answer_waits_for_its_client() {
    let authority = Authority::new();
    let origin = Origin::start(|_| Answer::ok(noise(64 << 20, 6)));
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    client.send(&head("/small"));
    let before = edge.peak_memory();
    let mut asked = client.begin(&get("/big").with("cache-control", "no-store"));
    asked.finish().expect("taken");
    asked.head().expect("an answer");
    asked.part().expect("a part");
    let mut log = 0;
    eventually("the origin waits", || {
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        let now = edge.peak_memory();
        std::mem::replace(&mut log, now as usize) == now as usize
    });
    assert!(
        edge.peak_memory() - before < 40 << 20,
        "{} more",
        edge.peak_memory() - before
    );
    let mut rest = 0;
    while let Some(part) = asked.part().expect("more") {
        rest += part.len();
    }
    assert!(rest > 60 << 20);
}

#[test]
fn an_answer_that_breaks_off_is_no_whole_one() {
    let authority = Authority::new();
    let origin = Origin::start(|_| {
        Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .then(Step::Close)
    });
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    for ask in [get("/"), post("/", "x")] {
        assert!(client.try_send(&ask).is_err(), "{}", ask.method);
    }
}

#[test]
fn what_is_wrong_is_said_or_reset() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let yaml = with_http3("", "").replace("path: /*", "path: /only/*");
    let edge = start_with(&origin, &authority, &yaml);
    let mut client = connect(&edge, &authority);
    client.send(&get("/elsewhere")).expect(404);
    let large = get("/only/x").with("x-large", "x".repeat(40_000));
    assert_eq!(client.try_send(&large).expect("an answer").status, 431);
    for (name, value) in [
        ("connection", "close"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
    ] {
        let ask = get("/only/x").with(name, value);
        assert!(client.try_send(&ask).is_err(), "{name}: {value}");
    }
    assert_eq!(client.send(&get("/only/x")).expect(200).text(), "hello");
    assert_eq!(origin.count(), 1);
    edge.await_metric("lakh_bad_requests_total", 3.0);
    let counted = r#"lakh_http_requests_total{code="400",method="other",route="-"}"#;
    edge.await_metric(counted, 3.0);
    let lines = edge.access_log(6);
    let refused = lines.iter().filter(|line| line["status"] == 400);
    assert!(refused.clone().all(|line| line["version"] == "HTTP/3"));
    assert_eq!(refused.count(), 3);
}

/// RFC 9114 §4.4 has it: it has neither a scheme nor a path.
#[test]
fn connect_is_refused() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    let reply = client
        .send(&ask("CONNECT", "").host("bank.example:443"))
        .expect_problem(405);
    assert!(reply.the("allow").contains("GET"));
    assert_eq!(client.send(&get("/")).expect(200).text(), "hello");
    edge.await_metric(
        r#"lakh_http_requests_total{code="405",method="CONNECT",route="-"}"#,
        1.0,
    );
    assert_eq!(origin.count(), 1);
}

/// RFC 9114 §7.1: a frame says how long it is, and then it may never end.
#[test]
fn a_head_that_never_ends_costs_a_bound_and_its_time() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "limits: {header_timeout: 1s}");
    let mut client = connect(&edge, &authority);
    const HEADERS_OF_1_GIB: [u8; 9] = [0x01, 0xc0, 0, 0, 0, 0x40, 0, 0, 0];
    let taken = client.fill_stream(&HEADERS_OF_1_GIB, 64 << 20);
    assert!(taken < 4 << 20, "{taken} bytes");
    edge.await_metric("lakh_bad_requests_total", 1.0);
    client.send(&get("/")).expect(200);
}

#[test]
fn limits_and_connections_are_counted_together_with_all_others() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let more = "
limits: {connections_per_address: 3}
rate_limits: {few: {key: client_address, rate: 2/h, burst: 2}}
";
    let yaml = with_http3("", more).replace(
        "upstream: app, cache",
        "upstream: app, rate_limits: [few], cache",
    );
    let edge = start_with(&origin, &authority, &yaml);
    let mut client = connect(&edge, &authority);
    let mut tcp = Trust::of(&authority).connect(&edge, "edge.test");
    client.send(&get("/1")).expect(200);
    get("/2").on(&mut tcp).expect(200);
    client.send(&get("/3")).expect_problem(429);
    get("/4").on(&mut tcp).expect_problem(429);
    let _third = connect(&edge, &authority);
    assert!(Http3::try_connect(edge.web, &Trust::of(&authority), "edge.test").is_err());
    edge.await_metric("lakh_connections", 3.0);
}

#[test]
fn a_client_that_wants_no_answer_frees_its_server() {
    let authority = Authority::new();
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    for ask in [
        get("/x").with("cache-control", "no-store"),
        post("/x", "body"),
    ] {
        let mut asked = client.begin(&ask);
        asked.send(&ask.body).expect("taken");
        asked.finish().expect("taken");
        eventually("it is under way", || edge.metric("lakh_in_flight") >= 1.0);
        asked.cancel();
        drop(asked);
        edge.await_metric("lakh_in_flight", 0.0);
    }
    gate.open();
    client.send(&get("/y")).expect(200);
}

#[test]
fn many_requests_go_side_by_side() {
    let authority = Authority::new();
    let origin = Origin::start(|seen| Answer::ok(&seen.target));
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    let asks: Vec<_> = (0..80).map(|n| get(&format!("/{n}"))).collect();
    for (n, reply) in client.at_once(&asks).into_iter().enumerate() {
        assert_eq!(reply.expect(200).text(), format!("/{n}"));
    }
}

#[test]
fn a_client_that_moves_is_the_same_one() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    client.send(&get("/1")).expect(200);
    client.move_away();
    client.send(&get("/2")).expect(200);
    assert_eq!(
        edge.metric("lakh_tls_handshakes_total{outcome=\"quic\"}"),
        1.0
    );
}

#[test]
fn a_client_shows_its_certificate_here_too() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start_with(
        &origin,
        &authority,
        &with_http3(", client_ca_file: $dir/ca.pem", ""),
    );
    let shows = Trust::showing(&authority, &authority.sign_client("ann"));
    Http3::connect(edge.web, &shows, "edge.test")
        .send(&get("/"))
        .expect(200);
    assert_eq!(
        origin.the_request().the("x-client-cert-subject"),
        "CN=ann,O=Acme"
    );
    // Refused by whoever reads what comes after the client's own part.
    let without = Http3::try_connect(edge.web, &Trust::of(&authority), "edge.test");
    let refused = without.map(|mut without| without.try_send(&get("/")).is_err());
    assert!(refused.unwrap_or(true));
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let mut before = connect(&edge, &authority);
    let next = Authority::new();
    next.sign("edge.test").write(&edge.dir, "site");
    let trust = Trust::of(&next);
    eventually("the new certificate is shown", || {
        Http3::try_connect(edge.web, &trust, "edge.test").is_ok()
    });
    before.send(&get("/")).expect(200);
}

#[test]
fn a_reload_adds_and_removes_it() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let (with, without) = (with_http3("", ""), config(ONE, ""));
    let edge = start_with(&origin, &authority, &without);
    let trust = Trust::of(&authority);
    let mut tcp = trust.connect(&edge, "edge.test");
    assert_eq!(get("/").on(&mut tcp).field("alt-svc"), None);
    edge.reload(&with);
    let mut first = connect(&edge, &authority);
    first.send(&get("/")).expect(200);
    edge.reload(&without);
    // Who is here stays, and the address can be had again.
    first.send(&get("/")).expect(200);
    edge.reload(&with);
    connect(&edge, &authority).send(&get("/")).expect(200);
    first.send(&get("/")).expect(200);
}

#[test]
fn a_drain_finishes_what_has_begun() {
    let (authority, gate) = (Authority::new(), Gate::default());
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/held" => Answer::ok("finished").after(&held),
        _ => Answer::ok("hello"),
    });
    let mut edge = start(&origin, &authority, "process: {drain: 20s}");
    let (mut client, mut idle) = (connect(&edge, &authority), connect(&edge, &authority));
    idle.send(&get("/")).expect(200);
    let mut asked = client.begin(&get("/held"));
    asked.finish().expect("taken");
    origin.await_requests(2);
    edge.sigterm();
    // RFC 9114 §5.2: it is told to go, and does.
    assert!(format!("{:?}", idle.ended()).contains("NO_ERROR"));
    gate.open();
    let reply = asked.reply().expect("a whole answer");
    assert_eq!(
        (reply.status, reply.text()),
        (StatusCode::OK.as_u16(), "finished".into())
    );
    drop(asked);
    client.ended();
    drop((client, idle));
    assert_eq!(edge.await_exit().code(), Some(0));
}

#[test]
fn after_an_upgrade_it_is_spoken_by_the_new_process() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let mut edge = start(&origin, &authority, "");
    let mut client = connect(&edge, &authority);
    client.send(&get("/")).expect(200);

    crate::upgrade::upgraded(&mut edge);

    assert_eq!(edge.await_end().code(), Some(0));
    let trust = Trust::of(&authority);
    let asked = || {
        let client = Http3::try_connect(edge.web, &trust, "edge.test").ok();
        client.and_then(|mut client| client.try_send(&get("/")).ok())
    };
    eventually("HTTP/3 is there again", || {
        asked().is_some_and(|reply| reply.status == 200)
    });
}

/// The same bytes as over HTTP/1.1, on a route that makes pictures smaller.
#[test]
fn a_picture_comes_as_small_as_it_was_asked_for() {
    let origin = Origin::start(|_| {
        let kept = [
            ("cache-control", "max-age=60"),
            ("content-type", "image/jpeg"),
        ];
        Answer::of(200, &kept, jpeg(&red_and_blue(800, 600)))
    });
    let authority = Authority::new();
    let yaml = with_http3("", "").replace("cache: {in: pages}", "cache: {in: pages}, images: true");
    let edge = start_with(&origin, &authority, &yaml);
    let asked = get("/photo.jpg?w=100").host("edge.test");

    let mut http3 = connect(&edge, &authority);
    let small = http3.send(&asked).expect(200);
    let picture = image::load_from_memory(&small.body).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (100, 75));
    let again = http3.send(&asked).expect(200);
    assert!(again.is_hit() && again.body == small.body);
    let mut http1 = Trust::of(&authority).connect(&edge, "edge.test");
    assert_eq!(asked.on(&mut http1).expect(200).body, small.body);
    assert_eq!(origin.count(), 1);
}

/// A client that has been here, on a path where its handshake comes to no end until the relay lets it.
fn early(edge: &Edge, relay: &Relay, trust: &Trust) -> Http3 {
    let mut came_back = None;
    eventually("a session that lets it ask early", || {
        let mut first = Http3::connect(edge.web, trust, "edge.test");
        first.send(&get("/first")).expect(200);
        relay.hold();
        came_back = Http3::come_back_early(relay.address, trust, "edge.test");
        came_back.is_some()
    });
    came_back.expect("it was waited for")
}

/// RFC 8470.
#[test]
fn what_comes_before_the_handshake_is_whole_is_answered_if_it_changes_nothing() {
    let authority = Authority::new();
    let origin = Origin::start(
        |seen| match (seen.path(), seen.field("early-data").is_some()) {
            ("/later", true) => Answer::of(425, &[], ""),
            _ => Answer::ok("here"),
        },
    );
    let config = with_http3("", "").replace("http3: true", "http3: true, early_data: true");
    let edge = start_with(&origin, &authority, &config);
    let trust = Trust::of(&authority);
    let of = |path: &str| origin.seen().into_iter().find(|seen| seen.path() == path);

    let relay = Relay::before(edge.web);
    let mut client = early(&edge, &relay, &trust);
    let mut writes = client.begin(&ask("POST", "/write"));
    writes.send(b"x").expect("it is open");
    writes.finish().expect("it is open");
    let _open = writes.stream;
    let mut reads = client.begin(&get("/read"));
    reads.finish().expect("no body");
    eventually("the origin is asked", || of("/read").is_some());
    assert_eq!(of("/read").expect("it is there").the("early-data"), "1");
    assert!(of("/write").is_none(), "what changes something waits");
    relay.release();
    assert_eq!(reads.reply().expect("an answer").text(), "here");
    eventually("the rest is sent on", || of("/write").is_some());
    assert_eq!(of("/write").expect("it is there").field("early-data"), None);
    client.send(&get("/then")).expect(200);
    assert_eq!(of("/then").expect("it is there").field("early-data"), None);

    let relay = Relay::before(edge.web);
    let mut client = early(&edge, &relay, &trust);
    let mut refused = client.begin(&get("/later"));
    refused.finish().expect("no body");
    eventually("the origin is asked", || of("/later").is_some());
    relay.release();
    assert_eq!(refused.reply().expect("an answer").status, 425);
    client.send(&get("/later")).expect(200);
}
