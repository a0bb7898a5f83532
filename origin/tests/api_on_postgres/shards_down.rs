//! A shard that is stopped takes along what belongs to its devices, and nothing else.

use crate::devices::{Listener, SOCKET};
use crate::harness::{Origin, Reply};
use crate::postgres::Postgres;
use crate::shards::{ask, listed, sharded};
use serde_json::json;

#[test]
fn a_shard_that_is_down_fails_its_own_devices_alone_until_it_is_back() {
    let mut shard = Postgres::primary();
    let shards = [
        "..m=main".to_owned(),
        format!("m..={}", shard.url("postgres")),
    ];
    let origin = Origin::start_always_with(&sharded(&shards));
    let token = origin.register("ada@example.org");
    let other = origin.register("bob@example.org");
    let staff = origin.register_as("staff", "eve@example.org");
    let theirs = ask(&origin, &token, "scanner");
    let here = ask(&origin, &other, "kiosk");
    let state = |token: &str, path: &str| origin.get_as(token, path).json()["state"] == "done";
    origin.wait_until("both are answered", || {
        state(&token, &theirs) && state(&other, &here)
    });

    shard.stop();
    let down = |reply: Reply| {
        assert_eq!(reply.header("retry-after"), "1", "{}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json");
        reply.expect_status(503);
    };
    let nodes = "lakh_origin_database_nodes{role=\"primary\"} 1\n";
    origin.wait_until("it is missed", || {
        origin.get("/metrics").text().contains(nodes)
    });
    let text = json!({"text": "Who lends a ladder?"});
    for path in ["messages", "requests"] {
        let path = format!("/api/v1/devices/scanner/{path}");
        down(origin.post(&path, Some(&token), &text));
    }
    down(origin.get_as(&token, &theirs));
    down(origin.get_as(&token, "/api/v1/requests"));
    let listener = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let bearer = format!("Bearer {token}");
    let headers = [&listener[..], &[("authorization", bearer.as_str())]].concat();
    down(origin.call("GET", SOCKET, &headers, b""));

    // The others' devices go on, are told what is for all, and all else goes on.
    origin.get("/health").expect_status(200);
    let socket = "/api/v1/devices/kiosk/socket";
    let mut kiosk = Listener::open(&origin, &other, socket);
    kiosk.welcomed();
    let path = ask(&origin, &other, "kiosk");
    assert_eq!(kiosk.hear()["kind"], "response-ready");
    assert!(state(&other, &path));
    assert_eq!(listed(&origin, &other, 1).len(), 2);
    down(origin.post("/api/v1/broadcasts", Some(&staff), &text));
    assert_eq!(kiosk.hear()["body"]["text"], text["text"]);

    shard.start_again();
    origin.wait_until("it is back", || {
        origin.get_as(&token, &theirs).status == 200
    });
    let again = ask(&origin, &token, "scanner");
    origin.wait_until("it is answered", || state(&token, &again));
    assert_eq!(listed(&origin, &token, 1).len(), 2);
}

#[test]
fn a_shard_s_replica_is_read_while_its_primary_is_away_and_takes_its_place() {
    let mut primary = Postgres::primary();
    let replica = primary.replica();
    let [writes, reads] = [&primary, &replica].map(|node| node.url("postgres"));
    let with_replica = |range: &str| {
        let shards = ["..m=main".to_owned(), format!("m..={writes}")];
        let replica = ["--shard-replica".to_owned(), format!("{range}={reads}")];
        [sharded(&shards), replica.to_vec()].concat()
    };
    let origin = Origin::start_always_with(&with_replica("m.."));
    let known = |role: &str, count: u32| {
        let nodes = format!("lakh_origin_database_nodes{{role=\"{role}\"}} {count}\n");
        origin.wait_until(&nodes, || origin.get("/metrics").text().contains(&nodes));
    };
    known("replica", 1);
    let token = origin.register("ada@example.org");
    let asked = ask(&origin, &token, "scanner");
    let state = |path: &str| origin.get_as(&token, path).json()["state"] == "done";
    origin.wait_until("it is answered", || state(&asked));

    primary.stop();
    known("primary", 1);
    for _ in 0..10 {
        assert!(state(&asked));
        assert_eq!(listed(&origin, &token, 1).len(), 1);
    }
    let text = json!({"text": "Who lends a ladder?"});
    let path = "/api/v1/devices/scanner/requests";
    origin.post(path, Some(&token), &text).expect_status(503);

    replica.promote();
    known("primary", 2);
    let mut scanner = Listener::open(&origin, &token, &format!("{SOCKET}?after=0"));
    assert_eq!(scanner.welcomed()["gap"], false);
    assert_eq!(scanner.hear()["kind"], "response-ready");
    let next = ask(&origin, &token, "scanner");
    let ready = scanner.hear();
    assert_eq!(
        next,
        format!("/api/v1/requests/{}", ready["body"]["request"])
    );

    let wrong = Origin::start();
    let arguments = with_replica("n..");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let refused = wrong.refused_with(&arguments);
    assert!(refused.contains("with just the range `n..`"), "{refused}");
}
