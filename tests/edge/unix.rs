//! Unix sockets: clients come by one, and servers are reached at one.

use crate::harness::{Answer, Authority, Client, Edge, Origin, Trust, binary, eventually, get};
use crate::upgrade::upgraded;
use crate::websocket::Echo;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const LOCAL: &str = "
listeners:
  web: {address: $web}
  local: {address: \"unix:$dir/web.sock\"}
trusted_proxies: [127.0.0.1]
upstreams: {app: {servers: [$0]}}
routes:
- {name: denied, match: {path: /denied}, upstream: app, deny: [203.0.113.0/24]}
- {name: all, match: {path: /*}, upstream: app}
";

fn socket(edge: &Edge) -> PathBuf {
    edge.dir.join("web.sock")
}

/// All that is said to these bytes, until the edge ends.
fn said_to(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    let patience = Some(crate::harness::PATIENCE);
    stream
        .set_read_timeout(patience)
        .expect("a socket has options");
    stream.write_all(bytes).expect("it takes what is sent");
    let mut said = Vec::new();
    stream
        .read_to_end(&mut said)
        .expect("an answer, and an end");
    String::from_utf8(said).expect("text")
}

fn asking(target: &str) -> Vec<u8> {
    get(target).with("connection", "close").wire()
}

fn is_well(path: &Path) -> bool {
    said_to(path, &asking("/")).starts_with("HTTP/1.1 200 ")
}

/// One edge is the server of another, by a file between them.
fn chain(behind: &Edge) -> Edge {
    let yaml = format!(
        "
upstreams:
  app: {{servers: [\"unix:{}\"], health_check: {{interval: 20ms}}, retry: {{attempts: 1}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
        socket(behind).display()
    );
    Edge::start(&yaml, &[])
}

#[test]
fn requests_pass_from_file_to_file() {
    let origin = Origin::start(|seen| Answer::ok(format!("{} {}", seen.method, seen.body.len())));
    let behind = Edge::start(LOCAL, &[&origin]);
    let front = chain(&behind);
    let mut client = Client::connect_from([127, 0, 0, 9].into(), front.web);
    for _ in 0..3 {
        assert_eq!(get("/").on(&mut client).expect(200).text(), "GET 0");
    }
    let large = vec![b'a'; 300_000];
    let post = crate::harness::post("/", &large).on(&mut client);
    assert_eq!(post.expect(200).text(), "POST 300000");

    let first = &origin.seen()[0];
    assert_eq!(first.the("x-forwarded-for"), "127.0.0.9, 127.0.0.1");
    eventually("the edge in front is believed", || {
        let lines = behind.stdout();
        let mut lines = lines.lines().filter(|line| line.contains("\"path\":\"/\""));
        lines.any(|line| line.contains("\"client\":\"127.0.0.9\""))
    });
    let server = format!("unix:{}", socket(&behind).display());
    let asked = front.access_log(4);
    assert!(
        asked.iter().all(|line| line["server"] == server),
        "{asked:?}"
    );
    // Connections are kept as those of TCP are.
    assert!(
        asked[1..3].iter().all(|line| line["connect_ms"].is_null()),
        "{asked:?}"
    );
    let up = format!("lakh_upstream_up{{server=\"{server}\"}}");
    front.await_metric(&up, 1.0);
    let explained = front.command(&["explain", "GET", "http://edge.test/"]);
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains(&server), "{explained}");
}

/// From file to file inside TLS; a WebSocket too.
#[test]
fn tls_and_websockets_pass_through_files() {
    let (origin, echo, authority) = (Origin::saying("inside"), Echo::start(), Authority::new());
    let pair = "{cert_file: $dir/site.pem, key_file: $dir/site.key}";
    let yaml = format!(
        "
listeners:
  web: {{address: $web}}
  local: {{address: \"unix:$dir/web.sock\", tls: {{certificates: [{pair}]}}}}
upstreams: {{app: {{servers: [$0]}}, echo: {{servers: [{}]}}}}
routes:
- {{name: plain, match: {{path: /plain}}, upstream: app}}
- {{name: all, match: {{path: /*}}, upstream: echo}}
",
        echo.address
    );
    let files = |dir: &Path| authority.sign("app.internal").write(dir, "site");
    let behind = Edge::start_with(&yaml, &[&origin], files);
    let secure = format!(
        "
upstreams:
  app: {{servers: [\"unix:{}\"], tls: {{server_name: app.internal, ca_file: $dir/ca.pem}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
        socket(&behind).display()
    );
    let front = Edge::start_with(&secure, &[], |dir| authority.write(dir));

    assert_eq!(get("/plain").send(&front).expect(200).text(), "inside");
    let posted = crate::harness::post("/plain", "text").send(&front);
    assert_eq!(posted.expect(200).text(), "inside");
    let mut socket = echo.open(&front).expect("open");
    echo.says(&mut socket, "hello");
    echo.says(&mut socket, &"more of it".repeat(10_000));
    let lines = behind.access_log(2);
    assert!(
        lines.iter().all(|line| line["sni"] == "app.internal"),
        "{lines:?}"
    );

    let mut tls = Trust::of(&authority).begin("app.internal");
    let mut stream = UnixStream::connect(self::socket(&behind)).expect("somebody listens");
    stream
        .set_read_timeout(Some(crate::harness::PATIENCE))
        .expect("a socket has options");
    let mut tls = rustls::Stream::new(&mut tls, &mut stream);
    tls.write_all(&asking("/plain"))
        .expect("it takes what is sent");
    let mut said = String::new();
    tls.read_to_string(&mut said)
        .expect("an answer, and an end");
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.ends_with("inside"),
        "{said}"
    );
}

#[test]
fn a_server_behind_a_file_is_probed_drained_and_missed() {
    let origin = Origin::saying("hello");
    let mut behind = Edge::start(LOCAL, &[&origin]);
    let front = chain(&behind);
    let server = format!("unix:{}", socket(&behind).display());
    let state = |edge: &Edge| {
        let page = edge.admin("/api/v1/upstreams").expect("an answer").json();
        page["upstreams"][0]["servers"][0]["state"].clone()
    };
    let drained = front.command(&["drain", "app", &server]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(state(&front), "draining");
    get("/").send(&front).expect_problem(503);
    assert!(front.command(&["undrain", "app", &server]).status.success());
    get("/").send(&front).expect(200);

    behind.sigterm();
    assert_eq!(behind.await_exit().code(), Some(0));
    assert!(!socket(&behind).exists(), "it takes its file along");
    eventually("it is down", || state(&front) == "down");
    get("/").send(&front).expect_problem(502);
}

#[test]
fn who_comes_by_the_file_counts_as_this_machine() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(LOCAL, &[&origin]);
    let path = socket(&edge);
    assert!(is_well(&path));
    let forwarded = get("/denied")
        .with("connection", "close")
        .with("x-forwarded-for", "203.0.113.7");
    let refused = said_to(&path, &forwarded.wire());
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let clients: Vec<_> = edge
        .access_log(2)
        .iter()
        .map(|line| line["client"].clone())
        .collect();
    assert_eq!(clients, ["127.0.0.1", "203.0.113.7"]);
    // Nothing of it is TCP's, and what is not HTTP is told so.
    assert!(said_to(&path, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));

    let proxied = LOCAL.replace("web.sock\"", "web.sock\", proxy_protocol: true");
    edge.reload(&proxied);
    let header = b"PROXY TCP4 203.0.113.8 10.0.0.1 4660 80\r\n";
    let refused = said_to(&path, &[&header[..], &asking("/denied")].concat());
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert_eq!(
        said_to(&path, &asking("/")),
        "",
        "it does not say who is behind it"
    );
}

#[test]
fn a_file_is_made_for_whom_it_is_for_and_goes_with_its_listener() {
    let origin = Origin::saying("hello");
    // Left by somebody who was killed.
    let leave = |dir: &Path| drop(UnixListener::bind(dir.join("web.sock")).expect("a path"));
    let edge = Edge::start_with(LOCAL, &[&origin], leave);
    let path = socket(&edge);
    assert!(is_well(&path));
    let mode = || fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o660);

    edge.reload(&LOCAL.replace("web.sock\"", "web.sock\", socket_mode: \"0600\""));
    assert_eq!(mode(), 0o600);
    assert!(is_well(&path));

    // Somebody listens, so nobody else may.
    let second = LOCAL.replace("$dir/web.sock", &path.display().to_string());
    let mut other = Edge::launch(&second, &[&origin]);
    assert_eq!(other.await_exit().code(), Some(1));
    eventually("it says why", || other.stderr().contains("in use"));
    assert!(is_well(&path));

    let without = LOCAL
        .replace("  local:", "  another:")
        .replace("web.sock", "other.sock");
    edge.reload(&without);
    eventually("its file is gone", || !path.exists());
    assert!(is_well(&edge.dir.join("other.sock")));
    fs::write(&path, "a letter").expect("written");
    edge.reload_refused(LOCAL);
    eventually("it says why", || edge.stderr().contains("no socket"));
    assert_eq!(fs::read_to_string(&path).expect("still there"), "a letter");
    assert!(is_well(&edge.dir.join("other.sock")));
}

/// Root gives it to anybody; whoever else runs this keeps it.
#[test]
fn a_file_belongs_to_whom_it_is_given() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(LOCAL, &[&origin]);
    let path = socket(&edge);
    let whose = || {
        fs::metadata(&path)
            .map(|file| (file.uid(), file.gid()))
            .expect("a file")
    };
    let made = whose();
    let (owner, group) = match made {
        (0, _) => (65_534, 65_533),
        made => made,
    };
    let given = |owner: &str, group: &str| {
        let keys = format!("web.sock\", socket_owner: {owner}, socket_group: {group}");
        LOCAL.replace("web.sock\"", &keys)
    };
    edge.reload(&given(&format!("\"{owner}\""), &format!("\"{group}\"")));
    assert_eq!(whose(), (owner, group));
    assert!(is_well(&path));
    edge.reload(LOCAL);
    assert_eq!(whose(), made);

    let mut other = Edge::launch(&given("nobody-knows-them", "root"), &[&origin]);
    assert_eq!(other.await_exit().code(), Some(1));
    eventually("it says why", || {
        other
            .stderr()
            .contains("there is no user `nobody-knows-them` on this machine")
    });
}

#[test]
fn an_upgrade_leaves_the_file_where_it_is() {
    let origin = Origin::saying("hello");
    let mut edge = Edge::start(LOCAL, &[&origin]);
    let path = socket(&edge);
    let before = fs::metadata(&path).expect("a file").ino();
    let pid = upgraded(&mut edge);
    assert_eq!(edge.await_end().code(), Some(0));
    assert_eq!(fs::metadata(&path).expect("a file").ino(), before);
    assert!(is_well(&path));
    let pid = i32::try_from(pid).expect("a process id");
    // SAFETY: kill takes numbers only, and the process is one that our edge started.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    eventually("the one that took over takes it along", || !path.exists());
}

/// As systemd does for a socket unit: the file is systemd's.
#[test]
fn a_file_that_somebody_else_made_is_left_to_them() {
    let origin = Origin::saying("hello");
    let folder = crate::harness::Folder::new();
    let path = folder.path().join("web.sock");
    let listener = UnixListener::bind(&path).expect("a path");
    let file = folder.path().join("lakh.yaml");
    let yaml = format!(
        "listeners: {{web: {{address: \"unix:{}\"}}}}\nadmin: {{address: \"{}\"}}\n\
         upstreams: {{app: {{servers: [\"{}\"]}}}}\n\
         routes: [{{name: all, match: {{path: /*}}, upstream: app}}]\n",
        path.display(),
        crate::harness::free_address(),
        origin.address
    );
    fs::write(&file, yaml).expect("written");
    let mut edge = std::process::Command::new("sh")
        .args(["-c", r#"exec "$0" run --config "$1" 3<&0 </dev/null"#])
        .arg(binary())
        .arg(&file)
        .env("LISTEN_FDS", "1")
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("sh");
    assert!(is_well(&path), "it waits in the queue until then");
    let pid = i32::try_from(edge.id()).expect("a process id");
    // SAFETY: kill takes numbers only; it is our child, and not yet waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    assert!(edge.wait().expect("it ends").success());
    assert!(fs::metadata(&path).expect("a file").file_type().is_socket());
}
