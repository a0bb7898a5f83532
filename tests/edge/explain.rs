//! `lakh explain` says what is then done, takes nothing for it, and says so when no edge runs.

use crate::harness::{
    Answer, Ask, Client, Edge, Origin, Redis, Reply, ask, eventually, get, order_to,
};
use serde_json::{Value, json};
use std::fmt::Write;

const HOSTS: [&str; 5] = ["a.test", "b.test", "x.b.test", "y.x.b.test", "c.test"];
const PATTERNS: [&str; 5] = ["", "a.test", "b.test", "\"*.b.test\"", "\"*.x.b.test\""];
const WORDS: [&str; 5] = ["one", "two", "three", "four", "five"];
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];

/// 500 routes, and 200 requests of which each is asked about first.
#[test]
fn what_is_explained_is_what_happens() {
    let seed = 7;
    let mut random = fastrand::Rng::with_seed(seed);
    let origins = ["0", "1", "2"].map(|name| Origin::start(move |seen| answer(seen, name)));
    let addresses = origins.each_ref().map(|origin| origin.address.to_string());
    let yaml = configuration(&mut random);
    let edge = Edge::start_with(&yaml, &origins.each_ref(), |_| {});
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..200 {
        let ask = request(&mut random);
        let told = settled(&edge, &ask);
        let reply = ask.send(&edge);
        let line = logged(&edge, &reply);
        let what = told["outcome"]["what"].as_str().expect("an outcome");
        let context = format!("request {n}, {ask:?}:\n{told:#}\n{reply:?}\n{line:#}");
        compare(&told, &reply, &line, &context);
        if what == "miss" || what == "pass" {
            let number: usize = reply.the("x-origin").parse().expect("its number");
            assert_eq!(told["upstream"]["server"], addresses[number], "{context}");
        }
        *seen.entry(what.to_owned()).or_insert(0) += 1;
    }
    for what in ["refused", "hit", "miss", "pass"] {
        let count = seen.get(what).copied().unwrap_or(0);
        assert!(count >= 5, "only {count} of {what}: {seen:?}");
    }
}

fn compare(told: &Value, reply: &Reply, line: &Value, context: &str) {
    let route = told["route"]["name"].as_str().unwrap_or("-");
    assert_eq!(line["route"], route, "{context}");
    let what = &told["outcome"]["what"];
    if what == "refused" {
        assert_eq!(told["outcome"]["status"], reply.status, "{context}");
        let is_head = reply.body.is_empty();
        let problem = told["outcome"]["problem"].as_str().unwrap_or_default();
        let kind = format!("urn:lakh:problem:{problem}");
        assert!(is_head || reply.json()["type"] == kind, "{context}");
        return;
    }
    assert!(reply.status < 400, "{context}");
    let status = reply.field("cache-status").unwrap_or_default();
    let (is_hit, is_pass) = (status.contains("; hit"), status.contains("hit-for-pass"));
    let is_miss = status.contains("fwd=miss") && !is_pass;
    assert_eq!(what == "hit", is_hit, "{context}");
    assert_eq!(what == "miss", is_miss, "{context}");
    for limit in told["limits"].as_array().into_iter().flatten() {
        let name = limit["name"].as_str().expect("a name");
        let left = limit["remaining"].as_u64().expect("a number") - 1;
        let field = reply.field("ratelimit").unwrap_or_default();
        assert!(
            field.contains(&format!("\"{name}\";r={left};")),
            "{context}"
        );
    }
}

/// Once nothing that was asked before is on its way any more.
fn settled(edge: &Edge, ask: &Ask) -> Value {
    let mut told = Value::Null;
    eventually("servers have nothing to do", || {
        told = explain(edge, ask);
        let servers = told["upstream"]["servers"].as_array();
        servers.is_none_or(|servers| servers.iter().all(|server| server["in_flight"] == 0))
    });
    told
}

fn explain(edge: &Edge, ask: &Ask) -> Value {
    let mut fields = ask.fields.clone();
    fields.push(("host".to_owned(), ask.host.clone()));
    let inquiry = json!({
        "method": ask.method,
        "url": format!("http://{}{}", edge.web, ask.target),
        "headers": fields,
    });
    post(edge, "/api/v1/explain", &inquiry).expect(200).json()
}

fn post(edge: &Edge, target: &str, order: &Value) -> Reply {
    order_to(target, order.to_string()).on(&mut Client::connect(edge.admin))
}

fn logged(edge: &Edge, reply: &Reply) -> Value {
    let id = reply.field("x-request-id").expect("every answer has one");
    let mut found = None;
    eventually("it is in the log", || {
        let out = edge.stdout();
        let line = out.lines().rev().find(|line| line.contains(id));
        found = line.and_then(|line| serde_json::from_str(line).ok());
        found.is_some()
    });
    found.expect("it was found")
}

fn answer(seen: &crate::harness::Seen, name: &str) -> Answer {
    let keep = match seen.path().len() % 3 {
        0 => "no-store",
        _ => "max-age=600",
    };
    Answer::of(200, &[("cache-control", keep), ("x-origin", name)], "hello")
}

fn request(random: &mut fastrand::Rng) -> Ask {
    let method = METHODS[[0, 0, 0, 1, 2, 3][random.usize(..6)]];
    let mut path = String::new();
    for _ in 0..random.usize(1..4) {
        path += "/";
        path += WORDS[random.usize(..3)];
    }
    if random.u8(..8) == 0 {
        let others = ["//", "/./", "/x/../", "/;x/", "/%2f"];
        path = path.replacen('/', others[random.usize(..others.len())], 1);
    }
    let mut ask = ask(method, &path).host(HOSTS[random.usize(..HOSTS.len())]);
    if method == "POST" {
        ask = ask.with("content-length", 0);
    }
    if random.bool() {
        ask = ask.with("x-beta", random.u8(..2));
    }
    if random.bool() {
        ask = ask.with("x-user", random.u8(..9));
    }
    ask
}

fn configuration(random: &mut fastrand::Rng) -> String {
    let mut yaml = "
rate_limits:
  few: {key: [header:x-user, route], rate: 4/h, burst: 4}
  each: {key: client_address, rate: 1/h, burst: 1000}
caches:
  pages: {memory: 10MiB}
upstreams:
  least: {servers: [$0, $1, $2]}
  turns: {balance: round_robin, servers: [$0, {address: $1, weight: 2}, $2]}
  hash: {balance: hash, hash_key: header:x-user, servers: [$0, $1, $2]}
  path: {balance: hash, hash_key: path, servers: [$2, $1]}
routes:
"
    .to_owned();
    for n in 0..500 {
        let upstream = ["least", "turns", "hash", "path"][random.usize(..4)];
        let host = PATTERNS[random.usize(..PATTERNS.len())];
        let mut matches = format!("path: {}", pattern(random));
        if !host.is_empty() {
            matches += &format!(", host: [{host}]");
        }
        match random.u8(..6) {
            0 => matches += ", methods: [GET]",
            1 => matches += ", methods: [POST, DELETE]",
            2 => matches += &format!(", header: {{x-beta: \"{}\"}}", random.u8(..2)),
            _ => {}
        }
        let mut more = String::new();
        match random.u8(..12) {
            0 => more += ", deny: [127.0.0.0/8]",
            1 => more += ", maintenance: true",
            2 => more += ", url_length: 64B, rate_limits: [few, each]",
            3..6 => more += ", rate_limits: [few]",
            _ => {}
        }
        if random.bool() {
            more += ", cache: {in: pages}";
        }
        // Writing to a String can't fail.
        let _ = writeln!(
            yaml,
            "  - {{name: r{n}, match: {{{matches}}}, upstream: {upstream}{more}}}"
        );
    }
    yaml
}

fn pattern(random: &mut fastrand::Rng) -> String {
    let mut path = String::new();
    for _ in 0..random.usize(..3) {
        path += "/";
        path += WORDS[random.usize(..3)];
    }
    match random.u8(..3) {
        0 if !path.is_empty() => path,
        _ => path + "/*",
    }
}

const LIMITED: &str = "
rate_limits: {few: {key: client_address, rate: 2/h}}
caches: {pages: {memory: 10MiB}}
upstreams: {app: {servers: [$0]}}
routes:
- {name: photos, match: {path: /photos/*, methods: [GET]}, upstream: app, cache: {in: pages, purge_from: [127.0.0.1]}, images: true}
- {name: limited, match: {path: /limited/*}, upstream: app, rate_limits: [few]}
- {name: api, match: {path: /api/*}, upstream: app, cors: {origins: [\"https://a.test\"]}}
";

#[test]
fn nothing_is_taken_and_nothing_counted() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(LIMITED, &[&origin]);
    for _ in 0..10 {
        let told = explain(&edge, &get("/limited/1"));
        assert_eq!(told["outcome"]["what"], "pass", "{told:#}");
        assert_eq!(told["limits"][0]["remaining"], 2, "{told:#}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(edge.metric("lakh_http_requests_total"), 0.0);
    assert_eq!(edge.metric("lakh_ratelimit_decisions_total"), 0.0);
    for left in [1, 0] {
        let reply = get("/limited/1").send(&edge).expect(200);
        let field = reply.field("ratelimit").expect("it says how it stands");
        assert!(field.contains(&format!("r={left}")), "{field}");
    }
    let told = explain(&edge, &get("/limited/1"));
    assert_eq!(told["outcome"]["problem"], "rate-limited", "{told:#}");
    assert_eq!(told["outcome"]["why"], "rate_limits.few");
    get("/limited/1").send(&edge).expect(429);
}

#[test]
fn who_asks_is_told_and_not_counted() {
    let origin = Origin::saying("hello");
    let yaml = "
upstreams: {app: {servers: [$0]}}
auth: {people: {jwt: {secret_file: $dir/secret}}}
routes: [{name: all, match: {path: /*}, upstream: app, auth: people}]
";
    let edge = Edge::start_with(yaml, &[&origin], |dir| {
        let secret = "a secret of this test, and of no other";
        std::fs::write(dir.join("secret"), secret).expect("the folder is ours");
    });
    let told = explain(&edge, &get("/"));
    assert_eq!(
        told["outcome"]["problem"], "credentials-missing",
        "{told:#}"
    );
    assert_eq!(edge.metric("lakh_auth_total"), 0.0);
    get("/").send(&edge).expect(401);
    assert_eq!(edge.metric("lakh_auth_total"), 1.0);
}

#[test]
fn what_other_edges_have_taken_of_a_shared_limit_is_seen_and_nothing_taken() {
    let (redis, origin) = (Redis::start(), Origin::saying("hello"));
    let shared = format!(
        "redis: {{url: \"{}\", timeout: 2s}}\n{}",
        redis.url(),
        LIMITED.replace("rate: 2/h", "rate: 2/h, store: redis")
    );
    let edges = [0; 2].map(|_| Edge::start(&shared, &[&origin]));
    // The first question may come before the connection is there.
    let failed = |edge: &Edge| edge.metric("lakh_ratelimit_store_errors_total");
    eventually("redis answers", || {
        edges.iter().all(|edge| {
            let before = failed(edge);
            get("/limited/1").from("127.0.0.78").send(edge);
            failed(edge) == before
        })
    });
    for left in [2, 1, 0] {
        for _ in 0..3 {
            let told = explain(&edges[1], &get("/limited/1"));
            assert_eq!(told["limits"][0]["remaining"], left, "{told:#}");
            let what = if left > 0 { "pass" } else { "refused" };
            assert_eq!(told["outcome"]["what"], what, "{told:#}");
        }
        let status = if left > 0 { 200 } else { 429 };
        get("/limited/1").send(&edges[0]).expect(status);
    }
}

#[test]
fn each_way_is_told() {
    let origin = Origin::start(|seen| {
        let keep = match seen.path() {
            "/photos/old" => "max-age=0, stale-while-revalidate=600",
            _ => "max-age=600",
        };
        Answer::of(200, &[("cache-control", keep)], "hello")
    });
    let edge = Edge::start(LIMITED, &[&origin]);
    let what = |ask: &Ask| {
        let told = explain(&edge, ask);
        (told["outcome"]["what"].clone(), told)
    };
    get("/photos/new").send(&edge).expect(200);
    get("/photos/old").send(&edge).expect(200);
    let (kind, told) = what(&get("/photos/new"));
    assert_eq!(
        (kind, &told["cache"]["zone"]),
        (json!("hit"), &json!("pages"))
    );
    let (kind, told) = what(&get("/photos/old"));
    assert_eq!(
        (kind, &told["cache"]["state"]),
        (json!("stale"), &json!("stale"))
    );
    let (kind, told) = what(&get("/photos/other").with("range", "bytes=0-1"));
    assert_eq!(
        (kind, &told["cache"]["why"]),
        (json!("pass"), &json!("range"))
    );
    let (kind, told) = what(&get("/photos/a.jpg?w=400"));
    assert_eq!(
        (kind, &told["image"]["source"]),
        (json!("render"), &json!("miss"))
    );
    let (kind, _) = what(&get("/photos/none").with("cache-control", "only-if-cached"));
    assert_eq!(kind, "refused");
    assert_eq!(what(&ask("PURGE", "/photos/new")).0, "purge");
    let preflight = ask("OPTIONS", "/api/1")
        .with("origin", "https://a.test")
        .with("access-control-request-method", "GET");
    assert_eq!(what(&preflight).0, "preflight");
    let (kind, told) = what(&ask("POST", "/photos/new"));
    assert_eq!((kind, &told["route"]), (json!("refused"), &Value::Null));
    let other = &told["others"][0];
    let (name, why) = (json!("photos"), json!("is for the method GET"));
    assert_eq!((&other["name"], &other["why"]), (&name, &why), "{told:#}");
    assert_eq!(origin.count(), 2, "it was asked for what was sent alone");
}

#[test]
fn the_command_says_it_in_words_and_by_the_file_alone() {
    let origin = Origin::saying("hello");
    let mut edge = Edge::start(LIMITED, &[&origin]);
    get("/limited/1").send(&edge).expect(200);
    let url = format!("http://{}/limited/1", edge.web);
    let say = |edge: &Edge, more: &[&str]| {
        let output = edge.command(&[&["explain", "GET", &url][..], more].concat());
        assert!(output.status.success(), "{output:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (running, errors) = say(&edge, &["-H", "x-beta: 1"]);
    assert!(
        running.contains("route     limited (path /limited/*)"),
        "{running}"
    );
    assert!(running.contains("few: 1 of 2 left"), "{running}");
    assert!(running.contains(&origin.address.to_string()), "{running}");
    assert_eq!(errors, "");
    let (offline, errors) = say(&edge, &["--offline"]);
    assert!(offline.contains("few: 2 of 2 left"), "{offline}");
    assert_eq!(errors, "");
    edge.sigterm();
    edge.await_exit();
    let (alone, errors) = say(&edge, &["--json"]);
    let told: Value = serde_json::from_str(&alone).expect("JSON");
    assert_eq!(told["limits"][0]["remaining"], 2);
    assert!(
        errors.contains("this is what the file alone says"),
        "{errors}"
    );
}

#[test]
fn an_inquiry_that_makes_no_sense_is_refused() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(LIMITED, &[&origin]);
    for (inquiry, why) in [
        (
            json!({"method": "GET", "url": "shop.test/a"}),
            "is not a URL",
        ),
        (
            json!({"method": "G T", "url": "http://a/"}),
            "is not a method",
        ),
        (json!({"method": "GET"}), "missing field `url`"),
        (
            json!({"method": "GET", "url": "http://a/", "headers": [["a b", "c"]]}),
            "is no field",
        ),
        (
            json!({"method": "GET", "url": "http://a/", "form": "x"}),
            "unknown field",
        ),
    ] {
        let reply = post(&edge, "/api/v1/explain", &inquiry).expect(400);
        assert_eq!(
            reply.field("content-type"),
            Some("application/problem+json")
        );
        let detail = reply.json()["detail"]
            .as_str()
            .expect("a detail")
            .to_owned();
        assert!(detail.contains(why), "{inquiry}: {detail}");
    }
}

/// What is refused before a route is looked for has none, and none that fits too.
#[test]
fn a_tunnel_has_no_route() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let told = explain(&edge, &ask("CONNECT", "/"));
    assert_eq!(told["outcome"]["status"], 405, "{told:#}");
    assert!(told["route"].is_null(), "{told:#}");
    assert!(!told.to_string().contains("fits too"), "{told:#}");
}
