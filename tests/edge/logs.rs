//! The access log: what a line says, in which format, what is left out, and where it goes.

use crate::harness::{Answer, Edge, Gate, Origin, at_once, eventually, free_address, get, post};
use serde_json::{Value, json};
use std::time::Duration;

fn edge(log: &str, origin: &Origin) -> Edge {
    let yaml = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes:
- {name: all, match: {path: /*}, upstream: app}
- {name: pages, match: {path: /pages/*}, upstream: app, cache: {in: pages, ttl: 1h}}
";
    Edge::start(&format!("{yaml}access_log: {log}\n"), &[origin])
}

/// What its standard output has, once that is `n` lines.
#[track_caller]
fn lines(edge: &Edge, n: usize) -> Vec<String> {
    eventually(&format!("{n} lines"), || edge.stdout().lines().count() >= n);
    edge.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_says_where_the_time_went() {
    let origin = Origin::start(|_| Answer::ok("hello").slowly(Duration::from_millis(20)));
    let dead = free_address();
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [{{address: '{dead}', weight: 1000}}, $0], balance: round_robin, concurrency: {{max: 9}}}}}}
caches: {{pages: {{memory: 64MiB, max_object: 1MiB}}}}
routes:
- {{name: all, match: {{path: /*}}, upstream: app}}
- {{name: pages, match: {{path: /pages/*}}, upstream: app, cache: {{in: pages, ttl: 1h}}}}
"
        ),
        &[&origin],
    );
    // By our own client, by Pingora's proxy, by a fill; and from the cache.
    get("/a").send(&edge).expect(200);
    post("/b", "body").send(&edge).expect(200);
    get("/pages/c").send(&edge).expect(200);
    edge.await_metric("lakh_cache_objects", 1.0);
    get("/pages/c").send(&edge).expect(200);
    let lines = edge.access_log(4);
    for (line, tried) in lines.iter().zip([2, 2, 2, 0]) {
        if tried == 0 {
            assert_eq!(line["cache"], "hit");
            assert!(
                line.get("attempts").is_none() && line.get("first_byte_ms").is_none(),
                "{line}"
            );
            continue;
        }
        let millis = |key: &str| {
            line[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} of {line}"))
        };
        assert!(
            line["attempts"]
                .as_u64()
                .is_some_and(|n| (1..=tried).contains(&n)),
            "{line}"
        );
        assert_eq!(line["upstream"], "app");
        assert_eq!(line["server"], origin.address.to_string());
        assert!(millis("wait_ms") < 5000.0);
        assert!(
            millis("first_byte_ms") <= millis("ms") && millis("ms") > 10.0,
            "{line}"
        );
    }
    let connects = lines.iter().filter(|line| line["connect_ms"].is_f64());
    assert!(
        connects.count() >= 1,
        "somebody has made the connection: {lines:?}"
    );
    assert_eq!(
        (&lines[1]["received"], &lines[1]["method"]),
        (&4.into(), &"POST".into())
    );
    assert!(
        lines.iter().any(|line| line["attempts"] == 2),
        "one server is dead: {lines:?}"
    );
}

#[test]
fn formats_that_other_servers_have() {
    let origin = Origin::saying("hello");
    for (format, expected) in [
        (
            "common",
            r#"^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a HTTP/1\.1" 200 5$"#,
        ),
        (
            "combined",
            r#"\] "GET /a HTTP/1\.1" 200 5 "http://a/" "x\\x22y"$"#,
        ),
        (
            "'{method} {uri} {header:referer} {{{route}}} {server}'",
            r"^GET /a http://a/ \{all\} 127\.0\.0\.1:\d+$",
        ),
    ] {
        let edge = edge(&format!("{{format: {format}}}"), &origin);
        let ask = get("/a?b=c").with("user-agent", "x\"y");
        ask.with("referer", "http://a/?secret")
            .send(&edge)
            .expect(200);
        let line = &lines(&edge, 1)[0];
        let expected = regex::Regex::new(expected).expect("a pattern");
        assert!(expected.is_match(line), "{line}");
    }
}

#[test]
fn what_may_be_secret_is_hidden() {
    let origin = Origin::saying("hello");
    let edge = edge(
        "{query: true, headers: [cookie, user-agent, x-mine], redact: [cookie, x-mine, 'query:key'], addresses: truncated}",
        &origin,
    );
    let ask = get("/a?b=c&key=hunter2").with("cookie", "s=hunter2");
    let ask = ask.with("user-agent", "curl").with("x-mine", "hunter2");
    ask.send(&edge).expect(200);
    let line = &edge.access_log(1)[0];
    assert!(!line.to_string().contains("hunter2"), "{line}");
    assert_eq!(line["query"], "b=c&key=***");
    assert_eq!(line["header:cookie"], "***");
    assert_eq!(line["header:user-agent"], "curl");
    assert_eq!(line["client"], "127.0.0.0");
}

#[test]
fn a_sample_of_nothing_has_what_failed_and_what_was_slow() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/slow" => Answer::ok("late").after(&held),
        "/broken" => Answer::of(500, &[], "no"),
        _ => Answer::ok("hello"),
    });
    let edge = edge("{sample: 0%, slow: 300ms}", &origin);
    let mut slow = edge.connect();
    slow.send(get("/slow").wire());
    origin.await_requests(1);
    // It was asked before it is slow.
    let begun = std::time::Instant::now();
    eventually("time has passed", || {
        begun.elapsed() > Duration::from_millis(300)
    });
    gate.open();
    slow.reply("GET").expect(200);
    (0..20).for_each(|_| drop(get("/quick").send(&edge).expect(200)));
    get("/broken").send(&edge).expect(500);
    let paths: Vec<Value> = edge
        .access_log(2)
        .iter()
        .map(|line| line["path"].clone())
        .collect();
    assert_eq!(paths, ["/slow", "/broken"]);
}

#[test]
fn a_file_that_is_moved_away_loses_no_line() {
    let origin = Origin::saying("hello");
    let mut edge = edge("{to: $dir/access.log}", &origin);
    let (file, moved) = (edge.dir.join("access.log"), edge.dir.join("access.log.1"));
    let count = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().count()
    };
    let ask = |n: usize| (0..n).for_each(|_| drop(get("/a").send(&edge).expect(200)));
    ask(5);
    eventually("the lines are there", || count(&file) == 5);
    std::fs::rename(&file, &moved).expect("the same folder");
    ask(5);
    eventually("the old file is written on", || count(&moved) == 10);
    edge.sigusr1();
    eventually("there is a new file", || file.exists());
    ask(5);
    edge.sigterm();
    edge.await_exit();
    assert_eq!((count(&moved), count(&file)), (10, 5));
}

/// Nobody reads the other end of the pipe: whoever waited for it would wait forever.
#[test]
fn a_target_that_hangs_slows_nobody_down() {
    let origin = Origin::start(|_| Answer::of(200, &[("cache-control", "max-age=60")], "hello"));
    let edge = Edge::start_with(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
access_log: {to: $dir/pipe, query: true}
",
        &[&origin],
        |dir| {
            let path = dir.join("pipe").into_os_string().into_encoded_bytes();
            let path = std::ffi::CString::new(path).expect("a path");
            // SAFETY: the path is a C string that outlives the call.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
            // Held open for as long as the test runs, so that opening it to write doesn't wait.
            let reader = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(dir.join("pipe"));
            std::mem::forget(reader.expect("a pipe"));
        },
    );
    let long = "x".repeat(7000);
    let ask = get(&format!("/?{long}"));
    at_once(4, |_| {
        let mut client = edge.connect();
        (0..400).for_each(|_| drop(ask.on(&mut client).expect(200)));
    });
    assert!(edge.metric("lakh_access_log_dropped_total") > 0.0);
    get("/").send(&edge).expect(200);
}

/// Nothing of it is taken for true, but that it came, from where, and what it was answered.
#[test]
fn a_head_that_is_no_request_has_a_line_and_counts() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
limits: {header_timeout: 1s, header_size: 8KiB}
upstreams: {app: {servers: [$0]}}
routes: [{name: some, match: {path: /some/*}, upstream: app}]
",
        &[&origin],
    );
    let large = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nx-large: {}\r\n\r\n",
        "x".repeat(9000)
    );
    let mut seen = Vec::new();
    for (head, status) in [
        ("GET /a b HTTP/1.1\r\nHost: secret.example\r\n\r\n", 400),
        (large.as_str(), 431),
        ("GET / HTTP/1.1\r\nHost:", 408),
    ] {
        let mut client = edge.connect();
        client.send(head);
        let reply = client.reply("GET").expect_problem(status);
        seen.push((
            reply.the("x-request-id").to_owned(),
            reply.body.len(),
            status,
        ));
        let lines = edge.access_log(seen.len());
        let (id, length, status) = seen.last().expect("it was put there");
        let line = lines.last().expect("a line");
        assert_eq!((&line["id"], &line["status"]), (&json!(id), &json!(status)));
        assert_eq!(
            (&line["client"], &line["bytes"]),
            (&json!("127.0.0.1"), &json!(length))
        );
        for unknown in ["method", "host", "path", "route"] {
            assert_eq!(line[unknown], "-", "{line}");
        }
        assert!(
            line["error"].as_str().is_some_and(|why| !why.is_empty()),
            "{line}"
        );
        let waited = line["ms"].as_f64().expect("a number");
        assert_eq!(waited >= 1000.0, *status == 408, "{line}");
        let labels = format!("code=\"{status}\",listener=\"web\",method=\"other\",route=\"-\"");
        assert_eq!(
            edge.metric(&format!("lakh_http_requests_total{{{labels}}}")),
            1.0
        );
    }
    get("/other").send(&edge).expect(404);
    let labels = "code=\"404\",listener=\"web\",method=\"GET\",route=\"-\"";
    edge.await_metric(&format!("lakh_http_requests_total{{{labels}}}"), 1.0);
    assert_eq!(edge.metric("lakh_bad_requests_total"), 3.0);
}

/// Whoever samples their log is not made to write a line for each head of a flood.
#[test]
fn heads_that_are_no_requests_are_sampled_as_others_are() {
    let origin = Origin::saying("hello");
    let mut edge = edge("{sample: 0%}", &origin);
    for _ in 0..20 {
        let mut client = edge.connect();
        client.send("none\r\n\r\n");
        client.reply("GET").expect_problem(400);
    }
    let counted = "lakh_http_requests_total{code=\"400\"}";
    assert_eq!(edge.metric(counted), 20.0);
    // By its end it has written what there was.
    edge.sigterm();
    edge.await_exit();
    assert_eq!(edge.stdout(), "");
}
