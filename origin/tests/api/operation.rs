//! What those see who run it: health, numbers, names of requests, the document.

use crate::harness::{Origin, PATIENCE, Starting};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

#[test]
fn a_request_has_a_name_which_its_answer_and_its_problem_carry() {
    let origin = Origin::start();
    let named = origin.call("GET", "/nowhere", &[("x-request-id", "abc-1")], b"");
    assert_eq!(named.header("x-request-id"), "abc-1");
    assert_eq!(
        named.expect_status(404).json()["instance"],
        "urn:request:abc-1"
    );

    let forged = origin.call("GET", "/health", &[("x-request-id", "a b\"c")], b"");
    let made = forged.header("x-request-id").to_owned();
    assert_eq!((made.len(), made.contains(' ')), (16, false));
}

#[test]
fn numbers_are_for_who_asks_directly_and_name_routes_only() {
    let origin = Origin::start();
    origin.get("/ready").expect_status(200);
    origin.get("/api/v1/listings/123456").expect_status(404);
    origin.get("/some/secret/path").expect_status(404);
    let metrics = origin.get("/metrics").expect_status(200).text();
    let counted = "lakh_origin_request_seconds_count{method=\"GET\",\
                   route=\"/api/v1/listings/{id}\",status=\"404\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("lakh_origin_uploads{state=\"running\"} 0"));
    assert!(metrics.contains("lakh_origin_database_connections{pool=\"write\",state=\"idle\"}"));
    assert!(!metrics.contains("123456") && !metrics.contains("secret"));

    let through_an_edge = [("x-forwarded-for", "192.0.2.1")];
    origin
        .call("GET", "/metrics", &through_an_edge, b"")
        .expect_status(404);
    origin
        .call("GET", "/health", &through_an_edge, b"")
        .expect_status(200);
}

#[test]
fn the_document_is_served_and_can_be_tried_on_a_page() {
    let origin = Origin::start();
    let document = origin.get("/api/v1/openapi.json").expect_status(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = origin.get("/api/v1/docs").expect_status(200);
    assert!(page.text().contains("docs.js"));
    assert!(
        page.header("content-security-policy")
            .contains("script-src 'self'")
    );
    origin.get("/api/v1/docs.js").expect_status(200);
}

#[test]
fn names_that_are_no_text_are_nothing_s() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    for path in [
        "/photos/%ff.jpg",
        "/api/v1/photos/%ff",
        "/api/v1/photos/%ff/events",
        "/api/v1/devices/%ff/socket",
    ] {
        let none = origin.get_as(&token, path).expect_status(404);
        assert_eq!(
            none.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
    for path in ["/api/v1/devices/%ff/messages", "/sandbox/payments/%ff"] {
        let none = origin.post(path, Some(&token), &json!({"text": "x"}));
        assert_eq!(
            none.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
    let bearer = format!("Bearer {token}");
    let none = origin.call(
        "PUT",
        "/api/v1/files/%ff/chunks/1",
        &[("authorization", &bearer)],
        b"",
    );
    none.expect_status(404);
}

#[test]
fn who_waits_for_its_database_says_why_and_stops_when_it_is_asked_to() {
    // Where nobody listens.
    let nowhere = "postgres://postgres@127.0.0.1:1/postgres";
    let backup: &[&str] = &["backup", "never-made"];
    for (arguments, signal, code, last) in [
        (&[][..], "TERM", 0, "stopped"),
        (&[], "INT", 0, "stopped"),
        (backup, "TERM", 1, "failed"),
    ] {
        let mut starting = Starting::at(nowhere, arguments);
        let why = starting.log.next().expect("a line");
        assert_eq!(why["event"], "database_node", "{why}");
        assert!(why["reason"].to_string().contains("refused"), "{why}");
        assert_eq!(starting.stop(signal), Some(code));
        let end = starting.log.by_ref().last().expect("a line");
        assert_eq!(end["event"], last, "{end}");
        assert!(!end.to_string().contains("no database node"), "{end}");
    }

    // And who waits until another one has started.
    let origin = Origin::start();
    let turn = File::create(origin.data().join("start.lock")).expect("the folder is ours");
    turn.lock().expect("nobody starts");
    let mut starting = origin.start_unawaited();
    origin.wait_until("it takes signals", || starting.takes_signals());
    assert_eq!(starting.stop("TERM"), Some(0));
}

fn slow(origin: &Origin, sent: &str) -> TcpStream {
    let mut slow = TcpStream::connect(origin.address()).expect("it listens");
    slow.set_read_timeout(Some(PATIENCE)).expect("a socket");
    slow.write_all(sent.as_bytes()).expect("it takes that");
    slow
}

#[test]
fn who_sends_slowly_takes_nobody_s_place_and_is_told_so() {
    let origin = Origin::start();
    let half = "POST /api/v1/register HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    // More than there are places for.
    let slow: Vec<_> = (0..520).map(|_| slow(&origin, half)).collect();
    origin.get("/api/v1/listings").expect_status(200);
    origin.register("ada@example.org");
    let mut answer = [0; 12];
    for mut slow in slow.into_iter().take(3) {
        slow.read_exact(&mut answer).expect("it is answered");
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
}

#[test]
fn a_form_has_a_short_time() {
    let origin = Origin::start();
    let half = "POST /lend HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n\
                content-length: 1000\r\n\r\n\
                --b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nLadder";
    let mut answer = [0; 12];
    let mut slow = slow(&origin, half);
    slow.read_exact(&mut answer).expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

/// A model's service that answers nobody until it is told to.
struct Model {
    url: String,
    asked: Receiver<()>,
    answer: Sender<()>,
}

impl Model {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
        let (ask, asked) = channel();
        let (answer, answered) = channel();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                ask.send(()).expect("the test goes on");
                answered.recv().expect("the test goes on");
                // A client that is gone needs no answer.
                let _ = say(
                    connection,
                    r#"{"choices": [{"message": {"content": "A ladder."}}]}"#,
                );
            }
        });
        Self { url, asked, answer }
    }
}

fn say(mut connection: TcpStream, body: &str) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    write!(
        connection,
        "{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    connection.shutdown(Shutdown::Write)?;
    // Closing with what it has sent unread would reset what it has not read yet.
    connection.read_to_end(&mut Vec::new()).map(drop)
}

#[test]
fn a_job_that_runs_when_the_process_is_to_end_is_finished_first() {
    let model = Model::start();
    let mut origin = Origin::start_with(&["--processor", &model.url]);
    let token = origin.register("ada@example.org");
    let question = json!({"text": "What reaches a roof?"});
    let path = "/api/v1/devices/scanner/requests";
    let asked = origin
        .post(path, Some(&token), &question)
        .expect_status(202);
    let request = asked.header("location").to_owned();
    model.asked.recv_timeout(PATIENCE).expect("a worker asks");

    origin.signal("TERM");
    origin.wait_until("it takes nobody in", || {
        TcpStream::connect(origin.address()).is_err()
    });
    model.answer.send(()).expect("it waits for this");
    assert_eq!(origin.ended(), Some(0));

    origin.start_again();
    let shown = origin.get_as(&token, &request).expect_status(200).json();
    assert_eq!(shown["answer"], "A ladder.");
    assert!(model.asked.try_recv().is_err(), "it was asked twice");
}

#[test]
fn finished_jobs_go_after_their_time_with_their_requests_all_else_and_dead_ones_stay() {
    let origin = Origin::start_with(&["--keep-jobs", "1"]);
    let staff = origin.register_as("staff", "ada@example.org");
    let thing =
        json!({"title": "Kayak", "text": "x", "category": "c", "price_cents": 1, "place": "x"});
    let listing = origin.lend(&staff, &thing);
    let broken = b"\xff\xd8\xff and nothing more";
    let broken = origin
        .upload(&listing, &staff, "image/jpeg", broken)
        .expect_status(201);
    let export = json!({"about": "bookings"});
    let export = origin
        .post("/api/v1/exports", Some(&staff), &export)
        .expect_status(202);
    let text = json!({"text": "Who lends a ladder?"});
    let request = origin.post("/api/v1/devices/kiosk/requests", Some(&staff), &text);
    let request = request.expect_status(202);

    let counts = |line: &str| {
        let metrics = origin.get("/metrics").text();
        metrics.lines().any(|one| one == line)
    };
    origin.wait_until("both finished ones are gone", || {
        counts("lakh_origin_jobs_forgotten_total 2")
    });
    let state = |path: &str| origin.get_as(&staff, path).expect_status(200).json()["state"].clone();
    assert_eq!(state(export.header("location")), "done");
    origin.wait_until("the request is gone", || {
        let asked = origin.get_as(&staff, request.header("location"));
        asked.status == 404
    });
    let csv = format!("{}/csv", export.header("location"));
    origin.get_as(&staff, &csv).expect_status(200);
    assert_eq!(state(broken.header("location")), "dead");
    let dead = origin
        .get_as(&staff, "/api/v1/jobs/dead")
        .expect_status(200)
        .json();
    assert_eq!(dead["items"].as_array().map(Vec::len), Some(1), "{dead}");
    assert!(counts("lakh_origin_jobs{state=\"dead\"} 1"));
}

#[test]
fn what_one_has_already_is_not_sent_again_also_of_what_is_for_one_alone() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let bearer = format!("Bearer {token}");
    for path in ["/api/v1/me", "/api/v1/bookings", "/api/v1/listings"] {
        let ask = |field: &str, etag: &str| {
            let headers = [("authorization", bearer.as_str()), (field, etag)];
            origin.call("GET", path, &headers, b"")
        };
        let shown = origin.get_as(&token, path).expect_status(200);
        let etag = shown.header("etag");
        let same = ask("if-none-match", etag).expect_status(304);
        assert_eq!((same.header("etag"), same.body.len()), (etag, 0));
        assert_eq!(same.header("cache-control"), shown.header("cache-control"));
        ask("if-none-match", "\"other\"").expect_status(200);
        ask("if-match", etag).expect_status(200);
        ask("if-match", "\"other\"").expect_status(412);
    }
}

#[test]
fn names_with_a_nul_name_nothing() {
    let origin = Origin::start();
    let paid = json!({"outcome": "paid"});
    let reply = origin.post("/sandbox/payments/a%00b", None, &paid);
    reply.expect_status(404);
    origin.get("/api/v1/photos/a%00b.jpg").expect_status(404);
}

#[test]
fn who_counts_at_the_same_time_counts_the_same() {
    let origin = Origin::start();
    let lines = [
        "lakh_origin_jobs{state=\"dead\"} 0\n",
        "lakh_origin_jobs{state=\"waiting\"} 0\n",
        "lakh_origin_database_nodes{role=\"known\"} 1\n",
    ];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let text = origin.get("/metrics").text();
                    assert!(lines.iter().all(|line| text.contains(line)), "{text}");
                }
            });
        }
    });
}
