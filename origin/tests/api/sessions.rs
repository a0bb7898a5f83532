//! Sessions in Redis: the same walks as with those in the database.

use crate::harness::{Origin, Redis, Wire};
use crate::people::{give_roles, login, refresh, sign_out, text};
use serde_json::json;
use std::fs;

fn on(redis: &Redis) -> Origin {
    at(&redis.url())
}

fn at(redis: &str) -> Origin {
    let arguments = ["--sessions", "redis", "--redis", redis];
    Origin::start_always_with(&arguments.map(str::to_owned))
}

#[test]
fn people_go_in_and_out_as_with_sessions_in_the_database() {
    let redis = Redis::start();
    refresh(&on(&redis));
    // Sessions belong to people by number, which each database gives anew.
    let redis = Redis::start();
    sign_out(&on(&redis));
    let redis = Redis::start();
    give_roles(&on(&redis));
}

#[test]
fn a_crowd_of_sessions_loses_the_oldest() {
    let redis = Redis::start();
    let origin = on(&redis);
    let first = origin.register("ada@example.org");
    let token = || text(&login(&origin, "ada@example.org", "correct horse").json()["token"]);
    let tokens: Vec<String> = (0..50).map(|_| token()).collect();
    origin.get_as(&first, "/api/v1/me").expect_status(401);
    origin.get_as(&tokens[0], "/api/v1/me").expect_status(200);
    let sessions = origin
        .get_as(&tokens[49], "/api/v1/sessions")
        .expect_status(200);
    assert_eq!(sessions.json()["items"].as_array().map(Vec::len), Some(50));
}

#[test]
fn they_are_in_redis_alone_and_while_it_is_away_nobody_is_taken_for_a_stranger() {
    let mut redis = Redis::start();
    let mut origin = on(&redis);
    let token = origin.register("ada@example.org");
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));
    let backup = fs::read_to_string(file).expect("it is written");
    assert!(backup.contains("[\"users\"") && !backup.contains("[\"sessions\""));
    origin.kill();
    origin.start_again();
    origin.get_as(&token, "/api/v1/me").expect_status(200);

    redis.stop();
    let away = origin.get_as(&token, "/api/v1/me").expect_status(503);
    assert_eq!(away.header("retry-after"), "1");
    origin.get("/health").expect_status(200);
    origin.get("/ready").expect_status(503);
    // Who can't be signed in has not joined.
    let eve = json!({"name": "Eve", "email": "eve@example.org", "password": "correct horse"});
    origin
        .post("/api/v1/register", None, &eve)
        .expect_status(503);
    redis.start_again();
    // It has forgotten who was signed in.
    origin.wait_until("it is asked again", || {
        origin.get_as(&token, "/api/v1/me").status == 401
    });
    origin.wait_until("Ada is in again", || {
        login(&origin, "ada@example.org", "correct horse").status == 200
    });
    origin.get("/ready").expect_status(200);
    origin
        .post("/api/v1/register", None, &eve)
        .expect_status(201);
}

#[test]
fn a_connection_that_passes_nothing_any_more_is_replaced() {
    let redis = Redis::start();
    let wire = Wire::to(redis.address());
    let origin = at(&format!("redis://{}", wire.address()));
    let token = origin.register("ada@example.org");
    for _ in 0..2 {
        wire.cut();
        origin.get_as(&token, "/api/v1/me").expect_status(503);
        origin.wait_until("it is asked over a new connection", || {
            origin.get_as(&token, "/api/v1/me").status == 200
        });
    }
}
