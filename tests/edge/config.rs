//! The file: what is told about a bad one, and what a new one changes.

use crate::harness::{Answer, Edge, Gate, Origin, Step, eventually, free_address, get, lakh};

const GOOD: &str = "listeners: {web: {address: 127.0.0.1:8080}}
upstreams: {app: {servers: [127.0.0.1:9001]}}
routes:
- {name: all, match: {path: /*}, upstream: app}
";

const SERVING: &str = "
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

fn check(yaml: &str) -> (Option<i32>, String, String) {
    let (output, _) = lakh("check", yaml);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_good_file_is_ok() {
    let (code, stdout, stderr) = check(GOOD);

    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("ok"), "{stdout}");
}

#[test]
fn each_mistake_has_its_place_and_says_what_to_write() {
    for (wrong, place, words) in [
        (
            "listeners: {web: {adress: 127.0.0.1:8080}}",
            "lakh.yaml:1:19",
            "`adress`",
        ),
        ("upstream: {}", "lakh.yaml:1:1", "`upstream`"),
        ("process: {drain: 30}", "lakh.yaml:1:18", "30s"),
        ("limits: {body_size: 5mb}", "lakh.yaml:1:21", "5MiB"),
        ("limits: {header_timeout: -1s}", "lakh.yaml:1:26", "-1s"),
        ("process: {threads: many}", "lakh.yaml:1:20", "many"),
        ("access_log: {sample: 10}", "lakh.yaml:1:22", "10%"),
        (
            "rate_limits: {a: {key: route, rate: 100, burst: 1}}",
            "lakh.yaml:1:37",
            "100/s",
        ),
    ] {
        let (code, _, stderr) = check(&format!("{wrong}\n{GOOD}"));
        assert_eq!(code, Some(1), "{wrong}");
        assert!(stderr.contains(&format!("{place}: ")), "{wrong}: {stderr}");
        assert!(stderr.contains(words), "{wrong}: {stderr}");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    for (route, place, words) in [
        (
            "- {name: x, match: {path: /x}, upstream: ap}",
            "lakh.yaml:5:42",
            "`app`",
        ),
        (
            "- {name: x, match: {path: /x}, upstream: app, rate_limits: [none]}",
            "lakh.yaml:5:61",
            "`none`",
        ),
        (
            "- {name: x, match: {path: /x}, upstream: app, cache: {in: none}}",
            "lakh.yaml:5:59",
            "`none`",
        ),
        (
            "- {name: all, match: {path: /x}, upstream: app}",
            "lakh.yaml:5:10",
            "`all`",
        ),
    ] {
        let (code, _, stderr) = check(&format!("{GOOD}{route}\n"));
        assert_eq!(code, Some(1), "{route}");
        assert!(stderr.contains(&format!("{place}: ")), "{route}: {stderr}");
        assert!(stderr.contains(words), "{route}: {stderr}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let (code, stdout, stderr) = check(
        "listeners: {web: {address: 127.0.0.1:8080, htpp2: true}}
limits: {body_size: 10}
upstreams: {app: {servers: [127.0.0.1:9001], timeouts: {connect: 1}}}
routes:
- {name: all, match: {path: /*}, upstream: other}
",
    );

    assert_eq!((code, &*stdout), (Some(1), ""));
    for line in 1..=5 {
        let told = stderr.contains(&format!("lakh.yaml:{line}:"));
        assert_eq!(told, line != 4, "line {line}: {stderr}");
    }
}

#[test]
fn what_is_not_yaml_has_its_place_too() {
    let (code, _, stderr) = check(&format!("{GOOD}routes: [\n"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("lakh.yaml:"), "{stderr}");

    let (code, _, stderr) = check("");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("lakh.yaml"), "{stderr}");
}

#[test]
fn run_refuses_a_bad_file_as_check_does() {
    let (output, took) = lakh("run", &GOOD.replace("name: all", "nam: all"));

    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("lakh.yaml:4:4"), "{stderr}");
    assert!(took.as_secs() < 2, "{took:?}");
}

#[test]
fn a_reload_puts_a_new_route_in_force() {
    let origin = Origin::start(|seen| Answer::ok(&seen.target));
    let edge = Edge::start(&SERVING.replace("/*", "/old/*"), &[&origin]);
    let mut client = edge.connect();
    get("/old/1").on(&mut client).expect(200);
    get("/new/1").on(&mut client).expect(404);

    edge.reload(&SERVING.replace("/*", "/new/*"));

    get("/new/1").on(&mut client).expect(200);
    get("/old/1").on(&mut client).expect(404);
    assert_eq!(edge.metric("lakh_config_stale"), 0.0);
}

#[test]
fn a_reload_with_a_broken_file_keeps_serving_and_tells() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(SERVING, &[&origin]);

    edge.reload_refused(&SERVING.replace("upstream: app", "upstream: apq"));

    get("/").send(&edge).expect(200);
    assert!(edge.is_ready());
    assert_eq!(edge.metric("lakh_config_stale"), 1.0);
    assert_eq!(edge.metric("lakh_config_load_failures_total"), 1.0);
    eventually("the error is on stderr", || {
        let stderr = edge.stderr();
        stderr.contains("lakh.yaml:") && stderr.contains("`apq`")
    });

    edge.reload_refused("routes: [");
    edge.reload_refused("");
    get("/").send(&edge).expect(200);

    edge.reload(SERVING);
    assert_eq!(edge.metric("lakh_config_stale"), 0.0);
    get("/").send(&edge).expect(200);
}

#[test]
fn a_reload_that_needs_a_busy_address_is_refused_whole() {
    let origin = Origin::saying("hello");
    let busy = Origin::saying("busy");
    let edge = Edge::start(SERVING, &[&origin, &busy]);

    edge.reload_refused(&format!(
        "listeners: {{web: {{address: $web}}, second: {{address: $1}}}}\n{}",
        SERVING.replace("/*", "/new/*")
    ));

    get("/old").send(&edge).expect(200);
    eventually("the address is named", || {
        edge.stderr().contains(&busy.address.to_string())
    });
}

#[test]
fn a_reload_opens_and_closes_listeners() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(SERVING, &[&origin]);
    let second = free_address();

    edge.reload(&format!(
        "listeners: {{web: {{address: $web}}, second: {{address: \"{second}\"}}}}\n{SERVING}"
    ));
    get("/")
        .on(&mut crate::harness::Client::connect(second))
        .expect(200);

    edge.reload(SERVING);
    eventually("it is closed", || {
        std::net::TcpStream::connect(second).is_err()
    });
    get("/").send(&edge).expect(200);
}

#[test]
fn a_request_sees_the_configuration_that_it_began_under() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let marked = |value: &str| {
        let set = format!("upstream: app, response_headers: {{set: {{x-config: {value}}}}}");
        SERVING.replace("upstream: app", &set)
    };
    let edge = Edge::start(&marked("one"), &[&origin]);
    let mut client = edge.connect();
    client.send(get("/").wire());
    origin.await_requests(1);

    edge.reload(&marked("two"));
    gate.open();

    assert_eq!(client.reply("GET").expect(200).the("x-config"), "one");
    assert_eq!(get("/").on(&mut client).expect(200).the("x-config"), "two");
}

#[test]
fn a_tunnel_survives_a_reload() {
    let origin = Origin::start(|_| {
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        Answer::raw(switch).then(Step::Echo)
    });
    let edge = Edge::start(SERVING, &[&origin]);
    let mut client = edge.connect();
    get("/")
        .with("connection", "upgrade")
        .with("upgrade", "websocket")
        .on(&mut client)
        .expect(101);

    edge.reload(&SERVING.replace("/*", "/else"));

    client.send("still there?");
    assert_eq!(client.read_exactly(12).expect("an echo"), b"still there?");
}

#[test]
fn reloads_under_traffic_fail_no_request() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(SERVING, &[&origin]);

    std::thread::scope(|scope| {
        let (done, edge) = (Gate::default(), &edge);
        let ask = |done: Gate| {
            let mut client = edge.connect();
            let mut asked = 0;
            while !done.is_open() {
                get("/").on(&mut client).expect(200);
                get("/").send(edge).expect(200);
                asked += 2;
            }
            asked
        };
        let asking: Vec<_> = [(); 3]
            .map(|()| done.clone())
            .into_iter()
            .map(|d| scope.spawn(move || ask(d)))
            .collect();
        for n in 0..10 {
            edge.reload(&format!("{SERVING}limits: {{body_size: {}MiB}}\n", n + 1));
        }
        done.open();
        for asked in asking {
            assert!(asked.join().expect("no request failed") > 10);
        }
    });
}

#[test]
fn a_changed_file_is_read_where_that_is_wanted_and_so_is_one_that_it_includes() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let yaml = "
reload_on_change: true
include: [more/*.yaml]
upstreams: {first: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: first}]
";
    let edge = Edge::start(yaml, &[&first]);
    assert_eq!(get("/new").send(&edge).text(), "first");
    let more = edge.dir.join("more");
    std::fs::create_dir(&more).expect("a folder");
    let part = format!(
        "upstreams: {{second: {{servers: [\"{}\"]}}}}\n\
         routes: [{{name: new, match: {{path: /new}}, upstream: second}}]\n",
        second.address
    );
    std::fs::write(more.join("second.yaml"), &part).expect("written");
    eventually("a file that is there now is read", || {
        get("/new").send(&edge).text() == "second"
    });
    // What can't be used changes nothing, and is told.
    std::fs::write(more.join("third.yaml"), part).expect("written");
    edge.await_metric("lakh_config_stale", 1.0);
    let status = edge.admin("/api/v1/status").expect("an answer").json();
    let why = status["config"]["error"].to_string();
    assert!(
        why.contains("third.yaml:1") && why.contains("second.yaml:1"),
        "{why}"
    );
    assert_eq!(get("/new").send(&edge).text(), "second");
    std::fs::remove_file(more.join("third.yaml")).expect("removed");
    edge.await_metric("lakh_config_stale", 0.0);
}
