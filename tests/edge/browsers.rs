//! What browsers are told: CORS, security headers; routes under maintenance; sizes by route.

use crate::harness::{Answer, Ask, Edge, Origin, ask, get, h2c, post};

const CORS: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {}}
auth: {people: {jwt: {secret_file: $dir/secret}}}
rate_limits: {few: {key: client_address, rate: 1/min, burst: 2}}
routes:
- name: api
  match: {path: /api/*, methods: [GET, PUT]}
  upstream: app
  auth: people
  cors: {origins: ['https://shop.example', 'https://*.apps.example'], methods: [GET, PUT], credentials: true, max_age: 1h, expose: [x-total]}
- name: cached
  match: {path: /cached/*}
  upstream: app
  cache: {in: pages, ttl: 1m}
  cors: {origins: ['https://a.example', 'https://b.example']}
- name: limited
  match: {path: /limited}
  upstream: app
  rate_limits: [few]
  cors: {origins: ['*'], headers: [x-a]}
- {name: all, match: {path: /*}, upstream: app}
";

fn start(yaml: &str, origin: &Origin) -> Edge {
    Edge::start_with(yaml, &[origin], |dir| {
        let secret = "a secret of these tests, and of no other edge";
        std::fs::write(dir.join("secret"), secret).expect("the folder is ours");
        std::fs::write(dir.join("page.html"), "<h1>Soon</h1>").expect("the folder is ours");
    })
}

fn preflight(target: &str, origin: &str, method: &str) -> Ask {
    ask("OPTIONS", target)
        .with("origin", origin)
        .with("access-control-request-method", method)
}

#[test]
fn preflights_are_answered_at_the_edge_before_any_proof() {
    let origin = Origin::saying("hello");
    let edge = start(CORS, &origin);
    for from in ["https://shop.example", "https://x.apps.example"] {
        let question =
            preflight("/api/x", from, "PUT").with("access-control-request-headers", "content-type");
        for reply in [question.send(&edge), h2c(edge.web, &question)] {
            let reply = reply.expect(204);
            assert_eq!(reply.the("access-control-allow-origin"), from);
            assert_eq!(reply.the("access-control-allow-credentials"), "true");
            assert_eq!(reply.the("access-control-allow-methods"), "GET, PUT");
            assert_eq!(reply.the("access-control-allow-headers"), "content-type");
            assert_eq!(reply.the("access-control-max-age"), "3600");
            assert!(reply.all("vary").contains(&"origin"), "{reply:?}");
            assert!(!reply.the("x-request-id").is_empty());
        }
    }
    let reply = preflight("/api/x", "https://evil.example", "PUT").send(&edge);
    let reply = reply.expect_problem(403);
    assert_eq!(reply.json()["type"], "urn:lakh:problem:origin-refused");
    assert_eq!(reply.field("access-control-allow-origin"), None);
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="api",reason="origin"}"#),
        1.0
    );
    assert_eq!(origin.count(), 0);

    preflight("/elsewhere", "https://shop.example", "PUT")
        .send(&edge)
        .expect(200);
    ask("OPTIONS", "/cached/x").send(&edge).expect(200);
    assert_eq!(origin.count(), 2, "others are the origin's");
}

#[test]
fn refusals_can_be_read_by_the_page_too() {
    let origin = Origin::saying("hello");
    let edge = start(CORS, &origin);
    let reply = get("/api/x")
        .with("origin", "https://shop.example")
        .send(&edge);
    let reply = reply.expect_problem(401);
    assert_eq!(
        reply.the("access-control-allow-origin"),
        "https://shop.example"
    );
    assert_eq!(reply.the("access-control-expose-headers"), "x-total");
    let from = |n: usize| {
        let page = format!("https://page{n}.example");
        get("/limited").with("origin", page).send(&edge)
    };
    let replies: Vec<_> = (0..3).map(from).collect();
    assert_eq!(
        replies.iter().map(|r| r.status).collect::<Vec<_>>(),
        [200, 200, 429]
    );
    for reply in replies {
        assert_eq!(reply.the("access-control-allow-origin"), "*");
        assert_eq!(reply.field("vary"), None);
    }
    let counted = preflight("/limited", "https://x.example", "GET").send(&edge);
    counted.expect_problem(429);
}

#[test]
fn what_is_stored_names_no_origin() {
    let origin = Origin::start(|_| {
        Answer::of(
            200,
            &[
                ("access-control-allow-origin", "https://own.example"),
                ("access-control-allow-credentials", "true"),
            ],
            "hello",
        )
    });
    let edge = start(CORS, &origin);
    let mut hits = 0;
    for from in [
        "https://a.example",
        "https://b.example",
        "https://c.example",
        "",
    ] {
        for _ in 0..2 {
            let request = match from {
                "" => get("/cached/x"),
                from => get("/cached/x").with("origin", from),
            };
            let reply = request.send(&edge).expect(200);
            hits += usize::from(reply.is_hit());
            let allowed =
                Some(from).filter(|from| ["https://a.example", "https://b.example"].contains(from));
            assert_eq!(reply.field("access-control-allow-origin"), allowed);
            assert_eq!(reply.field("access-control-allow-credentials"), None);
            assert!(reply.all("vary").contains(&"origin"), "{reply:?}");
            let again = h2c(edge.web, &request).expect(200);
            assert_eq!(again.field("access-control-allow-origin"), allowed);
        }
    }
    assert_eq!((hits, origin.count()), (7, 1));
}

#[test]
fn strict_headers_are_on_every_answer_and_the_applications_win() {
    let origin = Origin::start(|seen| match seen.path() {
        "/own" => Answer::of(200, &[("x-frame-options", "SAMEORIGIN")], "hello"),
        _ => Answer::ok("hello"),
    });
    let edge = start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {}}
trusted_proxies: [127.0.0.0/8]
security_headers: strict
routes:
- {name: plain, match: {path: /plain}, upstream: app, security_headers: none}
- {name: gone, match: {path: /gone}, upstream: app, deny: [127.0.0.1]}
- {name: cached, match: {path: /cached}, upstream: app, cache: {in: pages, ttl: 1m}}
- {name: set, match: {path: /set}, upstream: app, response_headers: {set: {referrer-policy: no-referrer}}}
- {name: all, match: {path: /*}, upstream: app}
",
        &origin,
    );
    for target in ["/", "/cached", "/cached", "/gone"] {
        let reply = get(target).send(&edge);
        assert_eq!(reply.the("x-content-type-options"), "nosniff", "{target}");
        assert_eq!(reply.the("x-frame-options"), "DENY");
        assert!(
            reply
                .the("content-security-policy")
                .starts_with("frame-ancestors 'none'")
        );
        assert_eq!(
            reply.field("strict-transport-security"),
            None,
            "over plain HTTP"
        );
        let secure = get(target).with("x-forwarded-proto", "https").send(&edge);
        assert!(
            secure
                .the("strict-transport-security")
                .starts_with("max-age=")
        );
    }
    assert_eq!(get("/plain").send(&edge).field("x-frame-options"), None);
    assert_eq!(get("/own").send(&edge).the("x-frame-options"), "SAMEORIGIN");
    assert_eq!(
        get("/set").send(&edge).the("referrer-policy"),
        "no-referrer"
    );
}

#[test]
fn a_route_may_be_closed_for_a_while() {
    let origin = Origin::saying("hello");
    let yaml = "
upstreams: {app: {servers: [$0]}}
routes:
- {name: page, match: {path: /page}, upstream: app, maintenance: {retry_after: 10m, page: $dir/page.html}}
- {name: some, match: {path: /some}, upstream: app, maintenance: {allow: [127.0.0.2]}}
- {name: closed, match: {path: /closed}, upstream: app, maintenance: true}
- {name: open, match: {path: /*}, upstream: app, maintenance: false}
";
    let edge = start(yaml, &origin);
    let reply = get("/closed").send(&edge).expect_problem(503);
    assert_eq!(reply.json()["type"], "urn:lakh:problem:maintenance");
    assert_eq!(reply.the("retry-after"), "300");
    let reply = get("/page").send(&edge).expect(503);
    assert_eq!(reply.the("retry-after"), "600");
    assert_eq!(
        (reply.the("content-type"), reply.text().as_str()),
        ("text/html; charset=utf-8", "<h1>Soon</h1>")
    );
    get("/some").send(&edge).expect_problem(503);
    get("/some").from("127.0.0.2").send(&edge).expect(200);
    get("/open").send(&edge).expect(200);
    assert_eq!(
        edge.metric(r#"lakh_refused_total{reason="maintenance"}"#),
        3.0
    );
    edge.reload(&yaml.replace("maintenance: true", "maintenance: false"));
    get("/closed").send(&edge).expect(200);
}

#[test]
fn a_route_may_take_less_than_the_edge() {
    let origin = Origin::saying("hello");
    let edge = start(
        "
upstreams: {app: {servers: [$0]}}
routes:
- {name: small, match: {path: /small}, upstream: app, url_length: 100B, header_size: 1KiB, body_size: 10B}
- {name: all, match: {path: /*}, upstream: app}
",
        &origin,
    );
    let long = format!("/small?{}", "x".repeat(94));
    let wide = |target: &str| get(target).with("x-wide", "y".repeat(1000));
    for send in [
        |ask: Ask, edge: &Edge| ask.send(edge),
        |ask: Ask, edge: &Edge| h2c(edge.web, &ask),
    ] {
        let reply = send(get(&long), &edge).expect_problem(414);
        assert_eq!(reply.json()["type"], "urn:lakh:problem:url-too-long");
        send(wide("/small"), &edge).expect_problem(431);
        send(post("/small", "x".repeat(11)), &edge).expect_problem(413);
        send(get(&long[..100]), &edge).expect(200);
        send(wide("/other"), &edge).expect(200);
        send(post("/small", "x".repeat(10)), &edge).expect(200);
    }
    for reason in ["url_length", "header_size", "body_size"] {
        let reason = reason.replace("header_size", "head_size");
        let counted = edge.metric(&format!(
            r#"lakh_refused_total{{route="small",reason="{reason}"}}"#
        ));
        assert_eq!(counted, 2.0, "{reason}");
    }
}
