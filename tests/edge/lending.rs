//! The application behind the edge, as `make run` shows it: several processes on one folder, whose writes
//! take back what the edge has stored.

use crate::harness::{Edge, Reply, ask, eventually, get, lakh_origin, post};
use crate::images::photo;
use image::GenericImageView;
use serde_json::{Value, json};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

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

pub fn lending() -> (Edge, String) {
    let edge = running(LENDING, 3);
    let token = joined(&edge, "ada@example.org");
    (edge, token)
}

/// Somebody new; their token.
pub fn joined(edge: &Edge, email: &str) -> String {
    let person = json!({"name": "Ada", "email": email, "password": "correct horse"});
    let joined = send(edge, "/api/v1/register", None, &person)
        .expect(201)
        .json();
    joined["token"].as_str().expect("a token").to_owned()
}

/// Somebody new with that role; their token.
pub fn granted(edge: &Edge, role: &str, email: &str) -> String {
    joined(edge, email);
    let given = Command::new(lakh_origin())
        .arg("--data")
        .arg(edge.dir.join("data"))
        .args(["--grant", &format!("{role}={email}")])
        .output();
    assert!(given.expect("the binary starts").status.success());
    let login = json!({"email": email, "password": "correct horse"});
    let signed_in = send(edge, "/api/v1/login", None, &login).expect(200).json();
    signed_in["token"].as_str().expect("a token").to_owned()
}

/// With so many processes behind it.
pub fn running(configuration: &str, instances: u32) -> Edge {
    let edge = Edge::start(configuration, &[]);
    edge.await_metric("lakh_upstream_up", instances.into());
    edge
}

pub fn send(edge: &Edge, target: &str, token: Option<&str>, body: &Value) -> Reply {
    let mut asked = post(target, body.to_string()).with("content-type", "application/json");
    if let Some(token) = token {
        asked = asked.with("authorization", format!("Bearer {token}"));
    }
    asked.send(edge)
}

pub fn thing(title: &str) -> Value {
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
        let made = || ask("GET", &target).with("accept", accept).send(&edge);
        // A busy machine may say so.
        eventually("the edge has made it", || made().status == 200);
        let by_edge = made().expect(200);
        assert!(
            by_edge.body == get(url).send(&edge).expect(200).body,
            "{url}"
        );
    }
}

#[test]
fn a_first_start_answers_at_once_and_its_photos_come_by_and_by() {
    let edge = running(&LENDING.replace(", --no-demo", ""), 3);
    let page = || get("/").send(&edge).expect(200).text();
    assert_eq!(page().matches("<article>").count(), 12);
    // Unoptimised and beside other tests, drawing takes its time.
    let deadline = Instant::now() + Duration::from_secs(180);
    while !page().contains("<img ") {
        assert!(Instant::now() < deadline, "no photo was drawn");
        thread::park_timeout(Duration::from_millis(100));
    }
    let page = page();
    let photo = page
        .split("<img src=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let photo = get(photo.expect("a path")).send(&edge).expect(200);
    let (width, _) = image::load_from_memory(&photo.body)
        .expect("a picture")
        .dimensions();
    assert_eq!(width, 800);
}

#[test]
fn the_page_takes_something_to_lend_with_its_photo() {
    let (edge, _) = lending();
    let page = || get("/").send(&edge).expect(200).text();
    assert!(page().contains("Nothing is lent here yet."));
    let bob = [
        ("name", "Bob"),
        ("email", "bob@example.org"),
        ("password", "battery staple"),
    ];
    let tent = [
        ("title", "A <tent>"),
        ("text", "Dry."),
        ("category", "travel"),
        ("place", "Mill Lane"),
    ];
    let filled = |price: &str| {
        let mut form = multipart(bob.iter().chain(&tent).chain(&[("price", price)]));
        form.extend(
            b"--edge\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"a.jpg\"\r\n",
        );
        form.extend(b"content-type: image/jpeg\r\n\r\n");
        form.extend(photo());
        form.extend(b"\r\n--edge--\r\n");
        post("/lend", form)
            .with("content-type", "multipart/form-data; boundary=edge")
            .send(&edge)
    };
    assert!(filled("much").expect(422).text().contains("price_cents"));
    assert_eq!(filled("12,50").expect(303).the("location"), "/");
    let shown = page();
    assert!(
        shown.contains("A &lt;tent&gt;") && shown.contains("€ 12.50 a day"),
        "{shown}"
    );
    assert!(shown.contains("<img "), "{shown}");

    // Whom the page knows by now must know the password.
    let eve = multipart(tent.iter().chain(&[
        bob[0],
        bob[1],
        ("password", "something else"),
        ("price", "1"),
    ]));
    let eve = [&eve[..], b"--edge--\r\n"].concat();
    let refused = post("/lend", eve).with("content-type", "multipart/form-data; boundary=edge");
    refused.send(&edge).expect(401);
}

/// Without its end.
fn multipart<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    let part = |(name, text): &(&str, &str)| {
        format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    fields.map(part).collect::<String>().into_bytes()
}

#[test]
fn the_edge_checks_the_application_s_tokens_by_what_it_publishes() {
    let port = crate::harness::free_address().port();
    let yaml = TOKENS.replace("$port", &port.to_string());
    let edge = running(&yaml, 1);
    let token = joined(&edge, "ada@example.org");
    let me = |token: &str| {
        let asked = get("/api/v1/me").with("authorization", format!("Bearer {token}"));
        asked.send(&edge)
    };
    assert_eq!(me(&token).expect(200).json()["email"], "ada@example.org");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    // By the edge, whose problems have types of their own.
    let refused = me(&forged).expect(401).json();
    assert!(
        refused["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("urn:lakh:problem:")),
        "{refused}"
    );
}

const TOKENS: &str = "
access_log: {to: none}
upstreams:
  app:
    spawn: {command: [$lakh_origin, --no-demo, --tokens, eddsa], instances: 1, first_port: $port}
    health_check: {path: /health, interval: 200ms}
auth: {people: {jwt: {jwks_url: 'http://127.0.0.1:$port/.well-known/jwks.json', issuer: lakh-origin, refresh: 1h}}}
routes:
- {name: me, match: {path: /api/v1/me}, upstream: app, auth: people}
- {name: all, match: {path: /*}, upstream: app}
";
