//! What operators see.

use crate::harness::{
    ADMIN_TOKEN, Answer, Client, Edge, Gate, Origin, ask, eventually, get, order_to, post,
};

const ONE_ROUTE: &str = "
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /shop/*}, upstream: app}]
";

#[test]
fn the_process_lives_and_is_ready() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    for page in ["/healthz", "/readyz", "/metrics"] {
        let reply = edge.admin(page).expect("an answer").expect(200);
        assert!(
            reply.the("content-type").starts_with("text/plain"),
            "{page}"
        );
    }
    edge.admin("/nothing").expect("an answer").expect(404);
    get("/metrics").send(&edge).expect(200);
    assert_eq!(
        origin.the_request().target,
        "/metrics",
        "the public listener has no such page"
    );
}

#[test]
fn requests_are_counted_by_listener_route_method_and_code() {
    let origin = Origin::start(|seen| match seen.path() {
        "/shop/missing" => Answer::of(404, &[], "no"),
        "/shop/broken" => Answer::of(500, &[], "no"),
        _ => Answer::ok("hello"),
    });
    let edge = Edge::start(ONE_ROUTE, &[&origin]);
    let mut client = edge.connect();

    for target in [
        "/shop/a",
        "/shop/b",
        "/shop/c",
        "/shop/missing",
        "/shop/missing",
        "/shop/broken",
        "/elsewhere",
    ] {
        get(target).on(&mut client);
    }
    ask("HEAD", "/shop/a").on(&mut client);
    ask("BREW", "/shop/a").on(&mut client);

    for (method, code, count) in [
        ("GET", 200, 3.0),
        ("GET", 404, 2.0),
        ("GET", 500, 1.0),
        ("HEAD", 200, 1.0),
        ("other", 200, 1.0),
    ] {
        let series = format!(
            "lakh_http_requests_total{{listener=\"web\",route=\"all\",method=\"{method}\",code=\"{code}\"}}"
        );
        edge.await_metric(&series, count);
    }
    assert_eq!(
        edge.metric(r#"lakh_http_response_bytes_total{route="all"}"#),
        26.0
    );
    assert_eq!(
        edge.metric(r#"lakh_http_request_duration_seconds_count{route="all"}"#),
        8.0
    );
    let server = format!(
        "lakh_upstream_requests_total{{upstream=\"app\",server=\"{}\"}}",
        origin.address
    );
    assert_eq!(edge.metric(&server), 8.0);
    assert_eq!(edge.metric("lakh_in_flight"), 0.0);
    assert_eq!(edge.metric("lakh_connections"), 1.0);
}

#[test]
fn the_page_has_every_family_and_is_well_formed() {
    let origin = Origin::start(|_| Answer::of(200, &[("cache-control", "max-age=60")], "hello"));
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0], health_check: {path: /health, interval: 100ms}}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
rate_limits: {many: {key: client_address, rate: 1000/s, burst: 1000}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}, rate_limits: [many], images: true}]
",
        &[&origin],
    );
    get("/?w=10").send(&edge).expect(200);
    // It is counted once it is answered.
    edge.await_metric("lakh_http_requests_total", 1.0);

    let page = edge.admin("/metrics").expect("an answer").text();

    for family in [
        "lakh_http_requests_total",
        "lakh_http_request_duration_seconds",
        "lakh_http_response_bytes_total",
        "lakh_build_info",
        "lakh_process_cpu_seconds_total",
        "lakh_process_resident_memory_bytes",
        "lakh_process_memory_limit_bytes",
        "lakh_process_open_fds",
        "lakh_refused_total",
        "lakh_upstream_up",
        "lakh_upstream_active",
        "lakh_upstream_requests_total",
        "lakh_upstream_failures_total",
        "lakh_upstream_retries_total",
        "lakh_cache_requests_total",
        "lakh_cache_bytes",
        "lakh_cache_objects",
        "lakh_cache_fills_total",
        "lakh_ratelimit_decisions_total",
        "lakh_ratelimit_keys",
        "lakh_image_transforms_total",
        "lakh_image_seconds",
        "lakh_image_wait_seconds",
        "lakh_image_queue",
        "lakh_in_flight",
        "lakh_connections",
        "lakh_connections_refused_total",
        "lakh_bad_requests_total",
        "lakh_panics_total",
        "lakh_config_loads_total",
        "lakh_config_load_failures_total",
        "lakh_config_stale",
        "lakh_access_log_dropped_total",
        "lakh_process_start_time_seconds",
        "lakh_process_tasks",
        "lakh_trace_spans_total",
    ] {
        for about in ["HELP", "TYPE"] {
            assert!(
                page.contains(&format!("# {about} {family} ")),
                "{about} of {family} in\n{page}"
            );
        }
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').expect("a series and its value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn in_flight_goes_up_and_down() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let edge = Edge::before(&origin);
    let mut clients = [edge.connect(), edge.connect()];

    for client in &mut clients {
        client.send(get("/").wire());
    }
    edge.await_metric("lakh_in_flight", 2.0);
    edge.await_metric("lakh_upstream_active", 2.0);
    gate.open();
    for client in &mut clients {
        client.reply("GET").expect(200);
    }

    edge.await_metric("lakh_in_flight", 0.0);
    drop(clients);
    edge.await_metric("lakh_connections", 0.0);
}

#[test]
fn what_clients_choose_is_no_label() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    get("/marked-path")
        .host("marked-host.example")
        .with("user-agent", "marked-agent")
        .send(&edge)
        .expect(200);
    ask("MARKED", "/").send(&edge);

    let page = edge
        .admin("/metrics")
        .expect("an answer")
        .text()
        .to_lowercase();
    assert!(!page.contains("marked"), "{page}");
}

#[test]
fn a_line_of_the_access_log_says_what_happened() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(ONE_ROUTE, &[&origin]);

    let reply = post("/shop/a?token=secret", "body")
        .host("shop.example")
        .with("authorization", "Bearer secret")
        .with("cookie", "session=secret")
        .from("127.0.0.7")
        .send(&edge)
        .expect(200);

    let line = &edge.access_log(1)[0];
    assert_eq!(line["method"], "POST");
    assert_eq!(line["path"], "/shop/a");
    assert_eq!(line["host"], "shop.example");
    assert_eq!(line["status"], 200);
    assert_eq!(line["route"], "all");
    assert_eq!(line["id"], reply.the("x-request-id"));
    assert_eq!(line["client"], "127.0.0.7");
    assert_eq!(line["server"], origin.address.to_string());
    assert_eq!(line["bytes"], 5);
    assert!(
        line["ms"]
            .as_f64()
            .is_some_and(|ms| (0.0..5000.0).contains(&ms)),
        "{line}"
    );
    let time = line["time"].as_str().expect("a text");
    assert!(
        time.len() >= 20 && time.ends_with('Z') && time.contains('T'),
        "{time}"
    );
    assert!(!line.to_string().contains("secret"), "{line}");
}

#[test]
fn there_is_one_line_per_request_whatever_became_of_it() {
    let origin = Origin::start(|seen| match seen.path() {
        "/shop/broken" => Answer::hang_up(),
        _ => Answer::of(200, &[("cache-control", "max-age=60")], "hello"),
    });
    let mut edge = Edge::start(
        "
process: {drain: 2s}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes:
- {name: cached, match: {path: /shop/*}, upstream: app, cache: {in: pages}}
- {name: denied, match: {path: /denied}, upstream: app, deny: [127.0.0.0/8]}
",
        &[&origin],
    );

    let mut client = edge.connect();
    get("/shop/a").send(&edge).expect(200);
    edge.await_metric("lakh_cache_objects", 1.0);
    for (target, status) in [
        ("/shop/a", 200),
        ("/shop/broken", 502),
        ("/denied", 403),
        ("/none\\such", 404),
    ] {
        get(target).send(&edge).expect(status);
    }
    get("/shop/a").on(&mut client).expect(200);
    edge.sigterm();
    edge.await_exit();

    let lines = edge.access_log(6);
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| (line["path"].as_str().unwrap_or(""), line["status"].as_u64()))
        .collect();
    told.sort();
    let expected = [
        ("/denied", Some(403)),
        ("/none\\such", Some(404)),
        ("/shop/a", Some(200)),
        ("/shop/a", Some(200)),
        ("/shop/a", Some(200)),
        ("/shop/broken", Some(502)),
    ];
    assert_eq!(told, expected);
    let hits = lines
        .iter()
        .filter(|line| line["path"] == "/shop/a" && line["cache"] == "hit");
    assert_eq!(hits.count(), 2);
    let broken = lines
        .iter()
        .find(|line| line["path"] == "/shop/broken")
        .expect("told above");
    assert!(
        broken["error"].as_str().is_some_and(|why| !why.is_empty()),
        "{broken}"
    );
}

#[test]
fn the_log_may_go_to_a_file_or_nowhere() {
    let origin = Origin::saying("hello");
    let to_file = Edge::start(
        &format!("{ONE_ROUTE}access_log: {{to: $dir/access.log}}\n"),
        &[&origin],
    );
    let nowhere = Edge::start(
        &format!("{ONE_ROUTE}access_log: {{to: none}}\n"),
        &[&origin],
    );

    get("/shop/a").send(&to_file).expect(200);
    get("/shop/a").send(&nowhere).expect(200);

    let read = || std::fs::read_to_string(to_file.dir.join("access.log")).unwrap_or_default();
    eventually("the line is in the file", || read().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&read()).expect("one line of JSON");
    assert_eq!(line["path"], "/shop/a");
    assert_eq!(to_file.stdout(), "");
    nowhere.await_metric(r#"lakh_http_requests_total{code="200"}"#, 1.0);
    assert_eq!(nowhere.stdout(), "");
}

#[test]
fn a_sample_of_nothing_still_has_the_failures() {
    let origin = Origin::start(|seen| match seen.path() {
        "/shop/broken" => Answer::of(503, &[], "no"),
        _ => Answer::ok("hello"),
    });
    let edge = Edge::start(
        &format!("{ONE_ROUTE}access_log: {{sample: 0%}}\n"),
        &[&origin],
    );

    for _ in 0..20 {
        get("/shop/a").send(&edge).expect(200);
    }
    get("/shop/broken").send(&edge).expect(503);

    let lines = edge.access_log(1);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["status"], 503);
}

#[test]
fn a_token_guards_the_metrics() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        &format!("admin: {{address: $admin, token_file: $dir/token}}\n{ONE_ROUTE}"),
        &[&origin],
    );
    let without = |page: &str| get(page).on(&mut Client::connect(edge.admin)).status;
    let with = |token: &str| {
        let ask = get("/metrics").with("authorization", format!("Bearer {token}"));
        ask.on(&mut Client::connect(edge.admin)).status
    };

    assert_eq!(
        (without("/metrics"), without("/readyz"), without("/healthz")),
        (401, 200, 200)
    );
    assert_eq!(
        (with(ADMIN_TOKEN), with(&ADMIN_TOKEN[1..]), with("")),
        (200, 401, 401)
    );
}

#[test]
fn the_admin_listener_is_no_proxy() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.admin);

    order_to("/metrics", "x").on(&mut client).expect(405);
    assert_eq!(origin.count(), 0);
}
