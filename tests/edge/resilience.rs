//! What an upstream does when servers fail, are drained, come back, or have too much to do.

use crate::harness::{
    Answer, Client, Edge, Gate, Origin, Reply, Seen, ask, at_once, eventually, get, order_to, post,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn one_route(upstream: &str) -> String {
    format!(
        "
upstreams: {{app: {{{upstream}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
    )
}

/// An origin that is ill while it is told to be, its probes included.
fn switched(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let ill = Arc::new(AtomicBool::new(false));
    let told = ill.clone();
    let origin = Origin::start(move |_| match told.load(Ordering::SeqCst) {
        true => Answer::of(503, &[], "ill"),
        false => Answer::ok(name),
    });
    (origin, ill)
}

#[test]
fn equal_keys_meet_the_same_server() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let edge = Edge::start(
        &one_route("balance: hash, hash_key: header:x-device-id, servers: [$0, $1, $2]"),
        &[&origins[0], &origins[1], &origins[2]],
    );
    let mut client = edge.connect();
    let mut home = |device: usize| {
        let ask = get("/").with("x-device-id", device);
        ask.on(&mut client).expect(200).text()
    };

    let homes: Vec<_> = (0..20).map(&mut home).collect();

    assert!((0..20).all(|device| home(device) == homes[device]));
    assert_eq!(homes.iter().collect::<HashSet<_>>().len(), 3, "{homes:?}");
}

#[test]
fn a_breaker_that_opened_costs_nothing_until_one_request_closes_it() {
    let (origin, ill) = switched("well");
    let edge = Edge::start(
        &one_route(
            "servers: [$0], retry: {attempts: 1}, circuit_breaker: {failures: 5, open_for: 1s}",
        ),
        &[&origin],
    );
    ill.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        get("/").send(&edge).expect(503);
    }
    let opened = Instant::now();
    assert_eq!(edge.server(origin.address)["state"], "open");
    assert_eq!(edge.server(origin.address)["breaker"], "open");
    assert_eq!(
        edge.server(origin.address)["why"],
        "5 failed in a row: status 503"
    );

    let reply = get("/").send(&edge).expect_problem(503);
    assert_eq!(reply.the("retry-after"), "1");
    assert_eq!(origin.count(), 5, "it was not asked");

    ill.store(false, Ordering::SeqCst);
    eventually("one request closes it", || {
        get("/").send(&edge).status == 200
    });
    assert!(
        opened.elapsed() >= Duration::from_millis(950),
        "{:?}",
        opened.elapsed()
    );
    assert_eq!(origin.count(), 6);
    edge.await_state(origin.address, "up");
}

#[test]
fn backups_serve_while_all_others_are_down_and_only_then() {
    let (one, ill) = switched("primary");
    let two = Origin::saying("backup");
    let edge = Edge::start(
        &one_route(
            "servers: [$0, {address: $1, backup: true}], failback: 300ms, \
             health_check: {interval: 30ms, unhealthy_after: 3}",
        ),
        &[&one, &two],
    );
    let served = || get("/").send(&edge).expect(200).text();
    assert_eq!((0..10).map(|_| served()).collect::<HashSet<_>>().len(), 1);

    ill.store(true, Ordering::SeqCst);
    edge.await_state(one.address, "down");
    assert_eq!(served(), "backup");
    assert_eq!(edge.metric("lakh_upstream_tier"), 1.0);
    let shown = edge.server(one.address);
    assert_eq!(shown["last_probe_error"], "status 503");

    ill.store(false, Ordering::SeqCst);
    edge.await_state(one.address, "up");
    let back = Instant::now();
    eventually("the primary serves again", || served() == "primary");
    assert!(
        back.elapsed() >= Duration::from_millis(200),
        "it proved itself first"
    );
}

#[test]
fn what_may_be_tried_again_is_and_nothing_else() {
    let busy = Origin::start(|seen| match seen.path() {
        "/all" => Answer::of(503, &[("x-from", "busy")], "busy"),
        _ => Answer::of(500, &[], "broken"),
    });
    let other = Origin::start(|seen| match seen.path() {
        "/all" => Answer::of(503, &[("x-from", "other")], "busy"),
        _ => Answer::ok(&seen.body),
    });
    let edge = Edge::start(
        &one_route("balance: round_robin, servers: [$0, $1], retry: {on: [500, 503]}"),
        &[&busy, &other],
    );

    for n in 0..6 {
        get("/").send(&edge).expect(200);
        let mut put = ask("PUT", "/");
        put.body = vec![b'x'; 60 << 10];
        let put = put.with("content-length", 60 << 10).send(&edge).expect(200);
        assert_eq!(put.body.len(), 60 << 10, "the whole body again");
        let _ = n;
    }
    let statuses: HashSet<_> = (0..4).map(|_| post("/", "x").send(&edge).status).collect();
    assert_eq!(
        statuses,
        HashSet::from([200, 500]),
        "an order is placed once"
    );
    let large = |_| {
        let mut put = ask("PUT", "/");
        put.body = vec![b'x'; 200 << 10];
        put.with("content-length", 200 << 10).send(&edge).status
    };
    let statuses: HashSet<_> = (0..4).map(large).collect();
    assert_eq!(statuses, HashSet::from([200, 500]), "too large to keep");

    let asked = busy.count() + other.count();
    assert_eq!(
        get("/all").send(&edge).expect(503).text(),
        "busy",
        "the server's own words"
    );
    assert_eq!(busy.count() + other.count(), asked + 2);
}

#[test]
fn retries_keep_to_their_budget() {
    let gate = Gate::default();
    let held = gate.clone();
    let fails = move || {
        let held = held.clone();
        Origin::start(move |_| Answer::of(503, &[], "").after(&held))
    };
    let (one, two) = (fails(), fails());
    let edge = Edge::start(
        &one_route(
            "servers: [$0, $1], retry: {attempts: 2, budget: 10%, backoff: {base: 200ms, max: 200ms}}",
        ),
        &[&one, &two],
    );
    let open = || {
        eventually("all have been asked once", || {
            one.count() + two.count() >= 40
        });
        gate.open();
    };
    std::thread::scope(|scope| {
        scope.spawn(open);
        at_once(40, |_| get("/").send(&edge).expect(503));
    });

    let retries = edge.metric("lakh_upstream_retries_total");
    assert!(
        (3.0..=4.0).contains(&retries),
        "{retries} of 40 were tried again"
    );
    assert_eq!(
        edge.metric("lakh_upstream_retries_denied_total"),
        40.0 - retries
    );
}

#[test]
fn a_drained_server_finishes_what_it_has_and_gets_nothing_new() {
    let gate = Gate::default();
    let handler = |name: &'static str, gate: Gate| {
        move |seen: &Seen| match seen.path() {
            "/slow" => Answer::ok(name).after(&gate),
            _ => Answer::ok(name),
        }
    };
    let one = Origin::start(handler("one", gate.clone()));
    let two = Origin::start(handler("two", gate.clone()));
    let edge = Edge::start(&one_route("servers: [$0, $1]"), &[&one, &two]);
    let mut waiting = edge.connect();
    waiting.send(get("/slow").wire());
    eventually("one has it", || one.count() + two.count() == 1);
    let (busy, name, idle) = match one.count() {
        1 => (&one, "one", &two),
        _ => (&two, "two", &one),
    };

    let address = busy.address.to_string();
    let drained = edge.command(&["drain", "app", &address]);
    assert!(drained.status.success(), "{drained:?}");
    let mut client = edge.connect();
    for _ in 0..10 {
        get("/").on(&mut client).expect(200);
    }
    assert_eq!((busy.count(), idle.count()), (1, 10));
    let shown = edge.server(busy.address);
    assert_eq!(
        (&shown["state"], &shown["active"]),
        (&"draining".into(), &1.into())
    );
    let listed = edge.command(&["upstreams"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("drained by an operator"));

    gate.open();
    assert_eq!(waiting.reply("GET").expect(200).text(), name);
    edge.reload(&format!(
        "{}access_log: {{to: none}}",
        one_route("servers: [$0, $1]")
    ));
    assert_eq!(
        edge.server(busy.address)["state"],
        "draining",
        "a reload changes nothing"
    );
    assert!(edge.command(&["undrain", "app", &address]).status.success());
    eventually("it is used again", || {
        get("/").on(&mut client).expect(200).text() == name
    });

    for (upstream, server, why) in [
        (
            "ap",
            address.as_str(),
            "no upstream is named `ap`; there are app",
        ),
        (
            "app",
            "127.0.0.1:1",
            "no server is named `127.0.0.1:1`; there are 127.0.0.1:",
        ),
    ] {
        let refused = edge.command(&["drain", upstream, server]);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_weight_by_hand_holds_until_it_is_given_back() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    for balance in ["round_robin", "hash, hash_key: path"] {
        let yaml = one_route(&format!("servers: [$0, $1], balance: {balance}"));
        let edge = Edge::start(&yaml, &[&one, &two]);
        let address = one.address;
        let weigh = |weight: &str| {
            let order =
                format!(r#"{{"upstream": "app", "server": "{address}", "weight": {weight}}}"#);
            order_to("/api/v1/servers/weight", order).on(&mut Client::connect(edge.admin))
        };
        let answers = || -> Vec<_> {
            let ask = |n| get(&format!("/{n}")).send(&edge).expect(200).text();
            (0..40).map(ask).collect()
        };
        let are_all_of = |name: &str, answers: Vec<String>| answers.iter().all(|a| a == name);
        assert!(answers().contains(&"one".into()), "{balance}");
        weigh("0").expect(200);
        assert!(are_all_of("two", answers()), "{balance}");
        edge.reload(&format!("{yaml}access_log: {{to: none}}"));
        assert!(
            are_all_of("two", answers()),
            "{balance}: a reload changes nothing"
        );
        let shown = edge.server(address);
        assert_eq!(
            (&shown["weight"], &shown["weight_by_hand"]),
            (&0.into(), &0.into())
        );
        let given_back = edge.command(&["weight", "app", &address.to_string()]);
        assert!(given_back.status.success(), "{given_back:?}");
        assert!(answers().contains(&"one".into()), "{balance}");
        assert_eq!(edge.server(address)["weight"], 1);
        weigh("70000").expect(400);
        let refused = edge.command(&["weight", "app", &address.to_string(), "many"]);
        assert!(!refused.status.success());
    }
}

#[test]
fn as_many_run_as_may_and_as_many_wait_as_may() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("done").after(&held));
    let edge = Edge::start(
        &one_route("servers: [$0], concurrency: {max: 2, queue: 2, queue_timeout: 10s}"),
        &[&origin],
    );
    let send = || {
        let mut client = edge.connect();
        client.send(get("/").wire());
        client
    };
    let mut running = [send(), send()];
    origin.await_requests(2);
    let (mut third, fourth) = (send(), send());
    edge.await_metric("lakh_upstream_waiting", 2.0);

    let refused = get("/").send(&edge).expect_problem(503);
    assert_eq!(refused.the("retry-after"), "1");
    assert!(
        refused.json()["type"]
            .as_str()
            .is_some_and(|t| t.ends_with("upstream-busy"))
    );
    assert_eq!(edge.metric("lakh_upstream_busy_total"), 1.0);

    drop(fourth);
    edge.await_metric("lakh_upstream_waiting", 1.0);
    let mut fifth = send();
    edge.await_metric("lakh_upstream_waiting", 2.0);
    assert_eq!(origin.count(), 2);

    gate.open();
    for client in running.iter_mut().chain([&mut third, &mut fifth]) {
        client.reply("GET").expect(200);
    }
    assert_eq!(origin.count(), 4, "who had left was not sent on");
    edge.await_metric("lakh_upstream_running", 0.0);
}

#[test]
fn nobody_waits_in_the_queue_longer_than_the_timeout() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("done").after(&held));
    let edge = Edge::start(
        &one_route("servers: [$0], concurrency: {max: 1, queue_timeout: 200ms}"),
        &[&origin],
    );
    let mut running = edge.connect();
    running.send(get("/").wire());
    origin.await_requests(1);

    let started = Instant::now();
    get("/").send(&edge).expect_problem(503);
    assert!(
        started.elapsed() >= Duration::from_millis(190),
        "{:?}",
        started.elapsed()
    );
    post("/", "a body").send(&edge).expect_problem(503);
    gate.open();
    running.reply("GET").expect(200);
}

#[test]
fn probes_ask_as_they_are_told() {
    let words = Origin::start(|seen| match seen.path() {
        "/health" => Answer::chunked(&[], b"status: degraded"),
        _ => Answer::ok("words"),
    });
    let other = Origin::saying("other");
    let edge = Edge::start(
        &one_route("servers: [$0], health_check: {interval: 30ms, body: 'status: ok'}"),
        &[&words],
    );
    edge.await_state(words.address, "down");
    let why = edge.server(words.address)["why"].clone();
    assert_eq!(why, "the body has no `status: ok` in it");

    edge.reload(&one_route(
        "servers: [$0], health_check: {interval: 30ms, protocol: tcp}",
    ));
    edge.await_state(words.address, "up");
    drop(other);

    edge.reload(&one_route(
        "servers: [$0], health_check: {interval: 30ms, protocol: grpc}",
    ));
    edge.await_state(words.address, "down");
}

#[test]
fn a_websocket_is_counted_stays_and_outlives_silence_and_drain() {
    let echo = |name: &'static str| {
        Origin::start(move |seen| {
            match seen.field("upgrade") {
            Some(_) => Answer::raw(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            )
            .then(crate::harness::Step::Echo),
            None => Answer::ok(name),
        }
        })
    };
    let (one, two) = (echo("one"), echo("two"));
    let yaml = "
limits: {body_timeout: 200ms}
upstreams: {app: {servers: [$0, $1], timeouts: {read: 200ms, websocket: 60s}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let edge = Edge::start(yaml, &[&one, &two]);
    let mut socket = edge.connect();
    let upgrade = get("/")
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    upgrade.on(&mut socket).expect(101);
    let busy = if one.count() == 1 { &one } else { &two };

    let mut client = edge.connect();
    (0..10).for_each(|_| drop(get("/").on(&mut client).expect(200)));
    assert_eq!(busy.count(), 1, "it counts as a request in flight");

    // Longer than any other timeout here.
    assert!(
        !socket.has_answer_within(Duration::from_millis(700)),
        "it stays open"
    );
    let address = busy.address.to_string();
    assert!(edge.command(&["drain", "app", &address]).status.success());
    socket.send("still there?");
    assert_eq!(socket.read_exactly(12).expect("an echo"), b"still there?");
}

#[test]
fn a_sticky_client_of_a_drained_server_gets_another_and_keeps_it() {
    let origins = ["a", "b"].map(Origin::saying);
    let edge = Edge::start(
        &one_route("servers: [$0, $1], sticky: {cookie: stick}"),
        &[&origins[0], &origins[1]],
    );
    let cookie = |reply: &Reply| {
        let set = reply.the("set-cookie");
        set.split(';')
            .next()
            .expect("split gives one at least")
            .to_owned()
    };
    let first = get("/").send(&edge).expect(200);
    let home = origins.iter().find(|o| o.count() == 1).expect("one had it");
    assert!(
        edge.command(&["drain", "app", &home.address.to_string()])
            .status
            .success()
    );

    let moved = get("/")
        .with("cookie", cookie(&first))
        .send(&edge)
        .expect(200);

    assert_ne!(moved.text(), first.text());
    let again = get("/")
        .with("cookie", cookie(&moved))
        .send(&edge)
        .expect(200);
    assert_eq!(again.text(), moved.text());
    assert_eq!(again.field("set-cookie"), None);
}

#[test]
fn edges_with_one_key_file_honour_each_others_cookies() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let yaml = "
trusted_proxies: [127.0.0.0/8]
upstreams: {app: {servers: [$0, $1, $2], sticky: {cookie: stick, key_file: $dir/../lakh-sticky.key}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let key = std::env::temp_dir().join("lakh-sticky.key");
    std::fs::write(&key, [7; 32]).expect("the temporary folder takes files");
    let all = [&origins[0], &origins[1], &origins[2]];
    let (one, two) = (Edge::start(yaml, &all), Edge::start(yaml, &all));

    let first = get("/")
        .with("x-forwarded-proto", "https")
        .send(&one)
        .expect(200);

    let set = first.the("set-cookie");
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{set}");
    let cookie = set.split(';').next().expect("split gives one at least");
    for _ in 0..6 {
        let again = get("/").with("cookie", cookie).send(&two).expect(200);
        assert_eq!(again.text(), first.text());
    }
}

#[test]
fn a_client_that_is_gone_leaves_a_half_open_breaker_to_the_next() {
    let gate = Gate::default();
    let (held, ill) = (gate.clone(), Arc::new(AtomicBool::new(true)));
    let told = ill.clone();
    let origin = Origin::start(
        move |seen| match (seen.path(), told.load(Ordering::SeqCst)) {
            ("/slow", _) => Answer::ok("late").after(&held),
            (_, true) => Answer::of(503, &[], "ill"),
            (_, false) => Answer::ok("well"),
        },
    );
    let edge = Edge::start(
        &one_route(
            "servers: [$0], retry: {attempts: 1}, circuit_breaker: {failures: 1, open_for: 200ms}",
        ),
        &[&origin],
    );
    get("/").send(&edge).expect(503);
    ill.store(false, Ordering::SeqCst);
    let mut gone: Vec<Client> = Vec::new();
    eventually("the trial hangs", || {
        let mut client = edge.connect();
        client.send(get("/slow").wire());
        gone.push(client);
        origin.count() == 2
    });
    edge.await_state(origin.address, "half_open");
    get("/").send(&edge).expect_problem(503);

    drop(gone);
    gate.open();

    eventually("the next one decides", || {
        get("/").send(&edge).status == 200
    });
}

#[test]
fn a_name_that_is_not_found_does_not_stop_the_start_and_one_that_is_has_servers() {
    let origin = Origin::saying("found");
    let yaml = |name: &str| {
        let port = origin.address.port();
        one_route(&format!(
            "servers: [{{address: \"{name}:{port}\", resolve: 50ms}}]"
        ))
    };
    let edge = Edge::start(&yaml("no-such-name.invalid"), &[&origin]);
    get("/").send(&edge).expect_problem(503);
    assert!(edge.metric("lakh_upstream_lookups_failed_total") >= 1.0);

    edge.reload(&yaml("localhost"));

    assert_eq!(get("/").send(&edge).expect(200).text(), "found");
}

#[test]
fn servers_are_spoken_to_in_http2_where_that_is_said() {
    let origin = Origin::start(|seen| match seen.path() {
        "/cached" => Answer::of(200, &[("cache-control", "max-age=60")], "kept"),
        _ => Answer::chunked(&[("x-host", seen.the("host"))], &seen.body),
    });
    let behind = Edge::before(&origin);
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [\"{}\"], protocol: h2c, health_check: {{path: /healthz}}}}}}
caches: {{pages: {{memory: 1MiB}}}}
routes:
- {{name: cached, match: {{path: /cached}}, upstream: app, cache: {{in: pages}}}}
- {{name: all, match: {{path: /*}}, upstream: app}}
",
            behind.web
        ),
        &[],
    );

    let mut client = edge.connect();
    for _ in 0..3 {
        let reply = post("/", "a body").on(&mut client).expect(200);
        assert_eq!(
            (reply.text().as_str(), reply.the("x-host")),
            ("a body", "edge.test")
        );
        assert_eq!(get("/").on(&mut client).expect(200).text(), "");
    }
    assert_eq!(
        post("/", "in chunks")
            .chunked()
            .on(&mut client)
            .expect(200)
            .text(),
        "in chunks"
    );
    assert_eq!(get("/cached").on(&mut client).expect(200).text(), "kept");
    assert_eq!(
        get("/cached").on(&mut client).expect(200).cache_status(),
        "hit; ttl=60"
    );

    let log = behind.access_log(8);
    let spoken = log.iter().filter(|line| line["path"] != "/healthz");
    assert!(
        spoken.clone().all(|line| line["version"] == "HTTP/2"),
        "{log:?}"
    );
}
