//! What operators do beside the traffic: reload by the API, look at the edge, ask for its health.

use crate::harness::{
    Answer, Client, Edge, Origin, Reply, binary, eventually, free_address, get, order_to, post,
};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

const BEFORE: &str = "
upstreams:
  app: {servers: [$0], timeouts: {read: 30s}}
routes:
- {name: all, match: {path: /*}, upstream: app}
- {name: gone, match: {path: /gone/*}, upstream: app, request_headers: {set: {authorization: Bearer abc}}}
";

const AFTER: &str = "
upstreams:
  app: {servers: [$0], timeouts: {read: 5s}}
routes:
- {name: all, match: {path: /*}, upstream: app}
- {name: new, match: {path: /new/*}, upstream: app, maintenance: true}
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn order(edge: &Edge, target: &str) -> Reply {
    order_to(target, "{}").on(&mut Client::connect(edge.admin))
}

#[test]
fn a_reload_says_what_it_changes_and_a_dry_run_changes_nothing() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    edge.write_config(AFTER);
    let expected = [
        "~ upstreams.app.timeouts.read: 30s → 5s",
        "- routes.gone",
        "+ routes.new ",
    ];
    let output = edge.command(&["reload", "--dry-run"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(expected.iter().all(|line| said.contains(line)), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    let dry_run = order_to("/api/v1/reload", r#"{"dry_run": true}"#);
    let reply = dry_run.on(&mut Client::connect(edge.admin)).expect(200);
    assert!(reply.text().contains("routes.new"), "{}", reply.text());
    get("/new/1").send(&edge).expect(200);
    assert_eq!(edge.metric("lakh_config_loads_total"), 1.0);

    let output = edge.command(&["reload"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(expected.iter().all(|line| said.contains(line)), "{said}");
    get("/new/1").send(&edge).expect(503);
    assert_eq!(edge.metric("lakh_config_loads_total"), 2.0);
    let said = text(&edge.command(&["reload"]).stdout);
    assert!(said.starts_with("no change"), "{said}");
    eventually("who did it is in the log", || {
        let log = edge.stderr();
        log.contains("order of an operator") && log.contains("/api/v1/reload")
    });
}

#[test]
fn a_dry_run_finds_what_only_binding_would() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let free = free_address();
    let with_listener = |address: SocketAddr| {
        edge.write_config(&format!(
            "listeners: {{web: {{address: $web}}, more: {{address: '{address}'}}}}\n{BEFORE}"
        ));
    };
    let address = taken.local_addr().expect("bound");
    with_listener(address);
    let problem = order(&edge, "/api/v1/validate").expect(422).json();
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(&address.to_string()), "{detail}");
    with_listener(free);
    order(&edge, "/api/v1/validate").expect(200);
    assert!(
        TcpStream::connect(free).is_err(),
        "nothing listens there for a look"
    );
}

#[test]
fn a_bad_file_is_refused_with_its_mistakes() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    edge.write_config("upstreams: {app: {servers: [$0]}}\nroutes: 5\n");
    for target in ["/api/v1/validate", "/api/v1/reload"] {
        let problem = order(&edge, target).expect(422).json();
        assert_eq!(problem["type"], "urn:lakh:problem:configuration-refused");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("routes must be a list"), "{detail}");
    }
    let output = edge.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("routes must be a list"),
        "{output:?}"
    );
    assert_eq!(
        edge.metric("lakh_config_load_failures_total"),
        2.0,
        "the first look was not asked to do it"
    );
    let status = edge.admin("/api/v1/status").expect("a page").json();
    let error = status["config"]["error"].as_str().expect("an error");
    assert!(error.contains("routes must be a list"), "{error}");
    get("/1").send(&edge).expect(200);
}

#[test]
fn the_edge_says_how_it_is_and_by_what_it_serves() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let status = edge
        .admin("/api/v1/status")
        .expect("a page")
        .expect(200)
        .json();
    assert_eq!(
        (&status["ready"], &status["routes"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        status["upstreams"],
        json!([{"name": "app", "servers": 1, "up": 1}])
    );
    assert_eq!(status["listeners"][0]["address"], edge.web.to_string());
    assert_eq!(status["config"]["error"], Value::Null);
    let config = edge.admin("/api/v1/config").expect("a page").expect(200);
    assert!(!config.text().contains("Bearer abc"), "{}", config.text());
    let config = config.json();
    assert_eq!(config["upstreams"]["app"]["timeouts"]["read"], "30s");
    assert_eq!(
        config["routes"][1]["request_headers"]["set"]["authorization"],
        "***"
    );
    let output = edge.command(&["status"]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["ready"], true);
}

#[test]
fn whoever_asks_in_the_wrong_way_gets_a_problem() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let send =
        |ask: crate::harness::Ask| ask.host("localhost").on(&mut Client::connect(edge.admin));
    let json = |ask: crate::harness::Ask| ask.with("content-type", "application/json");
    for (reply, status, slug) in [
        (send(get("/api/v1/none")), 404, "no-such-page"),
        (send(json(post("/api/v1/none", "{}"))), 404, "no-such-page"),
        (send(crate::harness::ask("DELETE", "/purge")), 405, "method"),
        (send(post("/api/v1/reload", "{}")), 415, "not-json"),
        (send(json(post("/drain", "{}"))), 400, "order-refused"),
        (
            send(json(post("/purge", "{\"url\": 5}"))),
            400,
            "order-refused",
        ),
        (send(get("/api/v1/cache/top?limit=0")), 400, "order-refused"),
    ] {
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(
            reply.field("content-type"),
            Some("application/problem+json")
        );
        let problem = reply.json();
        assert_eq!(problem["type"], format!("urn:lakh:problem:{slug}"));
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
}

#[test]
fn whose_order_is_refused_learns_what_would_be_taken() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    for (target, order, says) in [
        (
            "/api/v1/servers/drain",
            "{}",
            r#"Write it like {"upstream": "app""#,
        ),
        ("/drain", "", "GET /api/v1/openapi.json shows each order"),
        (
            "/api/v1/servers/drain",
            r#"{"upstream": "ap", "server": "127.0.0.1:1"}"#,
            "no upstream is named `ap`; there are app",
        ),
        (
            "/api/v1/servers/drain",
            r#"{"upstream": "app", "server": "127.0.0.1:1"}"#,
            "no server is named `127.0.0.1:1`; there are 127.0.0.1:",
        ),
        (
            "/api/v1/bans/lift",
            r#"{"address": "203.0.113.7"}"#,
            "GET /api/v1/bans says who is",
        ),
        ("/api/v1/cache/purge", "{}", "write one of `url`"),
        (
            "/api/v1/reload",
            r#"{"dryrun": true}"#,
            r#"Write it like {"dry_run": false}"#,
        ),
        (
            "/api/v1/validate",
            r#"{"file": "x"}"#,
            "unknown field `file`",
        ),
        ("/api/v1/upgrade", r#"{"dry_run": true}"#, "unknown field"),
        (
            "/api/v1/bans/add",
            r#"{"address": "203.0.113.7", "seconds": 0}"#,
            "from 1 to",
        ),
    ] {
        let refusal = order_to(target, order).on(&mut Client::connect(edge.admin));
        assert_eq!(refusal.status, 400, "{target}");
        let detail = refusal.json()["detail"].to_string().replace("\\\"", "\"");
        assert!(detail.contains(says), "{target}: {detail}");
    }
}

#[test]
fn health_is_an_exit_code() {
    let origin = Origin::saying("hello");
    let mut edge = Edge::start(BEFORE, &[&origin]);
    let admin = edge.admin.to_string();
    let check = |edge: &Edge, more: &[&str]| {
        edge.command(&[&["healthcheck"][..], more].concat())
            .status
            .code()
    };
    assert_eq!(check(&edge, &[]), Some(0));
    assert_eq!(check(&edge, &["--live"]), Some(0));
    edge.write_config("routes: [\n");
    assert_eq!(
        check(&edge, &[]),
        Some(0),
        "it serves all the same, where the file still says"
    );
    assert_eq!(check(&edge, &["--admin", &admin]), Some(0));
    edge.sigterm();
    edge.await_exit();
    assert_eq!(check(&edge, &["--admin", &admin]), Some(1));
}

/// Neither a damaged file nor a variable that only the edge has keeps operators from their edge.
#[test]
fn verbs_need_no_more_of_a_file_than_where_the_edge_is() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let server = origin.address.to_string();
    let verbs: [&[&str]; 7] = [
        &["healthcheck"],
        &["status"],
        &["bans"],
        &["drain", "app", &server],
        &["undrain", "app", &server],
        &["top", "--once"],
        &["explain", "GET", "http://shop.example/1"],
    ];
    for damage in [
        "routes: [\n",
        "routes: ${NOT_SET_IN_THIS_SHELL}\n",
        "routes: 5\n",
    ] {
        edge.write_config(damage);
        for verb in verbs {
            let output = edge.command(verb);
            assert!(output.status.success(), "{damage} {verb:?} {output:?}");
        }
    }
}

#[test]
fn where_the_edge_is_may_stand_in_an_included_file() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let main = edge.dir.join("lakh.yaml");
    let write =
        |name: &str, text: &str| std::fs::write(edge.dir.join(name), text).expect("written");
    write(
        "admin.yaml",
        &format!("admin: {{address: '{}'}}\n", edge.admin),
    );
    write("broken.yaml", "routes: [\n");
    std::fs::write(&main, "include: [broken.yaml, admin.yaml]\nroutes: ]\n").expect("written");
    let output = edge.command(&["status"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn who_does_not_find_the_edge_learns_how_to() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let file = edge.dir.join("lakh.yaml");
    let moved = free_address();
    let refused = |config: &str, says: &[&str]| {
        std::fs::write(&file, config).expect("written");
        let output = edge.command(&["reload"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{config}: {output:?}");
        assert!(
            says.iter().all(|part| said.contains(part)),
            "{config}: {said}"
        );
    };
    let admin = "admin: {address: \"${ADMIN_NOT_SET}\"}\n";
    refused(
        admin,
        &[
            "admin.address",
            "ADMIN_NOT_SET is not set",
            "--admin IP:PORT",
        ],
    );
    refused(
        "admin: {address: 9900}\n",
        &["lakh.yaml:1: admin.address", "127.0.0.1:9900"],
    );
    refused("admin: {address: [\n", &["lakh.yaml:1", "--admin IP:PORT"]);
    let tells = format!("admin: {{address: '{moved}'}}\n");
    refused(
        &tells,
        &[
            &moved.to_string(),
            "does not answer",
            "--admin IP:PORT",
            "SIGHUP",
        ],
    );
    std::fs::remove_file(&file).expect("it is there");
    let output = edge.command(&["status"]);
    assert!(
        text(&output.stderr).contains("cannot be read"),
        "{output:?}"
    );
    let output = edge.command(&["status", "--admin", &edge.admin.to_string()]);
    assert!(output.status.success(), "{output:?}");
}

/// The file says the new address, the edge listens at the old one.
#[test]
fn the_admin_listener_moves_by_an_order() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(BEFORE, &[&origin]);
    let moved = free_address();
    let config = BEFORE.replace("$0", &origin.address.to_string());
    let config = format!(
        "listeners: {{web: {{address: '{}'}}}}\nadmin: {{address: '{moved}'}}\n{config}",
        edge.web
    );
    std::fs::write(edge.dir.join("lakh.yaml"), config).expect("written");
    let output = edge.command(&["reload", "--admin", &edge.admin.to_string()]);
    assert!(output.status.success(), "{output:?}");
    let output = edge.command(&["status"]);
    assert!(output.status.success(), "{output:?}");
}

/// From nothing at all to a proxy.
#[test]
fn a_proxy_needs_no_file() {
    let origin = Origin::saying("hello");
    proxies_to(&origin.address.to_string());
}

#[test]
fn a_proxy_reaches_a_server_by_its_socket() {
    let origin = Origin::saying("hello");
    let by_file = "
listeners: {web: {address: $web}, local: {address: \"unix:$dir/web.sock\"}}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let behind = Edge::start(by_file, &[&origin]);
    proxies_to(&format!("unix:{}/web.sock", behind.dir.display()));
}

fn proxies_to(server: &str) {
    let (web, admin) = (free_address(), free_address());
    let mut child = Command::new(binary())
        .args(["proxy", "--to", server])
        .args(["--listen", &web.to_string(), "--admin", &admin.to_string()])
        .env("LAKH_LOG", "error")
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary is there");
    eventually("it serves", || {
        let client = Client::try_connect(web, std::time::Duration::from_secs(1));
        client.is_ok_and(|mut client| {
            get("/1")
                .try_on(&mut client)
                .is_ok_and(|reply| reply.text() == "hello")
        })
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn what_only_prints_something_needs_neither_a_file_nor_an_edge() {
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(std::env::temp_dir());
        command.output().expect("the binary is there")
    };
    let version = run(&["version"]);
    assert!(text(&version.stdout).starts_with("lakh "), "{version:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]).stdout);
        assert!(script.contains("explain"), "{shell}: {script}");
    }
    let schema: Value = serde_json::from_slice(&run(&["schema"]).stdout).expect("JSON");
    let upstreams = &schema["properties"]["upstreams"]["anyOf"][0]["additionalProperties"];
    let retry = &upstreams["anyOf"][0]["properties"]["retry"];
    assert!(retry["description"].is_string(), "{upstreams:#}");
    let wrong = run(&["proxy", "--to", "3000"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("127.0.0.1:3000"), "{wrong:?}");
}

#[test]
fn who_reads_no_more_of_what_is_printed_is_no_failure() {
    let mut command = Command::new(binary());
    let mut child = command
        .arg("schema")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn every_page_that_is_listed_is_there() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let list = edge.admin("/api/v1").expect("an answer").expect(200).text();
    let document = edge.admin("/api/v1/openapi.json").expect("an answer");
    let document = document.expect(200).json();
    let paths = document["paths"].as_object().expect("pages");
    // `upgrade.rs` tries that: another process would serve here.
    let others = paths.iter().filter(|(path, _)| *path != "/api/v1/upgrade");
    for (path, methods) in others {
        assert!(list.contains(&format!(" {path}")), "{path} in {list}");
        let methods = methods.as_object().expect("methods");
        for (method, operation) in methods {
            let status = match method.as_str() {
                "get" => edge.admin(&asked(path)).expect("an answer").status,
                _ => {
                    let body = &operation["requestBody"]["content"]["application/json"]["example"];
                    order_to(path, body.to_string())
                        .on(&mut Client::connect(edge.admin))
                        .status
                }
            };
            // Examples name what is not there; a page that is not there is a 404 or a 405.
            assert!(status == 200 || status == 400, "{method} {path}: {status}");
        }
    }
    assert!(paths.len() > 20);
    edge.admin("/api/v2").expect("an answer").expect(404);
}

fn asked(path: &str) -> String {
    match path {
        "/api/v1/cache/lookup" => format!("{path}?url=http%3A%2F%2Fh%2Fa"),
        _ => path.to_owned(),
    }
}

#[test]
fn what_is_stored_of_a_url_is_what_its_purge_takes_back() {
    let origin = Origin::start(|_| {
        let head = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        Answer::of(200, &head, "hello")
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
",
        &[&origin],
    );
    for (path, language) in [("/a?x=1", "de"), ("/a?x=1", "en"), ("/a?x=2", "de")] {
        let ask = get(path).with("accept-language", language);
        eventually("it is stored", || ask.send(&edge).is_hit());
    }
    let stored = || {
        let url = "/api/v1/cache/lookup?url=http%3A%2F%2Fedge.test%2Fa%3Fx%3D1";
        let found = edge.admin(url).expect("an answer").expect(200).json();
        found["objects"].as_array().expect("objects").len()
    };
    assert_eq!(stored(), 2);
    let zone = &edge.admin("/api/v1/cache").expect("an answer").json()["caches"][0];
    assert_eq!(
        (&zone["name"], &zone["misses"]),
        (&"pages".into(), &3.into())
    );
    edge.purge("{\"url\": \"http://edge.test/a?x=1\"}");
    assert_eq!(stored(), 0);
}

#[test]
fn who_is_refused_and_what_fails_is_told() {
    let origin = Origin::start(|_| Answer::of(503, &[], "no"));
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits: {few: {key: client_address, rate: 1/h, burst: 1}}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [few]}]
",
        &[&origin],
    );
    for _ in 0..3 {
        get("/a").from("127.0.0.9").send(&edge);
    }
    get("/a").from("127.0.0.8").send(&edge);
    let json = |path: &str| edge.admin(path).expect("an answer").expect(200).json();
    eventually("the failures are told", || {
        json("/api/v1/errors")["items"].as_array().map(Vec::len) == Some(2)
    });
    assert_eq!(json("/api/v1/errors")["items"][0]["status"], 503);
    let limits = json("/api/v1/limits");
    assert_eq!(
        limits["most_limited"],
        serde_json::json!([{"address": "127.0.0.9", "refused": 2, "by": "few"}])
    );
    assert_eq!(
        (
            &limits["limits"][0]["allowed"],
            &limits["limits"][0]["refused"]
        ),
        (&2.into(), &2.into())
    );
    // Requests are told to who looks, from when they look on.
    let next = json("/api/v1/requests")["next"].clone();
    get("/b").from("127.0.0.7").send(&edge);
    eventually("the request is told", || {
        let told = json(&format!("/api/v1/requests?after={next}"));
        told["items"][0]["path"] == "/b"
    });
    edge.admin("/api/v1/requests?after=x")
        .expect("an answer")
        .expect(400);
}

#[test]
fn top_shows_what_happens() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let asking = std::sync::atomic::AtomicBool::new(true);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while asking.load(std::sync::atomic::Ordering::SeqCst) {
                get("/looked-at").send(&edge).expect(200);
            }
        });
        let mut top = Command::new(binary());
        top.args(["top", "--config"])
            .arg(edge.dir.join("lakh.yaml"));
        let said = top.output().expect("lakh runs");
        asking.store(false, std::sync::atomic::Ordering::SeqCst);
        String::from_utf8(said.stdout).expect("text")
    });
    assert!(
        said.contains("ready, up") && !said.contains("\n0 requests/s"),
        "{said}"
    );
    for part in [
        "ROUTE",
        "SERVER",
        "SLOWEST",
        "/looked-at",
        &origin.address.to_string(),
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn files_are_put_in_order_or_named() {
    let folder = crate::harness::Folder::new();
    let file = folder.path().join("lakh.yaml");
    let wild = "routes:\n    -   name: all # all\n\n\n\nlimits: {}\n";
    std::fs::write(&file, wild).expect("written");
    let fmt = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        let out = command
            .arg("fmt")
            .args(arguments)
            .arg(&file)
            .output()
            .expect("lakh runs");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let text = || std::fs::read_to_string(&file).expect("the file");
    let named = format!("{}\n", file.display());
    assert_eq!(fmt(&["--check"]), (false, named.clone()));
    assert_eq!(text(), wild);
    assert_eq!(fmt(&[]), (true, named));
    assert_eq!(text(), "routes:\n  - name: all # all\n\nlimits: {}\n");
    assert_eq!(fmt(&["--check"]), (true, String::new()));
    std::fs::write(&file, "routes: [\n").expect("written");
    assert!(!fmt(&[]).0);
    assert_eq!(text(), "routes: [\n");
}
