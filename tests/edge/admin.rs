//! Who may talk to the admin listener, and how it answers whoever asks otherwise than it is meant.

use crate::harness::{ADMIN_TOKEN, Ask, Client, Edge, Origin, Reply, ask, get, order_to};

fn send(edge: &Edge, ask: &Ask) -> Reply {
    ask.on(&mut Client::connect(edge.admin))
}

/// A page whose name was led to this address gives no orders and reads nothing.
#[test]
fn a_page_whose_name_leads_here_is_refused_where_no_token_is_asked_for() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let server = origin.address;
    let drain = format!(r#"{{"upstream": "app", "server": "{server}"}}"#);
    let drain = || order_to("/api/v1/servers/drain", &drain);
    for (ask, slug) in [
        (drain().host("evil.example"), "host-refused"),
        (
            drain()
                .host("evil.example")
                .with("origin", "http://evil.example"),
            "host-refused",
        ),
        (
            drain().with("origin", "http://evil.example"),
            "origin-refused",
        ),
        (drain().with("origin", "null"), "origin-refused"),
        (get("/api/v1/config").host("evil.example"), "host-refused"),
        (get("/metrics").host("evil.example"), "host-refused"),
    ] {
        let problem = send(&edge, &ask).expect(403).json();
        assert_eq!(problem["type"], format!("urn:lakh:problem:{slug}"));
        let detail = problem["detail"].to_string();
        assert!(detail.contains("admin.token_file"), "{detail}");
    }
    assert_eq!(edge.server(server)["state"], "up");
    for probe in ["/healthz", "/readyz"] {
        send(&edge, &get(probe).host("edge-1.internal")).expect(200);
    }
    let own = edge.admin.to_string();
    let of_the_page = drain().host(&own).with("origin", format!("http://{own}"));
    send(&edge, &of_the_page).expect(200);
    assert_eq!(edge.server(server)["state"], "draining");
}

/// The token is what no page knows.
#[test]
fn who_has_the_token_may_come_by_any_name() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
admin: {address: $admin, token_file: $dir/token}
",
        &[&origin],
    );
    let ask = get("/api/v1/status").host("edge-1.internal");
    send(&edge, &ask).expect(401);
    let ask = ask.with("origin", "https://ops.internal");
    // RFC 9110 §11.1: a scheme is the same in any case.
    for scheme in ["Bearer", "bearer", "BEARER "] {
        let ask = get(&ask.target).with("authorization", format!("{scheme} {ADMIN_TOKEN}"));
        send(&edge, &ask).expect(200);
    }
    for credentials in ["Bearer", "Basic", ADMIN_TOKEN] {
        let ask = get(&ask.target).with("authorization", credentials);
        send(&edge, &ask).expect(401);
    }
    let ask = ask.with("authorization", format!("Bearer {ADMIN_TOKEN}"));
    send(&edge, &ask).expect(200);
}

/// RFC 9110 §15.5.6: with what is allowed.
#[test]
fn another_method_than_is_meant_is_told_which_is() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    for (ask, allowed) in [
        (get("/api/v1/reload"), "POST"),
        (get("/drain"), "POST"),
        (ask("DELETE", "/drain"), "POST"),
        (order_to("/metrics", "{}"), "GET, HEAD"),
        (ask("DELETE", "/api/v1/status"), "GET, HEAD"),
    ] {
        let reply = send(&edge, &ask.host("localhost")).expect(405);
        assert_eq!(reply.the("allow"), allowed);
    }
    send(&edge, &order_to("/api/v1/none", "{}")).expect(404);
}

#[test]
fn old_clients_waiting_clients_and_broken_ones_get_what_they_can_read() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let connect = || Client::connect(edge.admin);

    let mut old = connect();
    old.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.reply("GET").expect(200).text(), "ok\n");
    assert!(old.closes(), "it may read to the connection's end");

    let mut waiting = connect();
    let order = order_to("/api/v1/validate", "{}").with("expect", "100-continue");
    let wire = order.wire();
    waiting.send(&wire[..wire.len() - 2]);
    assert_eq!(
        waiting.read_head().expect("it is told to go on").status,
        100
    );
    waiting.send("{}");
    waiting.reply("POST").expect(200);

    let large = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    for (head, status) in [
        ("GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (&large, 431),
    ] {
        let mut client = connect();
        client.send(head);
        let reply = client.reply("GET").expect(status);
        assert_eq!(reply.the("content-type"), "application/problem+json");
        assert_eq!(reply.json()["status"], status);
        assert!(client.closes());
    }
}
