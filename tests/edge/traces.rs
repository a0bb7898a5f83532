//! Traces, as a collector and as servers see them.

use crate::harness::{Answer, Edge, Origin, Seen, eventually, free_address, get, post};
use serde_json::Value;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn told(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn collector() -> Origin {
    Origin::start(|_| Answer::of(200, &[("content-type", "application/json")], "{}"))
}

/// `$0` is the collector, `$1` the application.
fn edge(more: &str, sample: &str, collector: &Origin, origin: &Origin) -> Edge {
    let yaml = "
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes:
- {name: all, match: {path: /*}, upstream: app}
- {name: pages, match: {path: /pages/*}, upstream: app, cache: {in: pages, ttl: 1h}}
";
    let tracing = format!("tracing: {{otlp: 'http://$0', sample: {sample}, service: shop-edge}}\n");
    Edge::start(&format!("{more}{yaml}{tracing}"), &[collector, origin])
}

const APP: &str = "upstreams: {app: {servers: [$1]}}\n";

/// All spans that have come, once there are `n`.
#[track_caller]
fn spans(collector: &Origin, n: usize) -> Vec<Value> {
    let all = || {
        let requests = collector.seen().into_iter().map(|seen: Seen| {
            assert_eq!((&*seen.method, seen.path()), ("POST", "/v1/traces"));
            assert_eq!(seen.the("content-type"), "application/json");
            let json: Value = serde_json::from_slice(&seen.body).expect("JSON");
            let resource = &json["resourceSpans"][0];
            let service = &resource["resource"]["attributes"][0];
            assert_eq!(
                (&service["key"], &service["value"]["stringValue"]),
                (&"service.name".into(), &"shop-edge".into())
            );
            resource["scopeSpans"][0]["spans"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        });
        requests.flatten().collect::<Vec<_>>()
    };
    eventually(&format!("{n} spans"), || all().len() >= n);
    all()
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|attribute| attribute["key"] == key);
    let value = found.map(|found| found["value"].clone());
    let inner = value.and_then(|v| v.as_object().and_then(|o| o.values().next().cloned()));
    inner.unwrap_or_default()
}

/// The spans of requests, each with those of its attempts.
fn requests(spans: &[Value]) -> Vec<(Value, Vec<Value>)> {
    let servers = spans.iter().filter(|span| span["kind"] == 2);
    servers
        .map(|server| {
            let is_part =
                |span: &&Value| span["kind"] == 3 && span["parentSpanId"] == server["spanId"];
            (
                server.clone(),
                spans.iter().filter(is_part).cloned().collect(),
            )
        })
        .collect()
}

#[test]
fn a_request_is_a_span_and_so_is_each_try() {
    let (collector, origin, dead) = (collector(), Origin::saying("hello"), free_address());
    let app = format!(
        "upstreams: {{app: {{servers: [{{address: '{dead}', weight: 60000}}, $1], balance: round_robin}}}}\n"
    );
    let edge = edge(&app, "100%", &collector, &origin);
    let reply = get("/a?secret=1").send(&edge).expect(200);
    post("/b", "body").send(&edge).expect(200);
    get("/pages/c").send(&edge).expect(200);
    let all = spans(&collector, 9);
    let requests = requests(&all);
    assert_eq!(requests.len(), 3, "{all:#?}");
    for ((server, attempts), seen) in requests.iter().zip(origin.seen()) {
        assert_eq!(attempts.len(), 2, "{server:#}");
        let (failed, good) = (&attempts[0], &attempts[1]);
        assert_eq!(failed["status"]["code"], 2);
        assert_eq!(attribute(failed, "server.port"), dead.port().to_string());
        assert_eq!(
            attribute(good, "server.port"),
            origin.address.port().to_string()
        );
        assert_eq!(attribute(good, "http.response.status_code"), "200");
        assert_eq!(attribute(good, "http.request.resend_count"), "1");
        assert_eq!(attribute(good, "lakh.upstream"), "app");
        let text = |span: &Value, key: &str| span[key].as_str().expect("a text").to_owned();
        let (trace, id) = (text(server, "traceId"), text(good, "spanId"));
        assert_eq!(
            seen.the("traceparent"),
            format!("00-{trace}-{id}-01"),
            "the server is part of its try"
        );
        let time = |span: &Value, key: &str| text(span, key).parse::<u64>().expect("nanoseconds");
        for attempt in attempts {
            assert_eq!(attempt["traceId"], server["traceId"]);
            assert!(time(attempt, "startTimeUnixNano") <= time(attempt, "endTimeUnixNano"));
        }
    }
    let (server, _) = &requests[0];
    assert_eq!(server["name"], "GET all");
    assert_eq!(server["parentSpanId"], "");
    assert_eq!(attribute(server, "url.path"), "/a");
    assert_eq!(attribute(server, "http.response.status_code"), "200");
    assert_eq!(
        attribute(server, "lakh.request_id"),
        reply.the("x-request-id")
    );
    let line = &edge.access_log(3)[0];
    assert_eq!(line["trace"], server["traceId"]);
    edge.await_metric("lakh_trace_spans_total{result=\"exported\"}", 9.0);
}

#[test]
fn a_trace_goes_on_through_the_edge_as_a_trusted_proxy_has_decided() {
    let (collector, origin) = (collector(), Origin::saying("hello"));
    let trusted = format!("trusted_proxies: [127.0.0.1]\n{APP}");
    let edge = edge(&trusted, "0%", &collector, &origin);
    let ask = |flags| {
        let ask = get("/a").with("traceparent", told(flags));
        ask.with("tracestate", "vendor=1").send(&edge).expect(200);
    };
    ask("00");
    ask("01");
    let all = spans(&collector, 2);
    let requests = requests(&all);
    assert_eq!(requests.len(), 1, "only the sampled one: {all:#?}");
    let server = &requests[0].0;
    assert_eq!(
        (&server["traceId"], &server["parentSpanId"]),
        (&TRACE.into(), &PARENT.into())
    );
    let seen = origin.seen();
    assert_eq!(seen[0].the("traceparent"), told("00"));
    assert!(
        seen[1]
            .the("traceparent")
            .starts_with(&format!("00-{TRACE}-"))
    );
    assert!(!seen[1].the("traceparent").contains(PARENT));
    assert_eq!(seen[1].the("tracestate"), "vendor=1");
    let lines = edge.access_log(2);
    assert_eq!(
        (lines[0].get("trace"), &lines[1]["trace"]),
        (None, &TRACE.into())
    );
}

#[test]
fn who_is_not_trusted_decides_for_nobody() {
    let (collector, origin) = (collector(), Origin::saying("hello"));
    let edge = edge(APP, "0%", &collector, &origin);
    get("/a")
        .with("traceparent", told("01"))
        .send(&edge)
        .expect(200);
    get("/b")
        .with("traceparent", "00-nonsense")
        .with("tracestate", "a=1")
        .send(&edge)
        .expect(200);
    let seen = origin.seen();
    assert_eq!(seen[0].the("traceparent"), told("00"));
    assert!(seen[1].the("traceparent").ends_with("-00"), "{:?}", seen[1]);
    assert_eq!(seen[1].field("tracestate"), None);
    assert_eq!(collector.count(), 0);
}

#[test]
fn hits_are_spans_too_and_those_who_wait_for_a_fill() {
    let (collector, origin) = (collector(), Origin::saying("hello"));
    let edge = edge(APP, "100%", &collector, &origin);
    get("/pages/a").send(&edge).expect(200);
    edge.await_metric("lakh_cache_objects", 1.0);
    get("/pages/a").send(&edge).expect(200);
    let all = spans(&collector, 3);
    let mut cache: Vec<_> = requests(&all)
        .iter()
        .map(|(server, attempts)| (attribute(server, "lakh.cache"), attempts.len()))
        .collect();
    cache.sort_by_key(|(_, attempts)| *attempts);
    assert_eq!(cache, [("hit".into(), 0), ("miss".into(), 1)]);
}

#[test]
fn without_a_collector_requests_go_on_and_spans_are_counted() {
    let (mut collector, origin) = (collector(), Origin::saying("hello"));
    let mut edge = edge(APP, "100%", &collector, &origin);
    collector.stop();
    (0..5).for_each(|_| drop(get("/a").send(&edge).expect(200)));
    edge.await_metric("lakh_trace_spans_total{result=\"failed\"}", 10.0);
    assert!(
        edge.stderr().contains("the collector does not take them"),
        "{}",
        edge.stderr()
    );
    edge.sigterm();
    assert!(edge.await_exit().success());
}

#[test]
fn without_tracing_what_clients_say_passes_as_it_came() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    get("/a")
        .with("traceparent", told("01"))
        .send(&edge)
        .expect(200);
    get("/b").send(&edge).expect(200);
    let seen = origin.seen();
    assert_eq!(seen[0].the("traceparent"), told("01"));
    assert_eq!(seen[1].field("traceparent"), None);
}
