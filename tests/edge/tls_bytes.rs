//! Bytes inside TLS: whole ones, ends that are said and ends that are not, and clients that are slow.

use crate::harness::{
    Answer, Authority, Client, Edge, Gate, Origin, Step, Trust, at_once, eventually, get, noise,
    post,
};
use crate::tls::start;
use std::io::ErrorKind::UnexpectedEof;
use std::time::Duration;

fn started(origin: &Origin, more: &str) -> (Edge, Trust) {
    let authority = Authority::new();
    (start(origin, &authority, "", more), Trust::of(&authority))
}

#[test]
fn large_bodies_arrive_as_they_were_sent() {
    let large = noise(20 << 20, 7);
    let body = large.clone();
    let origin = Origin::start(move |seen| match &*seen.method {
        "POST" => Answer::ok(&seen.body),
        _ => match &*seen.target {
            "/stored" => Answer::of(200, &[("cache-control", "max-age=60")], &body[..200_000]),
            "/chunked" => Answer::chunked(&[], &body),
            _ => Answer::ok(&body),
        },
    });
    let (edge, trust) = started(&origin, "limits: {body_size: 64MiB}");
    at_once(3, |_| {
        let mut client = trust.connect(&edge, "edge.test");
        assert!(get("/whole").on(&mut client).expect(200).body == large);
        assert!(get("/chunked").on(&mut client).expect(200).body == large);
        for _ in 0..3 {
            assert!(get("/stored").on(&mut client).expect(200).body == large[..200_000]);
        }
        assert!(post("/", &large).on(&mut client).expect(200).body == large);
        assert!(post("/", &large).chunked().on(&mut client).expect(200).body == large);
    });
}

/// All sizes around those of records and buffers.
#[test]
fn bodies_of_every_size_arrive_whole() {
    let large = noise(300 << 10, 9);
    let body = large.clone();
    let origin = Origin::start(move |seen| {
        let n: usize = seen.target[1..].parse().expect("a number");
        Answer::of(200, &[("cache-control", "max-age=60")], &body[..n])
    });
    let (edge, trust) = started(&origin, "");
    let mut client = trust.connect(&edge, "edge.test");
    for near in [1usize << 10, 16 << 10, 64 << 10, 80 << 10, 256 << 10] {
        for n in near - 300..near + 40 {
            if n % 17 == 0 || n.abs_diff(near) < 3 {
                let reply = get(&format!("/{n}")).on(&mut client).expect(200);
                assert!(reply.body == large[..n], "{n}");
                // Once more: a hit goes another way.
                let reply = get(&format!("/{n}")).on(&mut client).expect(200);
                assert!(reply.body == large[..n], "{n}");
            }
        }
    }
}

fn read_to_end(client: &mut Client) -> std::io::Result<usize> {
    let mut read = 0;
    loop {
        match client.read_some()? {
            0 => return Ok(read),
            n => read += n,
        }
    }
}

#[test]
fn an_end_that_is_meant_is_said() {
    let origin = Origin::saying("hello");
    let (edge, trust) = started(&origin, "limits: {idle_timeout: 300ms}");
    let mut asked = trust.connect(&edge, "edge.test");
    asked.send("GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n");
    assert!(read_to_end(&mut asked).expect("a close_notify") > 0);
    let mut idle = trust.connect(&edge, "edge.test");
    read_to_end(&mut idle).expect("a close_notify");
    let mut malformed = trust.connect(&edge, "edge.test");
    malformed.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(read_to_end(&mut malformed).expect("a close_notify") > 0);
}

/// An answer that breaks off must not look whole, even where only the connection's end would tell.
#[test]
fn an_end_that_is_none_is_not_said() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this";
    let origin = Origin::start(move |_| Answer::raw(head).then(Step::Close));
    let (edge, trust) = started(&origin, "");
    for ask in ["GET", "POST"] {
        let mut client = trust.connect(&edge, "edge.test");
        client.send(format!(
            "{ask} / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 0\r\n\r\n"
        ));
        let e = read_to_end(&mut client).expect_err("it broke off");
        assert_eq!(e.kind(), UnexpectedEof, "{ask}");
        // HTTP/1.0 has nothing else to tell it by.
        let mut client = trust.connect(&edge, "edge.test");
        client.send(format!(
            "{ask} / HTTP/1.0\r\nHost: edge.test\r\nContent-Length: 0\r\n\r\n"
        ));
        let e = read_to_end(&mut client).expect_err("it broke off");
        assert_eq!(e.kind(), UnexpectedEof, "{ask}");
    }
}

#[test]
fn a_tunnel_goes_through() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let origin = Origin::start(move |_| Answer::raw(switch).then(Step::Echo));
    let (edge, trust) = started(&origin, "");
    let mut client = trust.connect(&edge, "edge.test");
    let upgrade = get("/")
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    upgrade.on(&mut client).expect(101);
    for n in [1, 1000, 100_000] {
        let said = noise(n, 3);
        client.send(&said);
        assert!(client.read_exactly(n).expect("an echo") == said);
    }
    edge.reload(&crate::tls::config(
        "certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]",
        "",
    ));
    client.send("still there?");
    assert_eq!(client.read_exactly(12).expect("an echo"), b"still there?");
}

/// Neither costs more than its deadline, and others are served meanwhile.
#[test]
fn who_does_not_finish_a_handshake_is_closed() {
    let origin = Origin::saying("hello");
    let limits = "limits: {header_timeout: 500ms, handshakes_per_address: 20}";
    let (edge, trust) = started(&origin, limits);
    let mut hello = Vec::new();
    trust
        .begin("edge.test")
        .write_tls(&mut hello)
        .expect("memory takes it");
    let starts = [&b""[..], &hello[..1], &hello[..hello.len() / 2], &hello];
    let mut slow: Vec<_> = starts.iter().map(|_| edge.connect()).collect();
    for (client, start) in slow.iter_mut().zip(starts) {
        client.send(start);
    }

    get("/")
        .on(&mut trust.connect(&edge, "edge.test"))
        .expect(200);

    for client in &mut slow {
        // What it was told before is read over.
        while client.read_some().is_ok_and(|n| n > 0) {}
    }
    edge.await_metric("lakh_tls_handshakes_total{outcome=\"timeout\"}", 4.0);
    edge.await_metric("lakh_connections", 0.0);
}

#[test]
fn handshakes_of_one_address_are_bounded() {
    let origin = Origin::saying("hello");
    let (edge, trust) = started(&origin, "limits: {handshakes_per_address: 3}");
    let held: Vec<_> = (0..3).map(|_| edge.connect()).collect();
    edge.await_metric("lakh_tls_handshakes_open", 3.0);

    assert!(trust.try_connect(edge.web, "edge.test").is_err());
    edge.await_metric("lakh_tls_handshakes_total{outcome=\"refused\"}", 1.0);

    drop(held);
    edge.await_metric("lakh_tls_handshakes_open", 0.0);
    get("/")
        .on(&mut trust.connect(&edge, "edge.test"))
        .expect(200);
}

#[test]
fn a_drain_finishes_what_is_open() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let (mut edge, trust) = started(&origin, "");
    let mut idle = trust.connect(&edge, "edge.test");
    let mut client = trust.connect(&edge, "edge.test");
    client.send(get("/").wire());
    eventually("it is asked", || origin.count() == 1);

    edge.sigterm();

    read_to_end(&mut idle).expect("a close_notify");
    gate.open();
    assert_eq!(client.reply("GET").expect(200).text(), "late");
    read_to_end(&mut client).expect("a close_notify");
    assert!(edge.await_exit().success());
}

/// A body may come as slowly inside TLS as outside, and no slower.
#[test]
fn who_reads_nothing_is_given_up() {
    let large = noise(64 << 20, 5);
    let origin = Origin::start(move |_| Answer::ok(&large));
    let (edge, trust) = started(&origin, "limits: {send_timeout: 500ms}");
    let mut client = trust.connect(&edge, "edge.test");
    client.send(get("/").wire());
    assert!(client.has_answer_within(Duration::from_secs(10)));
    edge.await_metric("lakh_connections", 0.0);
    assert!(read_to_end(&mut client).is_err());
}
