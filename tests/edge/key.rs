//! Which requests share an answer.

use crate::harness::{Answer, Ask, Edge, Origin, ask, get, head, post};

fn edge(key: &str, origin: &Origin) -> Edge {
    let yaml = format!(
        "
trusted_proxies: [127.0.0.2]
upstreams: {{app: {{servers: [$0]}}}}
caches: {{pages: {{memory: 64MiB}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app, cache: {{in: pages, ttl: 60s, key: {key}}}}}]
"
    );
    Edge::start(&yaml, &[origin])
}

/// Says what was asked for.
fn echo() -> Origin {
    Origin::start(|seen| match seen.method.as_str() {
        "GET" => Answer::ok(&seen.target),
        _ => Answer::of(204, &[], ""),
    })
}

/// Stores the first; which of the others it answers too.
fn answered(edge: &Edge, first: &Ask, others: &[Ask]) -> Vec<bool> {
    first.send(edge).expect(200);
    assert!(first.send(edge).is_hit(), "{}", first.target);
    others.iter().map(|ask| ask.send(edge).is_hit()).collect()
}

#[test]
fn parameters_that_are_not_kept_tell_nothing_apart() {
    let origin = echo();
    let edge = edge("{query: {keep: [id, page_*], sort: true}}", &origin);
    let others = [
        "page_size=2&id=1",
        "x=9&id=1&utm=2&page_size=2",
        "id=2&page_size=2",
        "id=1",
        "i%64=1&page_size=2",
    ];
    assert_eq!(
        answered(
            &edge,
            &get("/?id=1&page_size=2"),
            &others.map(|q| get(&format!("/?{q}")))
        ),
        [true, true, false, false, false]
    );
    // What is asked of the origin is what the client wrote.
    assert_eq!(origin.seen()[0].target, "/?id=1&page_size=2");
}

#[test]
fn parameters_may_come_in_any_order_when_sorted_but_not_those_of_one_name() {
    let origin = echo();
    let edge = edge("{query: {sort: true, ignore: [utm_*]}}", &origin);
    let others = ["b=1&a=1&a=2", "a=1&b=1&utm_x=1&a=2", "a=2&a=1&b=1"];
    assert_eq!(
        answered(
            &edge,
            &get("/?a=1&a=2&b=1"),
            &others.map(|q| get(&format!("/?{q}")))
        ),
        [true, true, false]
    );
}

#[test]
fn no_parameter_hides_behind_an_ignored_one() {
    let origin = echo();
    let edge = edge("{query: {ignore: [utm_*]}}", &origin);
    let others = ["a=1&utm_content=x;a=2", "a=1&utm_content=x"].map(|q| get(&format!("/?{q}")));
    assert_eq!(answered(&edge, &get("/?a=1"), &others), [false, true]);
}

#[test]
fn chosen_cookies_and_fields_count_and_no_others() {
    let origin = echo();
    let edge = edge(
        "{cookies: [region], headers: [x-device, accept-encoding]}",
        &origin,
    );
    let ask = |cookie: &str, device: &str, accepts: &str| {
        get("/")
            .with("cookie", cookie)
            .with("x-device", device)
            .with("accept-encoding", accepts)
    };
    let others = [
        ask("region=eu; id=2", "phone", "br;q=0.9,GZIP"),
        ask("region=us; id=1", "phone", "gzip, br"),
        ask("id=1", "phone", "gzip, br"),
        ask("region=eu", "desk", "gzip, br"),
        ask("region=eu", "phone", "gzip"),
    ];
    assert_eq!(
        answered(&edge, &ask("id=1; region=eu", "phone", "gzip, br"), &others),
        [true, false, false, false, false]
    );
}

#[test]
fn schemes_are_kept_apart_as_a_trusted_proxy_tells_them() {
    let origin = Origin::start(|seen| Answer::ok(seen.the("x-forwarded-proto")));
    let apart = edge("{}", &origin);
    let by = |from: &str, proto: &str| get("/").from(from).with("x-forwarded-proto", proto);
    let others = [
        by("127.0.0.2", "https"),
        by("127.0.0.2", "http"),
        by("127.0.0.3", "https"),
    ];
    assert_eq!(answered(&apart, &get("/"), &others), [false, true, true]);
    let secure = others[0].send(&apart);
    assert!(secure.is_hit() && secure.text() == "https", "{secure:?}");

    let together = edge("{scheme: false}", &origin);
    assert_eq!(answered(&together, &get("/"), &others), [true, true, true]);
}

#[test]
fn a_write_forgets_the_url_on_every_scheme_and_for_every_chosen_field() {
    let origin = echo();
    let edge = edge("{cookies: [region]}", &origin);
    let asks = [
        get("/"),
        get("/")
            .from("127.0.0.2")
            .with("x-forwarded-proto", "https"),
        get("/").with("cookie", "region=eu"),
    ];
    for ask in &asks {
        ask.send(&edge).expect(200);
        assert!(ask.send(&edge).is_hit());
    }
    post("/", "x").send(&edge).expect(204);
    for ask in &asks {
        assert!(!ask.send(&edge).is_hit(), "{:?}", ask.fields);
    }
}

#[test]
fn get_and_head_share_an_entry() {
    let origin = echo();
    let edge = edge("{}", &origin);
    head("/a").send(&edge).expect(200);
    let reply = get("/a").send(&edge).expect(200);
    assert!(reply.is_hit() && reply.text() == "/a", "{reply:?}");
    let reply = head("/a").send(&edge).expect(200);
    assert!(
        reply.is_hit() && reply.the("content-length") == "2",
        "{reply:?}"
    );
    assert_eq!(origin.count(), 1);
}

#[test]
fn each_spelling_of_a_path_is_asked_for() {
    let origin = echo();
    let edge = edge("{}", &origin);
    assert_eq!(
        answered(&edge, &get("/~a"), &[get("/%7Ea"), get("/%7ea")]),
        [false, false]
    );
    assert_eq!(get("/%7Ea").send(&edge).text(), "/%7Ea");
}

#[test]
fn clients_that_accept_the_same_share_a_variant() {
    let origin = Origin::start(|seen| {
        Answer::of(
            200,
            &[("vary", "accept, accept-encoding")],
            seen.field("accept").unwrap_or("-"),
        )
    });
    let edge = edge("{}", &origin);
    let ask = |accept: &str, encoding: &str| {
        get("/")
            .with("accept", accept)
            .with("accept-encoding", encoding)
    };
    let others = [
        ask(
            "*/*;q=0.1, image/webp, text/html;q=1.0",
            "br, gzip, zstd;q=0",
        ),
        ask("text/html, image/webp;q=0.9, */*;q=0.8", "gzip, br"),
        ask("text/html, image/webp, */*;q=0.8", "gzip"),
    ];
    // Codings are made at the edge, so nobody differs by those.
    assert_eq!(
        answered(
            &edge,
            &ask("text/html, image/webp, */*;q=0.8", "gzip, br"),
            &others
        ),
        [true, false, true]
    );
}

/// One URL is one route's for some and another's for the rest.
const APART: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes:
- {name: beta, match: {path: /r/*, header: {x-beta: \"1\"}}, upstream: app, rewrite: {strip_prefix: /r}, cache: {in: pages}}
- {name: main, match: {path: /r/*}, upstream: app, cache: {in: pages, purge_from: [127.0.0.1]}}
- {name: told, match: {path: /told/*, header: {x-beta: \"1\"}}, upstream: app, request_headers: {set: {x-told: beta}}, cache: {in: pages}}
- {name: plain, match: {path: /*}, upstream: app, cache: {in: pages}}
";

/// Says what it was asked for, and keeps it for a minute.
fn kept_echo() -> Origin {
    Origin::start(|seen| {
        let said = format!("{} {}", seen.target, seen.field("x-told").unwrap_or("-"));
        match seen.method.as_str() {
            "GET" => Answer::of(200, &[("cache-control", "max-age=60")], said),
            _ => Answer::of(204, &[], ""),
        }
    })
}

#[test]
fn routes_that_ask_servers_otherwise_share_nothing() {
    let origin = kept_echo();
    let edge = Edge::start(APART, &[&origin]);
    for (target, beta, plain) in [
        ("/r/a", "/a -", "/r/a -"),
        ("/told/a", "/told/a beta", "/told/a -"),
    ] {
        let asks = [get(target).with("x-beta", "1"), get(target)];
        for (ask, said) in asks.iter().zip([beta, plain]) {
            assert_eq!(ask.send(&edge).expect(200).text(), said);
            let again = ask.send(&edge);
            assert!(again.is_hit() && again.text() == said, "{again:?}");
        }
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn a_write_and_a_purge_reach_all_routes_of_a_url() {
    let origin = kept_echo();
    let edge = Edge::start(APART, &[&origin]);
    let asks = [get("/r/a").with("x-beta", "1"), get("/r/a")];
    let takes_back = [
        || post("/r/a", "x"),
        || post("/r/a", "x").with("x-beta", "1"),
        || ask("PURGE", "/r/a"),
    ];
    for take_back in takes_back {
        for ask in &asks {
            ask.send(&edge).expect(200);
            assert!(ask.send(&edge).is_hit());
        }
        take_back().send(&edge);
        for ask in &asks {
            assert!(!ask.send(&edge).is_hit(), "{:?}", take_back().method);
        }
    }
}
