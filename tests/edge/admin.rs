//! Who may talk to the admin listener, and how it answers whoever asks otherwise than it is meant.

use crate::harness::{ADMIN_TOKEN, Ask, Client, Edge, Origin, Reply, get, order_to};

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
    let ask = ask.with("authorization", format!("Bearer {ADMIN_TOKEN}"));
    send(&edge, &ask.with("origin", "https://ops.internal")).expect(200);
}
