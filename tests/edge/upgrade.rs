//! A new process takes over, and nobody notices.

use crate::harness::{Answer, Client, Edge, Gate, Origin, binary, eventually, get};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

const APP: &str = "
process: {drain: 10s}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

fn origin() -> Origin {
    Origin::start(|seen| match seen.path().starts_with("/kept") {
        true => Answer::of(200, &[("cache-control", "max-age=60")], "kept"),
        false => Answer::of(200, &[("cache-control", "no-store")], "hello"),
    })
}

fn upgrade(edge: &Edge) -> Output {
    let mut command = Command::new(binary());
    command
        .args(["upgrade", "--config"])
        .arg(edge.dir.join("lakh.yaml"));
    command.output().expect("lakh runs")
}

/// The id of the process that serves then.
#[track_caller]
pub fn upgraded(edge: &mut Edge) -> u32 {
    let done = upgrade(edge);
    let (said, why) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{why}");
    let pid = said.split(' ').nth(1).and_then(|pid| pid.parse().ok());
    let pid = pid.unwrap_or_else(|| panic!("no process in {said}"));
    edge.is_succeeded_by(pid);
    pid
}

#[test]
fn under_load_no_request_fails() {
    let origin = origin();
    let mut edge = Edge::start(APP, &[&origin]);
    let (web, over, answered) = (edge.web, AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let mut client = Client::connect(web);
                while !over.load(SeqCst) {
                    let path = ["/kept/1", "/passed"][n % 2];
                    let reply = get(path).on(&mut client).expect(200);
                    if reply.field("connection") == Some("close") {
                        client = Client::connect(web);
                    }
                    answered.fetch_add(1, SeqCst);
                }
            });
        }
        let pid = upgraded(&mut edge);
        assert_eq!(edge.await_end().code(), Some(0));
        assert_ne!(pid, edge.pid);
        let before = answered.load(SeqCst);
        eventually("the new process answers", || {
            answered.load(SeqCst) > before + 100
        });
        over.store(true, SeqCst);
    });
    assert_eq!(edge.metric("lakh_config_loads_total"), 1.0);
    // And once more: what took over hands over too.
    let first = edge.admin("/api/v1/status").expect("an answer").json();
    upgraded(&mut edge);
    eventually("the third process answers", || {
        let status = edge.admin("/api/v1/status").map(|reply| reply.json());
        status.is_some_and(|status| {
            status["uptime_seconds"].as_u64() <= first["uptime_seconds"].as_u64()
        })
    });
    get("/passed").send(&edge).expect(200);
}

#[test]
fn what_is_being_answered_is_finished_by_the_one_before() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/slow" => Answer::ok("finished").after(&held),
        _ => Answer::ok("hello"),
    });
    let mut edge = Edge::start(APP, &[&origin]);
    let mut client = edge.connect();
    client.send(get("/slow").wire());
    origin.await_requests(1);
    upgraded(&mut edge);
    get("/").send(&edge).expect(200);
    gate.open();
    assert_eq!(client.reply("GET").expect(200).text(), "finished");
    assert_eq!(edge.await_end().code(), Some(0));
}

/// Who is drained by hand is drained for something, as to be worked on.
#[test]
fn what_was_ordered_by_hand_is_handed_over() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let yaml = "
process: {drain: 10s}
upstreams: {app: {servers: [$0, $1]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let mut edge = Edge::start(yaml, &[&one, &two]);
    let (drained, weighed) = (one.address.to_string(), two.address.to_string());
    for order in [
        ["drain", "app", &drained].as_slice(),
        &["weight", "app", &weighed, "5"],
        &["ban", "127.0.0.9", "--for", "1h"],
    ] {
        let output = edge.command(order);
        assert!(output.status.success(), "{output:?}");
    }
    for _ in 0..2 {
        // What took over hands over too.
        upgraded(&mut edge);
        edge.await_state(one.address, "draining");
        let server = edge.server(two.address);
        assert_eq!(
            (&server["state"], &server["weight_by_hand"]),
            (&"up".into(), &5.into())
        );
        assert_eq!(server["weight_in_force"], 5.0);
        let asked = one.count();
        for _ in 0..10 {
            assert_eq!(get("/").send(&edge).expect(200).text(), "two");
        }
        assert_eq!(one.count(), asked);
        let bans = edge.command(&["bans"]);
        let bans = String::from_utf8_lossy(&bans.stdout);
        assert!(bans.contains("127.0.0.9"), "{bans}");
    }
    let output = edge.command(&["undrain", "app", &drained]);
    assert!(output.status.success(), "{output:?}");
    upgraded(&mut edge);
    edge.await_state(one.address, "up");
    assert_eq!(edge.server(two.address)["weight_by_hand"], 5);
}

#[test]
fn who_cannot_start_takes_nothing_over() {
    let origin = origin();
    let edge = Edge::start(APP, &[&origin]);
    let file = edge.dir.join("lakh.yaml");
    let good = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, good.replace("upstream: app", "upstream: none")).expect("written");
    // The command reads where the admin listener is from the same file.
    let mut client = Client::connect(edge.admin);
    let order = crate::harness::order_to("/api/v1/upgrade", "{}");
    let refused = order.on(&mut client).expect(503);
    let why = refused.json()["detail"].to_string();
    assert!(why.contains("has ended before it served"), "{why}");
    get("/").send(&edge).expect(200);
    assert!(edge.stderr().contains("this process goes on"));

    let supervised = Edge::start(
        "
upstreams: {app: {spawn: {command: [$lakh_origin, --no-demo], instances: 1, first_port: $ports}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[],
    );
    let refused = upgrade(&supervised);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("spawn"), "{why}");
}

/// As systemd does for a socket unit.
#[test]
fn a_socket_that_is_open_already_is_used() {
    let origin = origin();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let web = socket.local_addr().expect("an address");
    let waiting = std::net::TcpStream::connect(web).expect("it waits in the queue");
    let admin = crate::harness::free_address();
    let folder = crate::harness::Folder::new();
    let file = folder.path().join("lakh.yaml");
    let yaml = format!(
        "listeners: {{web: {{address: \"{web}\"}}}}\nadmin: {{address: \"{admin}\"}}\n{}",
        APP.replace("$0", &origin.address.to_string())
    );
    std::fs::write(&file, yaml).expect("written");
    // It comes to the shell as standard input, and is passed on as descriptor 3.
    let mut edge = Command::new("sh")
        .args(["-c", r#"exec "$0" run --config "$1" 3<&0 </dev/null"#])
        .arg(binary())
        .arg(&file)
        .env("LISTEN_FDS", "1")
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("sh");
    let mut client = Client::new(waiting);
    get("/passed").on(&mut client).expect(200);
    edge.kill().expect("it runs");
    edge.wait().expect("it has ended");
}
