//! Addresses that are kept out for a while.

use crate::harness::{Edge, Origin, Reply, get};
use std::time::{Duration, Instant};

const STRICT: &str = "
upstreams: {app: {servers: [$0]}}
rate_limits: {one: {key: client_address, rate: 1/min, burst: 1}}
bans:
  exempt: [127.0.0.8/32]
  rules:
  - {of: rate_limited, count: 3, within: 1m, length: 10m, ceiling: 1h}
  - {of: malformed, count: 2, length: 1m}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [one]}]
";

fn bans(edge: &Edge) -> Vec<serde_json::Value> {
    let page = edge
        .admin("/api/v1/bans")
        .expect("the admin listener is open");
    page.json()["bans"].as_array().expect("a list").clone()
}

fn assert_banned(reply: Reply) {
    let reply = reply.expect_problem(403);
    assert_eq!(reply.json()["type"], "urn:lakh:problem:banned");
    let seconds: u64 = reply.the("retry-after").parse().expect("seconds");
    assert!((1..=600).contains(&seconds), "{seconds}");
}

#[test]
fn who_keeps_hitting_a_limit_is_banned_and_an_operator_lets_it_in_again() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(STRICT, &[&origin]);
    let ask = || get("/").from("127.0.0.7").send(&edge);

    ask().expect(200);
    for _ in 0..3 {
        ask().expect_problem(429);
    }
    assert_banned(ask());
    get("/").from("127.0.0.6").send(&edge).expect(200);

    let [ban] = &bans(&edge)[..] else {
        panic!("one is banned");
    };
    assert_eq!(
        (&ban["address"], &ban["offence"]),
        (&"127.0.0.7".into(), &"rate_limited".into())
    );
    assert_eq!(
        edge.metric(r#"lakh_bans_total{offence="rate_limited"}"#),
        1.0
    );
    assert_eq!(edge.metric("lakh_banned_addresses"), 1.0);
    assert_eq!(edge.metric("lakh_requests_banned_total"), 1.0);

    edge.reload(&STRICT.replace("/*", "/all/*"));
    assert_banned(ask());

    let lifted = edge.command(&["unban", "127.0.0.7"]);
    assert!(lifted.status.success(), "{lifted:?}");
    ask().expect(404);
    assert_eq!(bans(&edge).len(), 0);
    let again = edge.command(&["unban", "127.0.0.7"]);
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("not banned"),
        "{again:?}"
    );
}

#[test]
fn malformed_requests_bring_a_ban_and_some_addresses_never_get_one() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(STRICT, &[&origin]);
    for _ in 0..2 {
        let mut client = edge.connect();
        client.send("GET / HTTP/1.1\r\n\r\n");
        client.reply("GET").expect(400);
    }
    assert_banned(get("/").send(&edge));

    let exempt = || get("/").from("127.0.0.8").send(&edge);
    exempt().expect(200);
    for _ in 0..6 {
        exempt().expect_problem(429);
    }
}

#[test]
fn an_operator_bans_by_hand() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(STRICT, &[&origin]);
    let banned = edge.command(&["ban", "127.0.0.9", "--for", "5m"]);
    assert!(banned.status.success(), "{banned:?}");
    assert_banned(get("/").from("127.0.0.9").send(&edge));
    let shown = edge.command(&["bans"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("127.0.0.9") && shown.contains("operator"),
        "{shown}"
    );
}

/// However long the client keeps its end open.
#[test]
fn the_connection_of_one_who_is_banned_is_gone_at_once() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(STRICT, &[&origin]);
    let banned = edge.command(&["ban", "127.0.0.1", "--for", "5m"]);
    assert!(banned.status.success(), "{banned:?}");
    let mut client = edge.connect();

    let asked = Instant::now();
    assert_banned(get("/").on(&mut client));
    edge.await_metric("lakh_connections", 0.0);

    // A client that is still sending would be waited for, for two seconds.
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    drop(client);
}

/// A client behind a trusted proxy is banned, not the proxy.
#[test]
fn a_trusted_proxy_is_not_banned_for_what_it_passes_on() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        &format!("trusted_proxies: [127.0.0.5/32]\n{STRICT}"),
        &[&origin],
    );
    let through = |client: &str| {
        let ask = get("/").with("forwarded", format!("for={client};proto=https"));
        ask.from("127.0.0.5").send(&edge)
    };
    through("203.0.113.1").expect(200);
    for _ in 0..3 {
        through("203.0.113.1").expect_problem(429);
    }
    assert_banned(through("203.0.113.1"));
    through("203.0.113.2").expect(200);
    assert_eq!(bans(&edge).len(), 1);
}
