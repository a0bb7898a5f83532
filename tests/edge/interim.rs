//! Answers before the answer over HTTP/2 and HTTP/3: RFC 9110 §15.2, RFC 8297.

use crate::harness::{
    Answer, Ask, Authority, Edge, Gate, Http2, Http3, Origin, Step, Trust, ask, get, post,
};
use std::path::Path;
use std::process::Command;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello";

const YAML: &str = "
listeners:
  web: {address: $web, http3: true, tls: {certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]}}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 10MiB}}
routes:
  - {name: stored, match: {path: /stored/*}, upstream: app, cache: {in: pages}}
  - {name: all, match: {path: /*}, upstream: app}
";

/// Its answers come after hints, and once the gate of this number is open.
fn hinting(gates: &[Gate]) -> Origin {
    let gates = gates.to_vec();
    Origin::start(move |seen| {
        let number = seen.path().rsplit('/').next().and_then(|n| n.parse().ok());
        let gate: &Gate = &gates[number.unwrap_or(0_usize)];
        Answer::raw(HINTS)
            .then(Step::Wait(gate.clone()))
            .then_send(ANSWER)
    })
}

fn start(origin: &Origin, authority: &Authority) -> Edge {
    let files = |dir: &Path| authority.sign("edge.test").write(dir, "site");
    Edge::start_with(YAML, &[origin], files)
}

/// On every way through the edge: through the cache, as it comes, and through Pingora's proxy.
fn ways(first: usize) -> [Ask; 3] {
    [
        get(&format!("/stored/{first}")),
        get(&format!("/plain/{}", first + 1)),
        post(&format!("/plain/{}", first + 2), "text"),
    ]
}

#[test]
fn early_hints_come_before_the_answer_is_there() {
    let gates: Vec<_> = (0..6).map(|_| Gate::default()).collect();
    let authority = Authority::new();
    let origin = hinting(&gates);
    let edge = start(&origin, &authority);
    let trust = Trust::of(&authority);

    let http2 = Http2::connect_tls(edge.web, &trust, "edge.test");
    for (number, ask) in ways(0).iter().enumerate() {
        let mut asked = match ask.body.is_empty() {
            true => http2.ask(ask),
            false => http2.begin(ask),
        };
        if !ask.body.is_empty() {
            asked
                .send(&ask.body)
                .and_then(|()| asked.end())
                .expect("it is taken");
        }
        let hints = asked.interim().expect("a stream").expect("hints");
        assert_eq!(
            (hints.status, hints.the("link")),
            (103, "</a.css>; rel=preload")
        );
        assert_eq!(hints.field("connection"), None);
        gates[number].open();
        assert!(asked.interim().expect("a stream").is_none());
        let reply = asked.head().expect("an answer").expect(200);
        assert_eq!(reply.field("link"), None);
        assert_eq!(asked.part().expect("whole").expect("a body"), "hello");
    }

    let mut http3 = Http3::connect(edge.web, &trust, "edge.test");
    for (number, ask) in ways(3).iter().enumerate() {
        let mut asked = http3.begin(ask);
        asked
            .send(&ask.body)
            .and_then(|()| asked.finish())
            .expect("it is taken");
        let hints = asked.head().expect("hints").expect(103);
        assert_eq!(hints.the("link"), "</a.css>; rel=preload");
        gates[3 + number].open();
        assert_eq!(
            asked.reply().expect("an answer").expect(200).text(),
            "hello"
        );
    }
}

#[test]
fn a_client_over_http_2_that_waits_is_told_to_send_its_body() {
    let origin = Origin::start(|seen| Answer::ok(&seen.body));
    let edge = Edge::before(&origin);
    let http2 = Http2::connect(edge.web);

    let asking = ask("POST", "/")
        .with("content-length", 5)
        .with("expect", "100-continue");
    let mut asked = http2.begin(&asking);
    let told = asked
        .interim()
        .expect("a stream")
        .expect("an answer to the head");
    assert_eq!(told.status, 100);
    asked
        .send(b"hello")
        .and_then(|()| asked.end())
        .expect("it is taken");
    assert!(asked.interim().expect("a stream").is_none());
    asked.head().expect("an answer").expect(200);
    assert_eq!(asked.part().expect("whole").expect("a body"), "hello");
}

/// What a server over HTTP/2 says before its answer is not heard, so nobody may wait for that.
#[test]
fn nobody_waits_for_what_a_server_over_http_2_says() {
    let origin = Origin::start(|seen| Answer::ok(&seen.body));
    let behind = Edge::before(&origin);
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [{}], protocol: h2c}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
            behind.web
        ),
        &[],
    );

    let head =
        "POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = edge.connect();
    client.send(head);
    assert_eq!(
        client.read_head().expect("an answer to the head").status,
        100
    );
    client.send("hello");
    assert_eq!(client.reply("POST").expect(200).text(), "hello");

    let http2 = Http2::connect(edge.web);
    let asking = ask("POST", "/")
        .with("content-length", 5)
        .with("expect", "100-continue");
    let mut asked = http2.begin(&asking);
    assert_eq!(
        asked.interim().expect("a stream").map(|told| told.status),
        Some(100)
    );
    asked
        .send(b"hello")
        .and_then(|()| asked.end())
        .expect("it is taken");
    asked.head().expect("an answer").expect(200);
    assert_eq!(asked.part().expect("whole").expect("a body"), "hello");
}

/// RFC 9110 §10.1.1: who is refused is spared the body.
#[test]
fn a_body_that_is_not_wanted_is_not_asked_for() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let http2 = Http2::connect(edge.web);

    let asking = ask("POST", "/")
        .with("content-length", 1_u64 << 40)
        .with("expect", "100-continue");
    let mut asked = http2.begin(&asking);
    assert!(asked.interim().expect("a stream").is_none());
    asked.head().expect("an answer").expect(413);
    assert_eq!(origin.count(), 0);
}

/// It would wait for a minute before it sends what was not asked for.
#[test]
fn curl_waits_for_100_and_shows_hints() {
    let origin = Origin::start(|seen| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            seen.body.len()
        );
        Answer::raw(HINTS).then_send(head).then_send(&seen.body)
    });
    let edge = Edge::before(&origin);
    let asked = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--include",
            "--http2-prior-knowledge",
        ])
        .args([
            "--header",
            "Expect: 100-continue",
            "--expect100-timeout",
            "60",
        ])
        .args(["--max-time", "45", "--data-binary", "hello"])
        .arg(format!("http://{}/", edge.web))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&asked.stdout);
    assert!(
        asked.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&asked.stderr)
    );
    let statuses: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("HTTP/2 "))
        .collect();
    assert_eq!(statuses.len(), 3, "{text}");
    assert!(
        statuses[0].contains("100") && statuses[1].contains("103") && statuses[2].contains("200"),
        "{text}"
    );
    assert!(text.ends_with("hello"), "{text}");
}
