//! Content codings: which answers are coded for whom, and that what comes out is what went in.

use crate::harness::{
    Answer, Ask, Edge, Gate, Origin, Reply, Seen, Step, ask, at_once, eventually, get, h2c, head,
    noise, post,
};
use std::io::Read;

const PASSED: &str = "
upstreams: {app: {servers: [$0]}}
routes:
  - {name: all, match: {path: /*}, upstream: app}
  - {name: plain, match: {path: /plain/*}, upstream: app, compress: false}
";

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];
const BROWSER: &str = "gzip, deflate, br, zstd";
const TEXT: (&str, &str) = ("content-type", "text/html; charset=utf-8");
const TAG: (&str, &str) = ("etag", "\"v1\"");

/// A page of 40 KiB that says `name`.
fn page(name: &str) -> String {
    let line = |n| {
        format!(
            "<li class=\"item\">{name}: number {n} of {}</li>\n",
            n * 7919
        )
    };
    (0..1000).map(line).collect()
}

fn edge_before(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Edge, Origin) {
    let origin = Origin::start(handler);
    (Edge::start(PASSED, &[&origin]), origin)
}

fn accepting(target: &str, codings: &str) -> Ask {
    get(target).with("accept-encoding", codings)
}

fn decode(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let read = match coding {
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut body),
        "zstd" => zstd::Decoder::new(coded)
            .expect("a decoder")
            .read_to_end(&mut body),
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut body),
        other => panic!("nobody asked for {other:?}"),
    };
    read.unwrap_or_else(|e| panic!("not {coding}: {e}"));
    body
}

/// What the client's program sees.
#[track_caller]
fn decoded(reply: &Reply) -> String {
    let body = match reply.field("content-encoding") {
        Some(_) => decode(reply.the("content-encoding"), &reply.body),
        None => reply.body.clone(),
    };
    String::from_utf8(body).expect("text")
}

/// The coded form of what is stored, made at the first request for it: nobody waits long for that.
fn await_made(edge: &Edge, coding: &str) {
    eventually("the coded form is made", || {
        let hit = accepting("/", coding).send(edge).expect(200);
        hit.field("content-encoding") == Some(coding)
    });
}

/// All but what differs from request to request.
fn lasting(reply: &Reply) -> Vec<(String, String)> {
    // What is about this exchange, not about the page.
    let differs = ["x-request-id", "date", "age", "cache-status", "connection"];
    let mut fields = reply.fields.clone();
    fields.retain(|(name, _)| !differs.contains(&name.as_str()));
    fields.sort();
    fields
}

#[test]
fn text_passes_in_the_coding_that_the_client_accepts() {
    let (edge, origin) = edge_before(|seen| match seen.path() {
        "/chunked" => Answer::chunked(&[TEXT], page("a").as_bytes()),
        "/to-the-end" => Answer::raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/css\r\nconnection: close\r\n\r\n{}",
            page("a")
        ))
        .then(Step::Close),
        "/empty" => Answer::chunked(&[TEXT], b""),
        _ => Answer::of(200, &[TEXT, ("accept-ranges", "bytes")], page("a")),
    });

    for coding in CODINGS {
        for target in ["/length", "/chunked", "/to-the-end"] {
            for reply in [
                accepting(target, coding).send(&edge),
                h2c(edge.web, &accepting(target, coding)),
            ] {
                let reply = reply.expect(200);
                assert_eq!(reply.the("content-encoding"), coding);
                assert_eq!(reply.the("vary"), "accept-encoding");
                assert_eq!(reply.field("content-length"), None);
                assert_eq!(reply.field("accept-ranges"), None);
                assert!(reply.body.len() < page("a").len() / 3, "{target}");
                assert_eq!(decoded(&reply), page("a"));
            }
        }
        let empty = accepting("/empty", coding).send(&edge).expect(200);
        assert_eq!(decoded(&empty), "");
        let sent = edge.metric(&format!(
            "lakh_coded_answers_total{{coding=\"{coding}\",from=\"stream\"}}"
        ));
        assert_eq!(sent, 7.0);
    }
    assert_eq!(origin.count(), 21);
    edge.await_metric("lakh_coding_streams", 0.0);
    let (came, went) = (
        edge.metric("lakh_coded_bytes_total{direction=\"in\"}"),
        edge.metric("lakh_coded_bytes_total{direction=\"out\"}"),
    );
    assert_eq!(came, 18.0 * page("a").len() as f64);
    assert!(went > 0.0 && went < came / 3.0, "{went} of {came}");
}

#[test]
fn who_accepts_none_gets_the_bytes_and_is_told_that_others_may_not() {
    let (edge, _origin) = edge_before(|_| Answer::of(200, &[TEXT, TAG], page("a")));
    for field in [
        None,
        Some(""),
        Some("identity"),
        Some("gzip;q=0"),
        Some("br;q=0, deflate"),
        Some("*;q=0"),
        Some("identity;q=0"),
        Some("identity, gzip;q=0.5"),
        Some("gzip;q=1.5"),
    ] {
        let request = match field {
            Some(field) => accepting("/", field),
            None => get("/"),
        };
        let reply = request.send(&edge).expect(200);
        assert_eq!(reply.field("content-encoding"), None, "{field:?}");
        assert_eq!(reply.the("vary"), "accept-encoding");
        assert_eq!(reply.the("content-length"), page("a").len().to_string());
        assert_eq!(reply.the("etag"), "\"v1\"");
        assert_eq!(reply.text(), page("a"));
    }
}

#[test]
fn weights_choose() {
    let (edge, _origin) = edge_before(|_| Answer::of(200, &[TEXT], page("a")));
    for (field, coding) in [
        ("br;q=0.5, gzip;q=0.8, zstd;q=0.7", "gzip"),
        ("gzip;q=0, *", "zstd"),
        ("x-gzip", "gzip"),
        ("zstd;q=0, BR, gzip;q=0.9", "br"),
    ] {
        let reply = accepting("/", field).send(&edge).expect(200);
        assert_eq!(reply.the("content-encoding"), coding, "{field}");
        assert_eq!(decoded(&reply), page("a"));
    }
}

#[test]
fn what_is_no_text_or_not_to_be_touched_passes_as_it_is() {
    let (edge, _origin) = edge_before(|seen| {
        let own = match seen.path() {
            "/picture" => [("content-type", "image/jpeg"), ("x-own", "1")],
            "/coded" => [TEXT, ("content-encoding", "deflate")],
            "/no-transform" => [TEXT, ("cache-control", "no-transform, max-age=5")],
            "/signed" => [TEXT, ("content-digest", "sha-256=:AA==:")],
            "/events" => [("content-type", "text/event-stream"), ("x-own", "1")],
            "/untyped" => [("x-own", "1"), ("x-other", "1")],
            _ => [TEXT, ("vary", "origin")],
        };
        Answer::of(200, &own, page("a"))
    });
    for target in [
        "/picture",
        "/coded",
        "/no-transform",
        "/signed",
        "/events",
        "/untyped",
    ] {
        let reply = accepting(target, BROWSER).send(&edge).expect(200);
        assert_ne!(reply.field("content-encoding"), Some("zstd"), "{target}");
        assert_eq!(reply.field("vary"), None, "{target}");
        assert_eq!(reply.text(), page("a"), "{target}");
    }
    let off = accepting("/plain/text", BROWSER).send(&edge).expect(200);
    assert_eq!(
        (off.field("content-encoding"), off.text()),
        (None, page("a"))
    );
    assert_eq!(off.the("vary"), "origin");
    let unwilling = accepting("/text", BROWSER).with("cache-control", "no-transform");
    assert_eq!(unwilling.send(&edge).expect(200).text(), page("a"));
    let part = accepting("/text", BROWSER).with("range", "bytes=0-9");
    assert_eq!(part.send(&edge).expect(200).text(), page("a"));
}

#[test]
fn vary_is_said_once() {
    let (edge, _origin) = edge_before(|seen| {
        let vary = seen.field("x-vary").expect("the test says it").to_owned();
        Answer::of(200, &[TEXT, ("vary", &vary)], page("a"))
    });
    for (theirs, ours) in [
        ("Accept-Encoding", &["Accept-Encoding"][..]),
        ("origin, accept-ENCODING", &["origin, accept-ENCODING"]),
        ("*", &["*"]),
        ("origin", &["origin", "accept-encoding"]),
    ] {
        for request in [accepting("/", BROWSER), get("/")] {
            let reply = request.with("x-vary", theirs).send(&edge).expect(200);
            assert_eq!(reply.all("vary"), ours);
        }
    }
}

#[test]
fn what_is_short_is_not_worth_it() {
    let (edge, _origin) = edge_before(|seen| {
        let length = seen.path()[1..].parse().expect("a number");
        Answer::of(200, &[TEXT], "x".repeat(length))
    });
    let coding = |target| {
        let reply = accepting(target, "gzip").send(&edge).expect(200);
        reply.field("content-encoding").map(str::to_owned)
    };
    assert_eq!(coding("/859"), None);
    assert_eq!(coding("/860").as_deref(), Some("gzip"));
}

#[test]
fn head_is_told_what_get_is() {
    let (edge, _origin) = edge_before(|seen| {
        let answer = Answer::of(200, &[TEXT, TAG], page("a"));
        if seen.method == "HEAD" {
            answer.without_body()
        } else {
            answer
        }
    });
    for accept in [BROWSER, "br", "identity"] {
        let get = accepting("/", accept).send(&edge).expect(200);
        let head = head("/").with("accept-encoding", accept).send(&edge);
        assert_eq!(lasting(&head.expect(200)), lasting(&get));
    }
}

#[test]
fn every_coding_has_a_tag_of_its_own_and_conditions_with_it_hold() {
    let (edge, origin) = edge_before(|seen| {
        let knows = |name| {
            let mut lines = seen.fields.iter().filter(|(n, _)| n == name);
            lines.any(|(_, tags)| tags.split(", ").any(|tag| tag == "\"v1\""))
        };
        match seen.method.as_str() {
            "PUT" if knows("if-match") => Answer::of(204, &[], ""),
            "PUT" => Answer::of(412, &[], ""),
            _ if knows("if-none-match") => Answer::of(304, &[TAG], ""),
            _ if seen.path() == "/weak" => {
                Answer::of(200, &[TEXT, ("etag", "W/\"v1\"")], page("a"))
            }
            _ => Answer::of(200, &[TEXT, TAG], page("a")),
        }
    });
    for coding in CODINGS {
        let first = accepting("/", coding).send(&edge).expect(200);
        let tag = first.the("etag").to_owned();
        assert_eq!(tag, format!("\"v1-{coding}\""));

        let again = accepting("/", coding).with("if-none-match", &tag);
        let again = again.send(&edge).expect(304);
        assert_eq!(again.the("etag"), tag);
        assert_eq!(again.the("vary"), "accept-encoding");

        let write = ask("PUT", "/").with("if-match", &tag);
        write.with("content-length", 0).send(&edge).expect(204);
        let weak = accepting("/weak", coding).send(&edge).expect(200);
        assert_eq!(weak.the("etag"), "W/\"v1\"");
        assert_eq!(decoded(&weak), page("a"));
    }
    let plain = get("/").with("if-none-match", "\"v1\"").send(&edge);
    assert_eq!(plain.expect(304).the("etag"), "\"v1\"");
    let other = get("/").with("if-none-match", "\"v2-br\"").send(&edge);
    other.expect(200);
    let stale = ask("PUT", "/").with("if-match", "\"v2-br\"");
    stale.with("content-length", 0).send(&edge).expect(412);
    assert_eq!(origin.count(), 15);
}

#[test]
fn http_1_0_gets_the_bytes() {
    let (edge, _origin) = edge_before(|_| Answer::of(200, &[TEXT], page("a")));
    let mut client = edge.connect();
    client.send("GET / HTTP/1.0\r\nHost: edge.test\r\nAccept-Encoding: gzip\r\n\r\n");
    let reply = client.reply("GET").expect(200);
    assert_eq!(reply.field("content-encoding"), None);
    assert_eq!(reply.text(), page("a"));
}

/// The origin sends its second part only once the client has read the first one.
#[test]
fn a_slow_stream_arrives_as_it_is_sent() {
    let gate = Gate::default();
    let held = gate.clone();
    let (edge, _origin) = edge_before(move |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        Answer::raw(format!("{head}9\r\n{{\"n\": 1}}\n\r\n"))
            .then(Step::Wait(held.clone()))
            .then_send("9\r\n{\"n\": 2}\n\r\n0\r\n\r\n")
    });
    let mut client = edge.connect();
    client.send(accepting("/", "gzip").wire());
    let head = client.read_head().expect("the head comes").expect(200);
    assert_eq!(head.the("content-encoding"), "gzip");

    let mut coded = Vec::new();
    let mut first = [0; 9];
    while flate2::read::GzDecoder::new(&coded[..])
        .read_exact(&mut first)
        .is_err()
    {
        coded.extend(client.read_chunk().expect("the first part comes"));
    }
    assert_eq!(&first, b"{\"n\": 1}\n");
    assert!(!gate.is_open());
    gate.open();
    loop {
        let chunk = client.read_chunk().expect("the rest comes");
        if chunk.is_empty() {
            break;
        }
        coded.extend(chunk);
    }
    assert_eq!(decode("gzip", &coded), b"{\"n\": 1}\n{\"n\": 2}\n");
}

#[test]
fn a_broken_transfer_stays_broken() {
    let (edge, _origin) = edge_before(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\n";
        Answer::raw(format!("{head}{}", page("a"))).then(Step::Close)
    });
    let mut client = edge.connect();
    let whole = accepting("/", "zstd").try_on(&mut client);
    assert!(whole.is_err(), "{whole:?}");
    edge.await_metric("lakh_coding_streams", 0.0);
}

#[test]
fn large_answers_to_posts_are_coded_too() {
    let (edge, _origin) = edge_before(|seen| {
        let text = "0123456789abcdef".repeat(200_000);
        assert_eq!(seen.body, b"question");
        Answer::of(200, &[("content-type", "application/json")], text)
    });
    for coding in CODINGS {
        let request = post("/", "question").with("accept-encoding", coding);
        let reply = request.send(&edge).expect(200);
        assert_eq!(reply.the("content-encoding"), coding);
        assert_eq!(decoded(&reply), "0123456789abcdef".repeat(200_000));
    }
}

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 8MiB}}
routes:
  - {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
  - {name: plain, match: {path: /plain/*}, upstream: app, cache: {in: pages}, compress: false}
";

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
const MADE: &str = "lakh_coded_bodies_total{outcome=\"made\"}";

fn cached(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Edge, Origin) {
    let origin = Origin::start(handler);
    (Edge::start(CACHED, &[&origin]), origin)
}

#[test]
fn a_stored_page_is_coded_once_and_then_sent_by_its_length() {
    let (edge, origin) = cached(|_| {
        Answer::of(
            200,
            &[TEXT, TAG, MINUTE, ("accept-ranges", "bytes")],
            page("a"),
        )
    });
    let miss = accepting("/", BROWSER).send(&edge).expect(200);
    assert_eq!(miss.cache_status(), "fwd=miss; stored");
    assert_eq!(
        (decoded(&miss), miss.the("vary")),
        (page("a"), "accept-encoding")
    );
    assert_eq!(origin.the_request().the("accept-encoding"), "identity");

    for coding in CODINGS {
        await_made(&edge, coding);
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let hit = accepting("/", coding).send(&edge).expect(200);
            assert!(hit.cache_status().starts_with("hit"), "{hit:?}");
            assert_eq!(hit.the("content-encoding"), coding);
            assert_eq!(hit.the("etag"), format!("\"v1-{coding}\""));
            assert_eq!(hit.the("vary"), "accept-encoding");
            assert_eq!(hit.the("content-length"), hit.body.len().to_string());
            assert_eq!(hit.field("accept-ranges"), None);
            assert_eq!(decoded(&hit), page("a"));
            bodies.push(hit.body);
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1);
        let over_h2 = h2c(edge.web, &accepting("/", coding)).expect(200);
        assert_eq!(decoded(&over_h2), page("a"));
    }
    for plain in [get("/"), accepting("/", "gzip;q=0, deflate")] {
        let hit = plain.send(&edge).expect(200);
        assert_eq!(
            (hit.field("content-encoding"), hit.text()),
            (None, page("a"))
        );
        assert_eq!(
            (hit.the("etag"), hit.the("vary")),
            ("\"v1\"", "accept-encoding")
        );
    }
    assert_eq!(edge.metric(MADE), 3.0);
    assert_eq!(
        edge.metric("lakh_coded_answers_total{from=\"cache\"}"),
        15.0
    );
    assert_eq!(origin.count(), 1);
    assert_eq!(edge.metric("lakh_cache_objects"), 1.0);
    assert!(edge.metric("lakh_cache_bytes") > page("a").len() as f64 * 1.2);
}

#[test]
fn all_who_ask_at_once_share_one_coding() {
    let (edge, origin) = cached(|_| Answer::of(200, &[TEXT, MINUTE], page("a").repeat(10)));
    get("/").send(&edge).expect(200);
    let replies = at_once(20, |_| accepting("/", "br").send(&edge).expect(200));
    for reply in &replies {
        assert_eq!(decoded(reply), page("a").repeat(10));
    }
    edge.await_metric(MADE, 1.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_stored_page_is_revalidated_in_each_coding() {
    let (edge, origin) = cached(|_| Answer::of(200, &[TEXT, TAG, MINUTE], page("a")));
    get("/").send(&edge).expect(200);
    for coding in CODINGS {
        await_made(&edge, coding);
        let hit = accepting("/", coding).send(&edge).expect(200);
        let tag = hit.the("etag").to_owned();
        let again = accepting("/", coding).with("if-none-match", &tag);
        for reply in [again.send(&edge), h2c(edge.web, &again)] {
            let reply = reply.expect(304);
            assert_eq!(reply.the("etag"), tag);
            assert_eq!(reply.the("vary"), "accept-encoding");
            assert_eq!(reply.field("content-encoding"), None);
        }
        let head = head("/").with("accept-encoding", coding).send(&edge);
        assert_eq!(lasting(&head.expect(200)), lasting(&hit));
    }
    let plain = get("/").with("if-none-match", "\"v1\"").send(&edge);
    assert_eq!(plain.expect(304).the("etag"), "\"v1\"");
    let other = accepting("/", "br").with("if-none-match", "\"v0-br\"");
    assert_eq!(decoded(&other.send(&edge).expect(200)), page("a"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_has_the_coded_page_is_told_so_on_a_miss_too() {
    let (edge, _origin) = cached(|_| Answer::of(200, &[TEXT, TAG, MINUTE], page("a")));
    let again = accepting("/", "br").with("if-none-match", "\"v1-br\"");
    assert_eq!(again.send(&edge).expect(304).the("etag"), "\"v1-br\"");
}

#[test]
fn parts_are_of_the_plain_bytes() {
    let (edge, _origin) = cached(|_| Answer::of(200, &[TEXT, TAG, MINUTE], page("a")));
    accepting("/", "gzip").send(&edge).expect(200);
    accepting("/", "gzip").send(&edge).expect(200);
    let part = accepting("/", "gzip").with("range", "bytes=10-19");
    let part = part.send(&edge).expect(206);
    assert_eq!(part.field("content-encoding"), None);
    assert_eq!(part.the("etag"), "\"v1\"");
    assert_eq!(part.text(), page("a")[10..20]);
    let of_coded = accepting("/", "gzip")
        .with("range", "bytes=10-19")
        .with("if-range", "\"v1-gzip\"");
    assert_eq!(of_coded.send(&edge).expect(200).text(), page("a"));
}

/// Brought up to date, the head is new; the body is not coded anew.
#[test]
fn a_revalidated_page_keeps_its_codings() {
    let (edge, origin) = cached(|seen| {
        let stale = ("cache-control", "max-age=0, stale-if-error=60");
        match seen.field("if-none-match") {
            Some("\"v1\"") => Answer::of(304, &[TAG, MINUTE, ("x-own", "new")], ""),
            Some(other) => panic!("unknown tag {other}"),
            None => Answer::of(200, &[TEXT, TAG, stale, ("x-own", "old")], page("a")),
        }
    });
    get("/").send(&edge).expect(200);
    let first = accepting("/", "br").send(&edge).expect(200);
    assert_eq!(first.the("x-own"), "new");
    await_made(&edge, "br");
    let hit = accepting("/", "br").send(&edge).expect(200);
    assert!(hit.cache_status().starts_with("hit"), "{hit:?}");
    assert_eq!((hit.the("x-own"), hit.the("etag")), ("new", "\"v1-br\""));
    assert_eq!(hit.all("vary"), ["accept-encoding"]);
    assert_eq!(decoded(&hit), page("a"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_the_origin_has_coded_is_kept_as_it_is_for_those_who_read_it() {
    let (edge, origin) = cached(|seen| {
        let coded = zstd::bulk::compress(page("a").as_bytes(), 3).expect("it can be coded");
        let vary = match seen.path() {
            "/varies" => "accept-encoding",
            _ => "x-nothing",
        };
        let fields = [
            TEXT,
            TAG,
            MINUTE,
            ("content-encoding", "zstd"),
            ("vary", vary),
        ];
        Answer::of(200, &fields, coded)
    });
    for target in ["/always", "/varies"] {
        let before = origin.count();
        for _ in 0..3 {
            let reply = accepting(target, BROWSER).send(&edge).expect(200);
            assert_eq!(reply.the("content-encoding"), "zstd");
            assert_eq!(reply.the("etag"), "\"v1\"");
            assert_eq!(decoded(&reply), page("a"));
        }
        assert_eq!(origin.count(), before + 1);
        // The origin gives it to everybody; that is its affair, but not the cache's.
        for other in [
            accepting(target, "gzip"),
            accepting(target, "zstd;q=0"),
            get(target),
        ] {
            let reply = other.send(&edge).expect(200);
            assert_eq!(reply.cache_status(), "fwd=miss; detail=encoding");
        }
        assert_eq!(origin.count(), before + 4);
    }
    assert_eq!(edge.metric(MADE), 0.0);
}

#[test]
fn where_the_edge_does_not_code_the_origin_may() {
    let (edge, origin) = cached(|seen| {
        let vary = ("vary", "accept-encoding");
        match seen.the("accept-encoding") {
            "identity" => Answer::of(200, &[TEXT, MINUTE, vary], page("a")),
            "br, zstd, gzip" => {
                let coded = zstd::bulk::compress(page("a").as_bytes(), 3).expect("it can be");
                let fields = [TEXT, MINUTE, vary, ("content-encoding", "zstd")];
                Answer::of(200, &fields, coded)
            }
            other => panic!("asked for {other}"),
        }
    });
    for (accept, coding) in [
        (BROWSER, Some("zstd")),
        ("zstd;q=0.5,GZIP, br, deflate", Some("zstd")),
        ("identity", None),
    ] {
        let reply = accepting("/plain/x", accept).send(&edge).expect(200);
        assert_eq!(reply.field("content-encoding"), coding, "{accept}");
        assert_eq!(reply.the("vary"), "accept-encoding");
        assert_eq!(decoded(&reply), page("a"));
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_may_not_be_stored_is_coded_as_it_passes() {
    let (edge, origin) = cached(|_| {
        let private = ("cache-control", "private");
        Answer::of(200, &[TEXT, TAG, private], page("a"))
    });
    for _ in 0..2 {
        let reply = accepting("/", "br").send(&edge).expect(200);
        assert_eq!(
            (reply.the("content-encoding"), reply.the("etag")),
            ("br", "\"v1-br\"")
        );
        assert_eq!(decoded(&reply), page("a"));
        let again = accepting("/", "br").with("if-none-match", "\"v1-br\"");
        let again = again.send(&edge);
        assert!(
            again.status == 304 || decoded(&again) == page("a"),
            "{again:?}"
        );
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn what_coding_makes_no_smaller_is_not_tried_again() {
    let (edge, _origin) = cached(|_| {
        Answer::of(
            200,
            &[("content-type", "text/plain"), MINUTE],
            noise(20_000, 7),
        )
    });
    get("/").send(&edge).expect(200);
    for _ in 0..3 {
        let hit = accepting("/", "gzip").send(&edge).expect(200);
        assert_eq!(hit.field("content-encoding"), None);
        assert_eq!(hit.body, noise(20_000, 7));
    }
    let useless = "lakh_coded_bodies_total{coding=\"gzip\",outcome=\"useless\"}";
    edge.await_metric(useless, 1.0);
}

/// The second part comes only once the client has read the first one, of a page that is stored.
#[test]
fn a_fill_streams_coded_to_who_caused_it_and_plain_to_who_joins() {
    let gate = Gate::default();
    let held = gate.clone();
    let (edge, origin) = cached(move |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: max-age=60\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        Answer::raw(format!("{head}6\r\nfirst \r\n"))
            .then(Step::Wait(held.clone()))
            .then_send(format!("3e8\r\n{}\r\n0\r\n\r\n", "x".repeat(1000)))
    });
    let mut leader = edge.connect();
    leader.send(accepting("/", "br").wire());
    let head = leader.read_head().expect("the head comes").expect(200);
    assert_eq!(head.the("content-encoding"), "br");
    let mut coded = leader.read_chunk().expect("the first part comes");

    let mut joins = edge.connect();
    joins.send(accepting("/", "br").wire());
    let head = joins.read_head().expect("the head comes").expect(200);
    assert_eq!(
        (head.field("content-encoding"), head.the("vary")),
        (None, "accept-encoding")
    );
    assert_eq!(joins.read_chunk().expect("the first part comes"), b"first ");
    gate.open();
    while let Ok(chunk) = leader.read_chunk() {
        if chunk.is_empty() {
            break;
        }
        coded.extend(chunk);
    }
    let whole = format!("first {}", "x".repeat(1000));
    assert_eq!(decode("br", &coded), whole.as_bytes());
    assert_eq!(
        joins.read_chunk().expect("the rest comes"),
        "x".repeat(1000).as_bytes()
    );
    assert_eq!(origin.count(), 1);
    let hit = accepting("/", "br").send(&edge).expect(200);
    assert!(hit.is_hit() && decoded(&hit) == whole, "{hit:?}");
}

#[test]
fn a_purge_takes_the_coded_forms_too() {
    let versions = std::sync::atomic::AtomicU32::new(0);
    let (edge, _origin) = cached(move |_| {
        let version = versions.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Answer::of(200, &[TEXT, MINUTE], page(&format!("version {version}")))
    });
    get("/").send(&edge).expect(200);
    let stored = accepting("/", "gzip").send(&edge).expect(200);
    assert_eq!(decoded(&stored), page("version 0"));
    post("/", "changes it").send(&edge).expect(200);
    let fresh = accepting("/", "gzip").send(&edge).expect(200);
    assert_eq!(decoded(&fresh), page("version 2"));
}
