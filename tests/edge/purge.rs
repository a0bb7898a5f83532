//! Taking back what is stored: by URL, folder, host and tag; by HTTP and by the command line.

use crate::harness::*;
use std::process::Command;

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes:
- name: all
  match: {path: /*}
  upstream: app
  cache: {in: pages, stale_if_error: 1h, key: {query: {ignore: [utm_*]}}}
";

fn tagged() -> Origin {
    Origin::start(|seen| {
        let tag = format!("all {}", seen.path().trim_matches('/').replace('/', "-"));
        let fields = [
            ("cache-control", "max-age=60"),
            ("surrogate-key", tag.as_str()),
            ("cache-tag", "everything, all"),
        ];
        Answer::of(200, &fields, seen.target.clone())
    })
}

fn purge(edge: &Edge, order: &str) -> Reply {
    let mut client = Client::connect(edge.admin);
    client.send(format!(
        "POST /purge HTTP/1.1\r\nhost: lakh\r\ncontent-type: application/json\r\n\
         authorization: Bearer {ADMIN_TOKEN}\r\ncontent-length: {}\r\n\r\n{order}",
        order.len()
    ));
    client.reply("POST")
}

fn is_hit(edge: &Edge, target: &str) -> bool {
    get(target).send(edge).expect(200).is_hit()
}

/// Stores all, purges, and says which of them are still there.
fn left(edge: &Edge, order: &str) -> Vec<&'static str> {
    let all = ["/a/1", "/a/b/2", "/c/3?x=1", "/c/3?x=2"];
    for target in all {
        is_hit(edge, target);
        assert!(is_hit(edge, target), "{target}");
    }
    purge(edge, order).expect(200);
    all.into_iter()
        .filter(|target| is_hit(edge, target))
        .collect()
}

#[test]
fn a_purge_takes_what_it_names_and_no_more() {
    let origin = tagged();
    let edge = Edge::start(CACHED, &[&origin]);

    let reply = get("/a/1").send(&edge).expect(200);
    assert_eq!(
        (reply.field("surrogate-key"), reply.field("cache-tag")),
        (None, None)
    );
    assert_eq!(
        left(
            &edge,
            r#"{"url": "http://edge.test/c/3?x=1&utm_source=mail"}"#
        ),
        ["/a/1", "/a/b/2", "/c/3?x=2"]
    );
    assert_eq!(
        left(&edge, r#"{"prefix": "edge.test/a/"}"#),
        ["/c/3?x=1", "/c/3?x=2"]
    );
    assert_eq!(
        left(&edge, r#"{"tag": "a-b-2"}"#),
        ["/a/1", "/c/3?x=1", "/c/3?x=2"]
    );
    assert_eq!(left(&edge, r#"{"tag": "everything"}"#).len(), 0);
    assert_eq!(left(&edge, r#"{"host": "EDGE.test"}"#).len(), 0);
    assert_eq!(left(&edge, r#"{"host": "other.test"}"#).len(), 4);
    assert_eq!(edge.metric("lakh_cache_purges_total"), 6.0);
}

#[test]
fn all_variants_go_together() {
    let origin = Origin::start(|seen| {
        let language = seen.field("accept-language").unwrap_or("none");
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        Answer::of(200, &fields, language)
    });
    let edge = Edge::start(CACHED, &[&origin]);
    let ask = |language: &str| {
        get("/")
            .with("accept-language", language)
            .send(&edge)
            .is_hit()
    };
    for language in ["de", "en"] {
        assert!(!ask(language) && ask(language));
    }

    purge(&edge, r#"{"url": "edge.test/"}"#).expect(200);

    assert!(!ask("de") && !ask("en"));
}

#[test]
fn what_is_purged_softly_is_still_there_when_the_origin_fails() {
    let mut origin = tagged();
    let edge = Edge::start(CACHED, &[&origin]);
    is_hit(&edge, "/a");
    is_hit(&edge, "/b");
    purge(&edge, r#"{"tag": "a", "soft": true}"#).expect(200);
    purge(&edge, r#"{"tag": "b"}"#).expect(200);

    origin.stop();

    let stale = get("/a").send(&edge).expect(200);
    assert_eq!(stale.text(), "/a");
    assert!(
        stale.cache_status().contains("stale"),
        "{}",
        stale.cache_status()
    );
    assert!(get("/b").send(&edge).status >= 500);
}

#[test]
fn what_is_being_fetched_during_a_purge_is_not_kept() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 7\r\n\r\nold";
        match held.is_open() {
            true => Answer::of(200, &[("cache-control", "max-age=60")], "new"),
            false => Answer::raw(head)
                .then(Step::Wait(held.clone()))
                .then_send(" end"),
        }
    });
    let edge = Edge::start(CACHED, &[&origin]);
    let mut first = edge.connect();
    first.send(get("/").wire());
    first.read_head().expect("the head");

    purge(&edge, r#"{"host": "edge.test"}"#).expect(200);
    gate.open();

    assert_eq!(first.read_exactly(7).expect("the whole"), b"old end");
    assert_eq!(get("/").send(&edge).expect(200).text(), "new");
}

#[test]
fn a_bad_order_is_told() {
    let origin = tagged();
    let edge = Edge::start(CACHED, &[&origin]);

    for (order, why) in [
        ("{}", "write one of"),
        (r#"{"url": "a", "tag": "b"}"#, "write one of"),
        (r#"{"url": "/only/a/path"}"#, "no host"),
        (r#"{"prefix": "edge.test/a"}"#, "write `edge.test/a/`"),
        (r#"{"uri": "edge.test/"}"#, "unknown field `uri`"),
        ("url=edge.test", "expected value"),
    ] {
        let text = purge(&edge, order).expect(400).text();
        assert!(text.contains(why), "{order}: {text}");
    }
    // As a form on a web page could send it.
    let mut client = Client::connect(edge.admin);
    client.send(
        "POST /purge HTTP/1.1\r\nhost: lakh\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
    );
    client.reply("POST").expect(415);
    assert_eq!(edge.metric("lakh_cache_purges_total"), 0.0);
}

#[test]
fn the_command_line_purges_too() {
    let origin = tagged();
    let edge = Edge::start(CACHED, &[&origin]);
    let lakh = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakh"));
        command.arg("purge").args(arguments);
        command.arg("--config").arg(edge.dir.join("lakh.yaml"));
        let output = command.output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert!(!is_hit(&edge, "/a") && is_hit(&edge, "/a"));

    assert_eq!(
        lakh(&["--url", "edge.test/a"]),
        (Some(0), "ok\n".into(), String::new())
    );
    assert!(!is_hit(&edge, "/a"));
    let (code, _, why) = lakh(&["--prefix", "edge.test/a"]);
    assert_eq!(
        (code, why.contains("write `edge.test/a/`")),
        (Some(1), true),
        "{why}"
    );
    assert_eq!(lakh(&[]).0, Some(2));
    assert_eq!(lakh(&["--tag", "a", "--host", "b"]).0, Some(2));
}
