//! Many who ask for the same at the same time.

use crate::harness::{Answer, Client, Edge, Gate, Origin, Step, at_once, eventually, get, noise};

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 8MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

const MANY: usize = 100;
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

/// A client whose request the edge has, and which waits for the answer.
fn asking(edge: &Edge, target: &str) -> Client {
    let before = edge.metric("lakh_in_flight");
    let mut client = edge.connect();
    client.send(get(target).wire());
    eventually("the edge has the request", || {
        edge.metric("lakh_in_flight") > before
    });
    client
}

#[test]
fn a_hundred_misses_at_once_are_one_fetch() {
    let body = noise(500_000, 21);
    let (gate, sent) = (Gate::default(), body.clone());
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::of(200, &[MINUTE], &sent).after(&held));
    let edge = Edge::start(CACHED, &[&origin]);

    let replies = std::thread::scope(|scope| {
        let asked = scope.spawn(|| at_once(MANY, |_| get("/same").send(&edge)));
        eventually("all of them wait", || {
            edge.metric("lakh_in_flight") >= MANY as f64
        });
        gate.open();
        asked.join().expect("no thread panics")
    });

    assert_eq!(origin.count(), 1);
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 200 && reply.body == body),
        "all have it whole"
    );
    let collapsed = replies
        .iter()
        .filter(|reply| reply.cache_status().contains("collapsed"))
        .count();
    assert_eq!(collapsed, MANY - 1);
    assert_eq!(
        edge.metric(r#"lakh_cache_requests_total{status="collapsed"}"#),
        99.0
    );
    assert!(get("/same").send(&edge).is_hit());
}

#[test]
fn misses_at_once_on_a_quick_origin_are_one_fetch_too() {
    let origin = Origin::start(|seen| Answer::of(200, &[MINUTE], &seen.target));
    let edge = Edge::start(CACHED, &[&origin]);

    for round in 0..10 {
        let target = format!("/{round}");
        let replies = at_once(20, |_| get(&target).send(&edge).expect(200).text());
        assert!(replies.iter().all(|text| *text == target), "{replies:?}");
    }
    assert_eq!(origin.count(), 10);
}

#[test]
fn who_waits_gets_the_first_bytes_before_the_last_are_sent() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let first =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 9\r\n\r\nfirst";
        Answer::raw(first)
            .then(Step::Wait(held.clone()))
            .then_send("last")
    });
    let edge = Edge::start(CACHED, &[&origin]);

    let mut clients = [asking(&edge, "/"), asking(&edge, "/"), asking(&edge, "/")];
    for client in &mut clients {
        client.read_head().expect("the head");
        assert_eq!(client.read_exactly(5).expect("the first bytes"), b"first");
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_exactly(4).expect("the last bytes"), b"last");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn who_comes_late_gets_the_beginning_too() {
    let gate = Gate::default();
    let held = gate.clone();
    let body = noise(2 << 20, 22);
    let (start, rest) = (body[..1 << 20].to_vec(), body[1 << 20..].to_vec());
    let origin = Origin::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: {}\r\n\r\n",
            2 << 20
        );
        Answer::raw(head)
            .then_send(&start)
            .then(Step::Wait(held.clone()))
            .then_send(&rest)
    });
    let edge = Edge::start(CACHED, &[&origin]);

    let mut first = asking(&edge, "/");
    first.read_head().expect("the head");
    let mut early = first.read_exactly(1 << 20).expect("the first half");
    let mut late = asking(&edge, "/");
    late.read_head().expect("the head");
    let half = late.read_exactly(1 << 20).expect("the first half");
    gate.open();

    early.extend(first.read_exactly(1 << 20).expect("the second half"));
    assert!(early == body && half == body[..1 << 20], "bodies differ");
    assert!(
        late.read_exactly(1 << 20).expect("the second half") == body[1 << 20..],
        "bodies differ"
    );
    assert_eq!(origin.count(), 1);
}

#[test]
fn who_asks_for_something_fresher_does_not_join_what_has_come() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let first = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nage: 20\r\n\
                     content-length: 9\r\n\r\nfirst";
        Answer::raw(first)
            .then(Step::Wait(held.clone()))
            .then_send("last")
    });
    let edge = Edge::start(CACHED, &[&origin]);
    let ask = |said: &str| {
        let mut client = edge.connect();
        client.send(get("/").with("cache-control", said).wire());
        client
            .read_head()
            .expect("the head")
            .cache_status()
            .to_owned()
    };

    let mut first = asking(&edge, "/");
    first.read_head().expect("the head");
    for (said, joins) in [
        ("max-age=30", true),
        ("max-age=10", false),
        ("min-fresh=10", true),
        ("min-fresh=50", false),
        ("no-cache", false),
    ] {
        let status = ask(said);
        assert_eq!(status.contains("collapsed"), joins, "{said}: {status}");
    }
    gate.open();
    assert_eq!(origin.count(), 4);
}

#[test]
fn a_slow_client_does_not_hold_the_others() {
    let body = noise(6 << 20, 23);
    let sent = body.clone();
    let origin = Origin::start(move |_| Answer::of(200, &[MINUTE], &sent));
    let edge = Edge::start(CACHED, &[&origin]);

    // It never reads, and leads the fill.
    let stuck = asking(&edge, "/");
    let replies = at_once(4, |_| get("/").send(&edge).expect(200).body);

    assert!(replies.iter().all(|reply| *reply == body), "bodies differ");
    assert_eq!(origin.count(), 1);
    drop(stuck);
}

#[test]
fn all_who_wait_learn_that_it_failed() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/500" => Answer::of(500, &[], "failed").after(&held),
        "/breaks-off" => Answer::raw(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 9\r\n\r\nhalf",
        )
        .after(&held)
        .then(Step::Close),
        _ => Answer::hang_up().after(&held),
    });
    let edge = Edge::start(
        &CACHED.replace("servers: [$0]", "servers: [$0], retry: {attempts: 1}"),
        &[&origin],
    );

    let paths = ["/500", "/breaks-off", "/hangs-up"];
    let mut clients: Vec<_> = paths
        .iter()
        .flat_map(|path| [path; 5])
        .map(|path| (path, asking(&edge, path)))
        .collect();
    gate.open();

    for (path, client) in &mut clients {
        let answered = client.try_reply("GET");
        match **path {
            "/500" => assert_eq!(
                answered.expect("the origin's answer").expect(500).text(),
                "failed"
            ),
            "/breaks-off" => assert!(answered.is_err(), "{answered:?}"),
            _ => drop(answered.expect("an answer").expect_problem(502)),
        }
    }
    assert_eq!(edge.metric("lakh_cache_objects"), 0.0);
}

#[test]
fn what_is_for_one_alone_is_not_shared_with_those_who_wait() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| {
        let cookie = seen.field("cookie").unwrap_or("none").to_owned();
        let answer = Answer::of(
            200,
            &[("cache-control", "private"), ("set-cookie", "a=1")],
            cookie,
        );
        answer.after(&held)
    });
    let edge = Edge::start(CACHED, &[&origin]);

    let replies = std::thread::scope(|scope| {
        let ask = |i: usize| get("/me").with("cookie", format!("user={i}")).send(&edge);
        let asked = scope.spawn(move || at_once(10, ask));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 10.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.expect(200).text(), format!("user={i}"));
    }
    assert_eq!(origin.count(), 10);
}

#[test]
fn variants_asked_for_at_once_are_not_mixed_up() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| {
        let language = seen.the("accept-language").to_owned();
        Answer::of(200, &[MINUTE, ("vary", "accept-language")], language).after(&held)
    });
    let edge = Edge::start(CACHED, &[&origin]);
    let languages = ["de", "en", "hi", "ta"];

    let replies = std::thread::scope(|scope| {
        let ask = |i: usize| {
            get("/")
                .with("accept-language", languages[i % 4])
                .send(&edge)
        };
        let asked = scope.spawn(move || at_once(20, ask));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 20.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.expect(200).text(), languages[i % 4]);
    }
}
