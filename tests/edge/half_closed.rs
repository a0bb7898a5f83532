//! Clients that say that they send no more, and wait: RFC 9112 §9.6. And those that have left, which look the same.

use crate::harness::{
    Answer, Ask, Authority, Client, Edge, Gate, Origin, Step, Trust, eventually, get, post,
};
use crate::tls;

/// Answers once the gate is open that the path names.
fn gated(gates: &[Gate]) -> Origin {
    let gates = gates.to_vec();
    Origin::start(move |seen| {
        let n: usize = seen.path()[1..].parse().expect("/N");
        Answer::ok("late").after(&gates[n])
    })
}

/// One that goes the plain way, and one that is Pingora's.
fn asks(target: &str) -> [Ask; 2] {
    let fresh = |ask: Ask| ask.with("cache-control", "no-store");
    [fresh(get(target)), post(target, "a body")]
}

/// Without TLS, and inside it.
fn both(origin: &Origin, authority: &Authority) -> [Edge; 2] {
    let clear = "
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    [
        Edge::start(clear, &[origin]),
        tls::start(origin, authority, "", ""),
    ]
}

fn connect(edge: &Edge, n: usize, authority: &Authority) -> Client {
    match n {
        0 => edge.connect(),
        _ => Trust::of(authority).connect(edge, "edge.test"),
    }
}

#[test]
fn who_only_sends_no_more_is_answered() {
    let gates: Vec<_> = (0..4).map(|_| Gate::default()).collect();
    let (origin, authority) = (gated(&gates), Authority::new());
    for (n, edge) in both(&origin, &authority).iter().enumerate() {
        for i in 0..2 {
            let which = 2 * n + i;
            let asks = &asks(&format!("/{which}"))[i];
            let mut client = connect(edge, n, &authority);
            client.send(asks.wire());
            client.end();
            // So the edge has seen that it sends no more.
            assert_eq!(client.read_head().expect("an answer").status, 100);
            origin.await_requests(which + 1);
            gates[which].open();
            assert_eq!(client.reply(&asks.method).expect(200).text(), "late");
            assert!(client.closes());
        }
    }
}

#[test]
fn and_gets_all_of_a_slow_answer() {
    let gates = [Gate::default(), Gate::default()];
    let [first, second] = gates.clone();
    let origin = Origin::start(move |_| {
        Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .after(&first)
            .then(Step::Wait(second.clone()))
            .then_send("6\r\n world\r\n0\r\n\r\n")
    });
    let authority = Authority::new();
    let [edge, _] = both(&origin, &authority);
    let mut client = edge.connect();
    client.send(get("/").wire());
    client.end();
    assert_eq!(client.read_head().expect("an answer").status, 100);
    gates[0].open();
    assert_eq!(client.read_head().expect("an answer").status, 200);
    assert_eq!(client.read_chunk().expect("the first part"), b"hello");
    gates[1].open();
    assert_eq!(client.read_chunk().expect("the rest"), b" world");
    assert_eq!(client.read_chunk().expect("an end"), b"");
    assert!(client.closes());
}

#[test]
fn who_has_left_frees_its_server() {
    let (origin, authority) = (gated(&[Gate::default()]), Authority::new());
    let mut asked = 0;
    for (n, edge) in both(&origin, &authority).iter().enumerate() {
        for asks in asks("/0") {
            let mut client = connect(edge, n, &authority);
            client.send(asks.wire());
            asked += 1;
            origin.await_requests(asked);
            edge.await_metric("lakh_in_flight", 1.0);
            drop(client);
            edge.await_metric("lakh_in_flight", 0.0);
        }
        let left = r#"lakh_http_requests_total{route="all",code="499"}"#;
        edge.await_metric(left, 2.0);
    }
}

/// A request that broke off waits for nothing.
#[test]
fn who_has_not_sent_all_is_gone() {
    let (origin, authority) = (gated(&[Gate::default()]), Authority::new());
    let [edge, _] = both(&origin, &authority);
    for cut in [
        "Content-Length: 9\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = edge.connect();
        client.send(format!("POST /0 HTTP/1.1\r\nHost: h\r\n{cut}"));
        client.end();
        assert!(client.closes(), "{cut}");
    }
    edge.await_metric("lakh_in_flight", 0.0);
}

/// It would take an answer before the answer for the answer.
#[test]
fn who_speaks_http_1_0_is_taken_for_gone() {
    let (origin, authority) = (gated(&[Gate::default()]), Authority::new());
    let [edge, _] = both(&origin, &authority);
    let mut client = edge.connect();
    client.send("GET /0 HTTP/1.0\r\nHost: h\r\n\r\n");
    origin.await_requests(1);
    client.end();
    edge.await_metric("lakh_in_flight", 0.0);
    assert!(client.closes());
}

/// As `nc` does it. A moment is not long on a machine that has much to do.
#[test]
fn who_speaks_http_1_0_is_answered_where_that_takes_a_moment() {
    let (origin, authority) = (Origin::start(|_| Answer::ok("soon")), Authority::new());
    let [edge, _] = both(&origin, &authority);
    eventually("an answer", || {
        let mut client = edge.connect();
        client.send("POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        client.end();
        client
            .try_reply("POST")
            .is_ok_and(|reply| reply.expect(200).text() == "soon")
    });
}
