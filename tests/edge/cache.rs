//! What is stored, under which key, and what a stored answer looks like.

use crate::harness::{
    Answer, Ask, Edge, Origin, Seen, Step, ask, eventually, get, h2c, head, noise, post,
};

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

fn edge_before(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Edge, Origin) {
    let origin = Origin::start(handler);
    (Edge::start(CACHED, &[&origin]), origin)
}

/// Asks twice; whether the second answer came out of the cache, and both bodies were the same.
#[track_caller]
fn is_stored(edge: &Edge, ask: &Ask) -> bool {
    let (first, second) = (ask.send(edge), ask.send(edge));
    assert_eq!(first.body, second.body);
    assert_eq!(first.status, second.status);
    assert!(!first.is_hit(), "{first:?}");
    second.is_hit()
}

#[test]
fn a_miss_then_a_hit() {
    let (edge, origin) = edge_before(|_| {
        Answer::of(
            200,
            &[
                MINUTE,
                ("etag", "\"1\""),
                ("content-type", "text/plain"),
                ("x-own", "1"),
            ],
            "hello",
        )
    });

    let miss = get("/a").send(&edge).expect(200);
    edge.await_metric("lakh_cache_objects", 1.0);
    let hit = get("/a").send(&edge).expect(200);

    assert_eq!(miss.cache_status(), "fwd=miss; stored");
    assert!(hit.cache_status().starts_with("hit; ttl="), "{hit:?}");
    assert_eq!(origin.count(), 1);
    for reply in [&miss, &hit] {
        assert_eq!(reply.text(), "hello");
        assert_eq!(reply.the("etag"), "\"1\"");
        assert_eq!(reply.the("content-type"), "text/plain");
        assert_eq!(reply.the("content-length"), "5");
        assert_eq!(reply.the("x-own"), "1");
        assert_eq!(reply.the("via"), "1.1 lakh");
        assert!(reply.the("age").parse::<u64>().expect("seconds") < 10);
    }
    assert_ne!(miss.the("x-request-id"), hit.the("x-request-id"));
    assert_eq!(
        edge.metric(r#"lakh_cache_requests_total{status="hit"}"#),
        1.0
    );
    assert_eq!(
        edge.metric(r#"lakh_cache_requests_total{status="miss"}"#),
        1.0
    );
    assert_eq!(
        edge.metric(r#"lakh_cache_fills_total{outcome="stored"}"#),
        1.0
    );
    assert!(edge.metric("lakh_cache_bytes") >= 5.0);
}

#[test]
fn a_hit_is_served_over_h2c_and_after_the_origin_is_gone() {
    let (edge, mut origin) = edge_before(|_| Answer::of(200, &[MINUTE], "hello"));
    get("/").send(&edge).expect(200);

    origin.stop();

    let hit = h2c(edge.web, &get("/")).expect(200);
    assert!(hit.is_hit() && hit.text() == "hello", "{hit:?}");
    get("/never-seen").send(&edge).expect_problem(502);
}

#[test]
fn a_stored_answer_is_older_than_the_origin_said() {
    let (edge, _origin) = edge_before(|_| {
        Answer::of(
            200,
            &[("cache-control", "max-age=300"), ("age", "100")],
            "hello",
        )
    });

    get("/").send(&edge).expect(200);
    let hit = get("/").send(&edge).expect(200);

    let age: u64 = hit.the("age").parse().expect("seconds");
    assert!((100..120).contains(&age), "{age}");
    assert!(hit.is_hit());
}

#[test]
fn what_says_so_is_not_stored() {
    let (edge, _origin) = edge_before(|seen| {
        let fields: &[(&str, &str)] = match seen.path() {
            "/no-store" => &[("cache-control", "max-age=60, no-store")],
            "/private" => &[("cache-control", "private, max-age=60")],
            "/private-upper" => &[("Cache-Control", "Max-Age=60, PRIVATE")],
            "/cookie" => &[MINUTE, ("set-cookie", "session=1")],
            "/vary-star" => &[MINUTE, ("vary", "*")],
            "/nothing" => &[],
            "/zero" => &[("cache-control", "max-age=0")],
            "/s-maxage-zero" => &[("cache-control", "max-age=60, s-maxage=0")],
            "/expired" => &[("expires", "0")],
            _ => &[MINUTE],
        };
        Answer::of(200, fields, "mine alone")
    });

    for path in [
        "/no-store",
        "/private",
        "/private-upper",
        "/cookie",
        "/vary-star",
        "/nothing",
        "/zero",
        "/s-maxage-zero",
        "/expired",
    ] {
        assert!(!is_stored(&edge, &get(path)), "{path}");
    }
    assert!(is_stored(&edge, &get("/plain")), "the others are");
    assert!(!is_stored(
        &edge,
        &get("/secret").with("authorization", "Basic YTpi")
    ));
    let asked = get("/asked").with("cache-control", "no-store");
    assert!(!is_stored(&edge, &asked));
    assert!(is_stored(&edge, &get("/asked")), "for others it is");
}

#[test]
fn what_was_given_to_one_with_a_token_is_not_given_to_another() {
    let (edge, origin) = edge_before(|seen| {
        let control = match seen.path() {
            "/public" => "public, max-age=60",
            _ => "max-age=60",
        };
        Answer::of(
            200,
            &[("cache-control", control)],
            seen.field("authorization").unwrap_or("nobody"),
        )
    });

    assert_eq!(
        get("/mine")
            .with("authorization", "Bearer a")
            .send(&edge)
            .text(),
        "Bearer a"
    );
    assert_eq!(
        get("/mine")
            .with("authorization", "Bearer b")
            .send(&edge)
            .text(),
        "Bearer b"
    );
    assert_eq!(get("/mine").send(&edge).text(), "nobody");
    assert_eq!(origin.count(), 3);
    let again = get("/mine").send(&edge);
    assert!(again.is_hit(), "those with tokens keep nothing from others");

    assert!(is_stored(
        &edge,
        &get("/public").with("authorization", "Bearer a")
    ));
}

#[test]
fn failures_are_stored_only_on_the_origins_word() {
    let (edge, _origin) = edge_before(|seen| {
        let (said, status) = seen.path()[1..].split_once('/').expect("two parts");
        let fields: &[_] = if said == "minute" { &[MINUTE] } else { &[] };
        Answer::of(status.parse().expect("a status"), fields, "failed")
    });

    for status in [500, 502, 503, 504, 401, 403, 404, 429] {
        let ask = get(&format!("/nothing/{status}"));
        ask.send(&edge).expect(status);
        assert!(!ask.send(&edge).expect(status).is_hit(), "{status}");
    }
    for status in [301, 404, 410, 500, 503] {
        let ask = get(&format!("/minute/{status}"));
        ask.send(&edge).expect(status);
        assert!(
            ask.send(&edge).expect(status).is_hit(),
            "{status} with max-age"
        );
    }
}

#[test]
fn a_routes_ttl_is_for_answers_without_freshness() {
    let origin = Origin::start(|seen| match seen.path() {
        "/error" => Answer::of(500, &[], "failed"),
        "/no-store" => Answer::of(200, &[("cache-control", "no-store")], "x"),
        "/stale" => Answer::of(200, &[("cache-control", "max-age=0")], "x"),
        _ => Answer::ok("x"),
    });
    let edge = Edge::start(
        &CACHED.replace("in: pages", "in: pages, ttl: 5m"),
        &[&origin],
    );

    assert!(is_stored(&edge, &get("/plain")));
    for path in ["/error", "/no-store", "/stale"] {
        assert!(!is_stored(&edge, &get(path)), "{path}");
    }
}

#[test]
fn a_head_is_answered_from_a_stored_get() {
    let (edge, origin) =
        edge_before(|_| Answer::of(200, &[MINUTE, ("etag", "\"1\"")], "twelve bytes"));
    get("/").send(&edge).expect(200);
    let mut client = edge.connect();

    let reply = head("/").on(&mut client).expect(200);
    let after = get("/").on(&mut client).expect(200);

    assert!(reply.is_hit());
    assert_eq!(reply.the("content-length"), "12");
    assert_eq!(reply.the("etag"), "\"1\"");
    assert!(reply.body.is_empty());
    assert_eq!(after.text(), "twelve bytes", "the connection is in step");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_head_first_does_no_harm_to_the_get_after_it() {
    let (edge, _origin) = edge_before(|seen| {
        let whole = Answer::of(200, &[MINUTE], "twelve bytes");
        if seen.method == "HEAD" {
            whole.without_body()
        } else {
            whole
        }
    });

    assert_eq!(
        head("/").send(&edge).expect(200).the("content-length"),
        "12"
    );
    assert_eq!(get("/").send(&edge).expect(200).text(), "twelve bytes");
}

#[test]
fn a_client_that_has_it_gets_304_from_the_cache() {
    let (edge, origin) = edge_before(|_| {
        let changed = ("last-modified", "Wed, 01 Jan 2025 10:00:00 GMT");
        Answer::of(
            200,
            &[
                MINUTE,
                ("etag", "\"v1\""),
                changed,
                ("vary", "accept-language"),
            ],
            "hello",
        )
    });
    get("/").send(&edge).expect(200);

    for (name, value, status) in [
        ("if-none-match", "\"v1\"", 304),
        ("if-none-match", "W/\"v1\"", 304),
        ("if-none-match", "\"other\", \"v1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"v2\"", 200),
        ("if-modified-since", "Wed, 01 Jan 2025 10:00:00 GMT", 304),
        ("if-modified-since", "Thu, 02 Jan 2025 10:00:00 GMT", 304),
        ("if-modified-since", "Tue, 31 Dec 2024 10:00:00 GMT", 200),
        ("if-modified-since", "nonsense", 200),
    ] {
        let reply = get("/").with(name, value).send(&edge);
        assert_eq!(reply.status, status, "{name}: {value}");
        assert!(reply.is_hit());
        assert_eq!(reply.the("etag"), "\"v1\"");
        assert_eq!(reply.the("cache-control"), "max-age=60");
        assert_eq!(reply.the("vary"), "accept-language");
        assert_eq!(reply.text(), if status == 200 { "hello" } else { "" });
    }
    let both = get("/")
        .with("if-none-match", "\"v2\"")
        .with("if-modified-since", "Thu, 02 Jan 2025 10:00:00 GMT");
    both.send(&edge).expect(200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_condition_on_a_miss_still_stores_the_whole() {
    let (edge, origin) = edge_before(|seen| match seen.field("if-none-match") {
        Some(_) => Answer::of(304, &[("etag", "\"v1\"")], ""),
        None => Answer::of(200, &[MINUTE, ("etag", "\"v1\"")], "hello"),
    });

    get("/")
        .with("if-none-match", "\"v1\"")
        .send(&edge)
        .expect(304);
    let other = get("/").send(&edge).expect(200);

    assert_eq!(other.text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[test]
fn variants_are_kept_apart() {
    let (edge, origin) = edge_before(|seen| {
        let language = seen.field("accept-language").unwrap_or("none");
        Answer::of(200, &[MINUTE, ("vary", "Accept-Language")], language)
    });

    for _ in 0..2 {
        for language in ["de", "en", "hi"] {
            let reply = get("/")
                .with("accept-language", language)
                .with("x-other", 1)
                .send(&edge);
            assert_eq!(reply.expect(200).text(), language);
        }
        assert_eq!(get("/").send(&edge).text(), "none");
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn the_key_is_host_path_and_query() {
    let (edge, origin) = edge_before(|seen| {
        Answer::of(
            200,
            &[MINUTE],
            format!("{} {}", seen.the("host"), seen.target),
        )
    });

    for target in [
        "/a",
        "/A",
        "/a?x=1",
        "/a?x=2",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/a/",
    ] {
        assert!(is_stored(&edge, &get(target)), "{target}");
        assert_eq!(
            get(target).send(&edge).text(),
            format!("edge.test {target}")
        );
    }
    assert_eq!(
        get("/a").host("other.test").send(&edge).text(),
        "other.test /a"
    );
    assert!(
        get("/a").host("EDGE.test").send(&edge).is_hit(),
        "hosts have no case"
    );
    assert_eq!(origin.count(), 8);
}

#[test]
fn parameters_may_be_ignored_and_fields_added_to_the_key() {
    let origin = Origin::start(|seen| Answer::of(200, &[MINUTE], &seen.target));
    let edge = Edge::start(
        &CACHED.replace(
            "in: pages",
            "in: pages, key: {query: {ignore: [utm_*, ref]}, headers: [x-country]}",
        ),
        &[&origin],
    );

    get("/?a=1").send(&edge).expect(200);
    for target in [
        "/?a=1&utm_source=x",
        "/?utm_medium=y&a=1&ref=z",
        "/?a=1&ref",
    ] {
        let reply = get(target).send(&edge);
        assert!(reply.is_hit(), "{target}");
        assert_eq!(reply.text(), "/?a=1");
    }
    for target in ["/?a=2", "/?a=1&reference=z", "/?a=1&xutm_source=y"] {
        assert!(!get(target).send(&edge).is_hit(), "{target}");
    }
    assert!(!get("/?a=1").with("x-country", "de").send(&edge).is_hit());
    assert!(get("/?a=1").with("x-country", "de").send(&edge).is_hit());
    assert!(get("/?a=1").send(&edge).is_hit());
}

#[test]
fn a_broken_answer_is_not_stored_and_not_passed_off_as_whole() {
    let (edge, origin) = edge_before(|seen| {
        let head = match seen.path() {
            "/length" => "content-length: 1000\r\n\r\nhalf",
            _ => "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        };
        Answer::raw(format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{head}"
        ))
        .then(Step::Close)
    });

    for path in ["/length", "/chunked"] {
        for _ in 0..2 {
            let answered = get(path).try_on(&mut edge.connect());
            assert!(answered.is_err(), "{path}: {answered:?}");
        }
    }
    assert!(origin.count() >= 4, "each of them was asked for anew");
    assert_eq!(
        edge.metric(r#"lakh_cache_fills_total{outcome="stored"}"#),
        0.0
    );
    assert_eq!(
        edge.metric(r#"lakh_cache_fills_total{outcome="failed"}"#),
        4.0
    );
    assert_eq!(edge.metric("lakh_cache_objects"), 0.0);
}

#[test]
fn what_is_too_large_streams_past() {
    let large = noise(3 << 20, 11);
    let body = large.clone();
    let (edge, origin) = edge_before(move |seen| match seen.path() {
        "/length" => Answer::of(200, &[MINUTE], &body),
        _ => Answer::chunked(&[MINUTE], &body),
    });

    for path in ["/length", "/chunked"] {
        for _ in 0..2 {
            let reply = get(path).send(&edge).expect(200);
            assert!(reply.body == large, "{path} differs");
            assert!(!reply.is_hit());
        }
    }
    assert_eq!(origin.count(), 4);
    assert!(edge.metric("lakh_cache_bytes") < 100_000.0);
}

#[test]
fn memory_bounds_what_is_kept() {
    let origin = Origin::start(|_| Answer::of(200, &[MINUTE], noise(100_000, 12)));
    let edge = Edge::start(&CACHED.replace("64MiB", "2MiB"), &[&origin]);
    let mut client = edge.connect();

    for n in 0..100 {
        get(&format!("/{n}")).on(&mut client).expect(200);
    }

    let bound = f64::from(2 << 20) * 1.1;
    eventually("the cache is within its bound", || {
        edge.metric("lakh_cache_bytes") <= bound
    });
    assert!(edge.metric("lakh_cache_objects") >= 5.0, "and not empty");
}

#[test]
fn a_client_that_leaves_does_not_stop_a_fill() {
    let gate = crate::harness::Gate::default();
    let held = gate.clone();
    let (edge, origin) = edge_before(move |_| {
        let first =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n\r\nfirst";
        Answer::raw(first)
            .then(Step::Wait(held.clone()))
            .then_send("-last")
    });

    let mut client = edge.connect();
    client.send(get("/").wire());
    client.read_head().expect("the head");
    client.read_exactly(5).expect("the first bytes");
    drop(client);
    gate.open();

    edge.await_metric(r#"lakh_cache_fills_total{outcome="stored"}"#, 1.0);
    let hit = get("/").send(&edge).expect(200);
    assert!(hit.is_hit());
    assert_eq!(hit.text(), "first-last");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_write_makes_what_is_stored_for_its_uri_invalid() {
    let (edge, origin) = edge_before(|seen| match (&*seen.method, seen.field("x-fail")) {
        ("GET", _) => Answer::of(200, &[MINUTE], "hello"),
        (_, Some(_)) => Answer::of(500, &[], "failed"),
        _ => Answer::ok("done"),
    });
    let stored = |target: &str| get(target).send(&edge).expect(200).is_hit();
    assert!(!stored("/a") && !stored("/b") && stored("/a") && stored("/b"));

    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        ask(method, "/a")
            .with("content-length", 0)
            .send(&edge)
            .expect(200);
        assert!(!stored("/a"), "{method} invalidates");
        assert!(stored("/a"));
    }
    post("/a", "x").with("x-fail", 1).send(&edge).expect(500);
    assert!(stored("/a"), "a write that failed changes nothing");
    ask("OPTIONS", "/a").send(&edge).expect(200);
    assert!(
        stored("/a") && stored("/b"),
        "nor does a safe method, nor a write elsewhere"
    );
    assert_eq!(
        origin
            .seen()
            .iter()
            .filter(|seen| seen.method == "GET")
            .count(),
        6
    );
}

#[test]
fn a_write_passes_and_says_so() {
    let (edge, _origin) = edge_before(|seen| Answer::of(200, &[MINUTE], &seen.body));

    for text in ["one", "two"] {
        let reply = post("/", text).send(&edge).expect(200);
        assert_eq!(reply.text(), text);
        assert!(reply.cache_status().starts_with("fwd="), "{reply:?}");
    }
}

#[test]
fn a_range_is_answered_and_does_not_poison() {
    let (edge, _origin) = edge_before(|seen| match seen.field("range") {
        Some("bytes=0-3") => Answer::of(206, &[MINUTE, ("content-range", "bytes 0-3/10")], "0123"),
        _ => Answer::of(200, &[MINUTE], "0123456789"),
    });

    let part = get("/").with("range", "bytes=0-3").send(&edge);
    assert!(
        part.status == 206 && part.text() == "0123"
            || part.status == 200 && part.text() == "0123456789"
    );
    assert_eq!(get("/").send(&edge).expect(200).text(), "0123456789");
    assert_eq!(get("/").send(&edge).expect(200).text(), "0123456789");
}

#[test]
fn an_answer_keeps_its_origins_date() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let (edge, _origin) = edge_before(move |_| {
        let far = "Sun, 06 Nov 2094 08:49:37 GMT";
        Answer::of(200, &[("expires", far), ("date", date)], "hello")
    });

    for _ in 0..2 {
        assert_eq!(get("/").send(&edge).expect(200).the("date"), date);
    }
    assert_eq!(post("/", "x").send(&edge).expect(200).the("date"), date);
    let mut client = edge.connect();
    let reply = get("/").with("if-none-match", "*").on(&mut client);
    assert_eq!(reply.expect(304).the("date"), date);
    // A 304 needs no more than the head; after this, all is stored.
    get("/").on(&mut client).expect(200);
    let refused = get("/").with("range", "bytes=99-").on(&mut client);
    assert_eq!(refused.expect(416).the("date"), date);
}

#[test]
fn ranges_of_what_is_stored_are_answered_from_it() {
    let (edge, origin) = edge_before(|_| {
        let fields = [
            MINUTE,
            ("etag", "\"v1\""),
            ("content-type", "text/x-digits"),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
        ];
        Answer::of(200, &fields, "0123456789")
    });
    get("/").send(&edge).expect(200);
    let range = |range: &str| get("/").with("range", range).send(&edge);

    for (asked, got, said) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let reply = range(asked).expect(206);
        assert!(reply.is_hit(), "{asked}");
        assert_eq!(reply.text(), got, "{asked}");
        assert_eq!(reply.the("content-range"), said);
        assert_eq!(reply.the("etag"), "\"v1\"");
        assert_eq!(reply.field("content-digest"), None, "it is the whole's");
        assert!(reply.field("repr-digest").is_some());
    }
    assert_eq!(
        range("bytes=10-").expect(416).the("content-range"),
        "bytes */10"
    );
    assert_eq!(range("bytes=4-3").expect(200).text(), "0123456789");

    let several = range("bytes=0-1, 8-9").expect(206);
    let boundary = several.the("content-type").split_once("boundary=");
    let (kind, boundary) = boundary.expect("a boundary");
    assert_eq!(kind, "multipart/byteranges; ");
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\ncontent-type: text/x-digits\r\n\
             content-range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    let body = format!(
        "{}{}\r\n--{boundary}--\r\n",
        part("0-1", "01"),
        part("8-9", "89")
    );
    assert_eq!(several.text(), body);

    let only_if = |tag: &str| get("/").with("range", "bytes=0-1").with("if-range", tag);
    only_if("\"v1\"").send(&edge).expect(206);
    only_if("\"v2\"").send(&edge).expect(200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_write_also_forgets_what_its_answer_names() {
    let (edge, _origin) = edge_before(|seen| match &*seen.method {
        "GET" => Answer::of(200, &[MINUTE], "hello"),
        _ => Answer::of(
            201,
            &[
                ("location", "/made"),
                ("content-location", "http://edge.test/list"),
            ],
            "",
        ),
    });
    let stored = |target: &str| get(target).send(&edge).expect(200).is_hit();
    for target in ["/made", "/list", "/other"] {
        assert!(!stored(target) && stored(target));
    }

    post("/new", "x").send(&edge).expect(201);

    assert!(!stored("/made") && !stored("/list") && stored("/other"));
}

#[test]
fn early_hints_reach_who_waits_and_are_not_stored() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello";
    let (edge, _origin) = edge_before(move |_| Answer::raw([hints, answer].concat()));
    let mut client = edge.connect();

    client.send(get("/").wire());
    let early = client.read_head().expect("hints");
    assert_eq!(early.status, 103);
    assert_eq!(early.the("link"), "</a.css>; rel=preload");
    let reply = client.reply("GET").expect(200);
    assert_eq!(
        (reply.text().as_str(), reply.field("link")),
        ("hello", None)
    );

    let hit = get("/").on(&mut client).expect(200);
    assert!(hit.is_hit());
    assert_eq!(hit.field("link"), None);
}

#[test]
fn hop_by_hop_fields_are_not_stored() {
    let (edge, _origin) = edge_before(|_| {
        let hops = [
            MINUTE,
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("x-end", "1"),
        ];
        Answer::of(200, &hops, "hello")
    });

    for _ in 0..2 {
        let reply = get("/").send(&edge).expect(200);
        assert_eq!(
            (reply.field("x-hop"), reply.field("keep-alive")),
            (None, None),
            "{reply:?}"
        );
        assert_eq!(reply.the("x-end"), "1");
    }
}

#[test]
fn an_empty_answer_is_stored_as_such() {
    let (edge, origin) = edge_before(|seen| match seen.path() {
        "/204" => Answer::of(204, &[MINUTE], ""),
        _ => Answer::of(200, &[MINUTE], ""),
    });
    let mut client = edge.connect();

    for _ in 0..2 {
        assert!(get("/empty").on(&mut client).expect(200).body.is_empty());
        assert!(get("/204").on(&mut client).expect(204).body.is_empty());
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let (edge, origin) = edge_before(|_| Answer::of(200, &[MINUTE], "hello"));
    let only = get("/").with("cache-control", "only-if-cached");

    only.send(&edge).expect_problem(504);
    assert_eq!(origin.count(), 0);
    get("/").send(&edge).expect(200);
    assert!(only.send(&edge).expect(200).is_hit());
}

#[test]
fn what_is_stored_survives_a_reload() {
    let (edge, origin) = edge_before(|_| Answer::of(200, &[MINUTE], "hello"));
    get("/").send(&edge).expect(200);

    edge.reload(&CACHED.replace("name: all", "name: renamed"));

    assert!(get("/").send(&edge).expect(200).is_hit());
    assert_eq!(origin.count(), 1);
}
