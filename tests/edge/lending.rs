//! The application behind the edge, as `make run` shows it: several processes on one folder, whose writes
//! take back what the edge has stored.

use crate::harness::{Edge, Reply, ask, eventually, get, post};
use crate::images::photo;
use serde_json::{Value, json};

const LENDING: &str = "
access_log: {to: none}
upstreams:
  app:
    spawn: {command: [$lakh_origin, --no-demo], instances: 3, first_port: $ports}
    health_check: {path: /health, interval: 200ms}
caches:
  pages: {memory: 16MiB, invalidate_header: cache-tag-invalidate}
  images: {memory: 64MiB, invalidate_header: cache-tag-invalidate}
routes:
- {name: photos, match: {path: /photos/*}, upstream: app, cache: {in: images, ttl: 1d}, images: true}
- {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
";

fn lending() -> (Edge, String) {
    let edge = Edge::start(LENDING, &[]);
    edge.await_metric("lakh_upstream_up", 3.0);
    let ada = json!({"name": "Ada", "email": "ada@example.org", "password": "correct horse"});
    let joined = send(&edge, "/api/v1/register", None, &ada)
        .expect(201)
        .json();
    let token = joined["token"].as_str().expect("a token").to_owned();
    (edge, token)
}

fn send(edge: &Edge, target: &str, token: Option<&str>, body: &Value) -> Reply {
    let mut asked = post(target, body.to_string()).with("content-type", "application/json");
    if let Some(token) = token {
        asked = asked.with("authorization", format!("Bearer {token}"));
    }
    asked.send(edge)
}

fn thing(title: &str) -> Value {
    json!({"title": title, "text": "x", "category": "c", "price_cents": 0, "place": "p"})
}

#[test]
fn a_write_is_seen_at_once_in_a_stored_list() {
    let (edge, token) = lending();
    let list = || get("/api/v1/listings?limit=100").send(&edge).expect(200);
    for round in 1..=20 {
        assert!(list().json()["items"].as_array().map(Vec::len) == Some(round - 1));
        eventually("the list is stored", || list().is_hit());
        let written = send(&edge, "/api/v1/listings", Some(&token), &thing("Tent")).expect(201);
        assert_eq!(written.field("cache-tag-invalidate"), None);
    }
}

#[test]
fn what_the_application_makes_of_a_photo_is_what_the_edge_makes() {
    let (edge, token) = lending();
    let listing = send(&edge, "/api/v1/listings", Some(&token), &thing("Tent")).expect(201);
    let added = post(&format!("{}/photos", listing.the("location")), photo())
        .with("content-type", "image/jpeg")
        .with("authorization", format!("Bearer {token}"))
        .send(&edge)
        .expect(201);
    let path = added.the("location").to_owned();
    let state = || get(&path).send(&edge).expect(200).json();
    eventually("the renditions are made", || state()["state"] == "done");
    let made = state();
    for rendition in made["renditions"].as_array().expect("a list") {
        let url = rendition["url"].as_str().expect("a path");
        let preset = rendition["preset"].as_str().expect("a name");
        let target = format!("{}?preset={preset}", made["url"].as_str().expect("a path"));
        let accept = if url.ends_with(".webp") {
            "image/webp"
        } else {
            "image/jpeg"
        };
        let by_edge = ask("GET", &target)
            .with("accept", accept)
            .send(&edge)
            .expect(200);
        assert!(
            by_edge.body == get(url).send(&edge).expect(200).body,
            "{url}"
        );
    }
}
