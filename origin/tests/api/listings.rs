//! Listings, their photos, and processes that share a folder.

use crate::harness::{Origin, Reply};
use serde_json::{Value, json};
use std::thread;

fn ladder() -> Value {
    json!({"title": "Ladder <3.5 m>", "text": "For cherries & gutters.", "category": "tools",
           "price_cents": 350, "place": "Mill Lane 12",
           "availability": {"from": "2026-06-01", "to": "2026-06-30"}})
}

fn register(origin: &Origin, email: &str) -> String {
    origin.register(email)
}

fn create(origin: &Origin, token: &str) -> String {
    origin.lend(token, &ladder())
}

fn problem_fields(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let body = reply.json();
    assert_eq!(body["status"], reply.status);
    let errors = body["errors"].as_array().expect("a list of errors");
    errors
        .iter()
        .map(|one| one["field"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_listing_lives_from_post_to_delete() {
    let origin = Origin::start();
    let token = register(&origin, "ada@example.org");
    let path = create(&origin, &token);

    let shown = origin.get(&path).expect_status(200);
    assert_eq!(
        shown.header("cache-control"),
        "public, max-age=10, s-maxage=60"
    );
    assert_eq!(shown.json()["price_cents"], 350);
    assert_eq!(shown.json()["availability"], ladder()["availability"]);
    let etag = shown.header("etag").to_owned();
    let unchanged = origin
        .call("GET", &path, &[("if-none-match", &etag)], b"")
        .expect_status(304);
    assert_eq!(
        (unchanged.header("etag"), unchanged.text().as_str()),
        (etag.as_str(), "")
    );

    let patch = json!({"price_cents": 400});
    origin.patch(&path, &token, None, &patch).expect_status(428);
    origin
        .patch(&path, &token, Some("\"other\""), &patch)
        .expect_status(412);
    let changed = origin
        .patch(&path, &token, Some(&etag), &patch)
        .expect_status(200);
    assert_eq!(changed.json()["price_cents"], 400);
    assert_eq!(changed.json()["title"], ladder()["title"]);
    origin
        .patch(&path, &token, Some(&etag), &patch)
        .expect_status(412);
    assert_eq!(origin.get(&path).header("etag"), changed.header("etag"));

    let bearer = format!("Bearer {token}");
    let stale = [("authorization", bearer.as_str()), ("if-match", &etag)];
    origin.call("DELETE", &path, &stale, b"").expect_status(412);
    origin
        .call("DELETE", &path, &stale[..1], b"")
        .expect_status(204);
    origin.get(&path).expect_status(404);
}

#[test]
fn only_the_owner_writes() {
    let origin = Origin::start();
    let path = create(&origin, &register(&origin, "ada@example.org"));
    let etag = origin.get(&path).header("etag").to_owned();
    let eve = register(&origin, "eve@example.org");

    origin
        .patch(&path, &eve, Some(&etag), &json!({"price_cents": 0}))
        .expect_status(403);
    origin
        .call(
            "DELETE",
            &path,
            &[("authorization", &format!("Bearer {eve}"))],
            b"",
        )
        .expect_status(403);
    origin
        .upload(&path, &eve, "image/png", PNG)
        .expect_status(403);

    let nobody = origin
        .post("/api/v1/listings", None, &ladder())
        .expect_status(401);
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    origin
        .post("/api/v1/listings", Some("a.b.c"), &ladder())
        .expect_status(401);
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and whatever else a picture has";

#[test]
fn photos_are_taken_and_served() {
    let origin = Origin::start();
    let token = register(&origin, "ada@example.org");
    let path = create(&origin, &token);
    let before = origin.get(&path).header("etag").to_owned();

    let added = origin
        .upload(&path, &token, "image/png", PNG)
        .expect_status(201);
    let url = added.json()["url"].as_str().expect("a URL").to_owned();
    assert_eq!(origin.get(&path).json()["photos"], json!([url]));
    assert_ne!(origin.get(&path).header("etag"), before);

    let photo = origin
        .get(&format!("{url}?preset=thumbnail"))
        .expect_status(200);
    assert_eq!(
        (photo.header("content-type"), photo.body.as_slice()),
        ("image/png", PNG)
    );
    assert_eq!(
        photo.header("cache-control"),
        "public, max-age=86400, immutable"
    );
    assert!(!photo.header("last-modified").is_empty());
    let etag = photo.header("etag").to_owned();
    assert!(etag.starts_with('"'), "{etag} is not strong");
    origin
        .call("GET", &url, &[("if-none-match", &etag)], b"")
        .expect_status(304);

    let head = origin.call("HEAD", &url, &[], b"").expect_status(200);
    assert_eq!(head.header("content-length"), PNG.len().to_string());
    let range = [("range", "bytes=1-3"), ("if-range", etag.as_str())];
    let part = origin.call("GET", &url, &range, b"").expect_status(206);
    assert_eq!(part.body, b"PNG");

    let home = origin.get("/").expect_status(200);
    assert!(home.text().contains(&format!("{url}?preset=thumbnail")));
    assert!(home.text().contains("Ladder &lt;3.5 m&gt;"));

    let bearer = format!("Bearer {token}");
    origin
        .call("DELETE", &path, &[("authorization", &bearer)], b"")
        .expect_status(204);
    origin.get(&url).expect_status(404);
}

#[test]
fn bad_photos_are_refused_and_leave_nothing_behind() {
    let origin = Origin::start();
    let token = register(&origin, "ada@example.org");
    let path = create(&origin, &token);

    origin
        .upload(&path, &token, "image/jpeg", PNG)
        .expect_status(415);
    origin
        .upload(&path, &token, "image/gif", b"GIF89a")
        .expect_status(415);
    origin
        .upload(&path, &token, "image/png", b"")
        .expect_status(415);
    let mut large = PNG.to_vec();
    large.resize(10 * 1024 * 1024 + 1, 0);
    let refused = origin
        .upload(&path, &token, "image/png", &large)
        .expect_status(413);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    origin
        .upload_chunked(&path, &token, "image/png", &large)
        .expect_status(413);
    large.pop();
    origin
        .upload(&path, &token, "image/png", &large)
        .expect_status(201);
    origin.wait_until("the refused uploads are gone", || origin.photo_files() == 1);

    for way_out in [
        "..%2fjwt.secret",
        "%2e%2e%2flakh.sqlite",
        "..",
        "jwt.secret",
    ] {
        origin.get(&format!("/photos/{way_out}")).expect_status(404);
    }
}

#[test]
fn pages_neither_repeat_nor_miss() {
    let origin = Origin::start();
    let token = register(&origin, "ada@example.org");
    let mut created: Vec<String> = (0..7).map(|_| create(&origin, &token)).collect();
    created.reverse();

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = origin
            .get(&format!("/api/v1/listings?limit=3&category=tools{cursor}"))
            .expect_status(200);
        let body = page.json();
        let items = body["items"].as_array().expect("a list").clone();
        seen.extend(
            items
                .iter()
                .map(|item| format!("/api/v1/listings/{}", item["id"])),
        );
        // A newcomer belongs before the first page, and must not shift the ones after.
        create(&origin, &token);
        let Some(next) = body["next"].as_str() else {
            break;
        };
        assert!(page.header("link").contains(next));
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, created);

    let list = origin.get("/api/v1/listings").expect_status(200);
    assert_eq!(
        list.header("cache-control"),
        "public, max-age=5, s-maxage=60, stale-while-revalidate=30"
    );
    let condition = [("if-none-match", list.header("etag"))];
    origin
        .call("GET", "/api/v1/listings", &condition, b"")
        .expect_status(304);
    assert_eq!(
        origin.get("/api/v1/listings?category=boats").json()["items"],
        json!([])
    );
}

#[test]
fn bad_input_is_answered_with_every_fault() {
    let origin = Origin::start();
    let token = register(&origin, "ada@example.org");

    let person = json!({"name": "", "email": "ada", "password": "short"});
    let reply = origin
        .post("/api/v1/register", None, &person)
        .expect_status(422);
    assert_eq!(problem_fields(&reply), ["name", "email", "password"]);

    let listing =
        json!({"title": 1, "text": "x", "price_cents": -1, "place": "x", "availability": 3});
    let reply = origin
        .post("/api/v1/listings", Some(&token), &listing)
        .expect_status(422);
    assert_eq!(
        problem_fields(&reply),
        ["title", "category", "price_cents", "availability"]
    );

    let reply = origin
        .get("/api/v1/listings?limit=x&cursor=y")
        .expect_status(400);
    assert_eq!(problem_fields(&reply), ["limit", "cursor"]);

    let json = [("content-type", "application/json")];
    origin
        .call("POST", "/api/v1/login", &json, b"{")
        .expect_status(400);
    origin
        .call("POST", "/api/v1/login", &[], b"{}")
        .expect_status(415);
    origin
        .call("POST", "/api/v1/login", &json, &vec![b' '; 65 * 1024])
        .expect_status(413);
    for path in ["/nowhere", "/api/v1/listings/x", "/api/v1/listings/99"] {
        let reply = origin.get(path).expect_status(404);
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
    let reply = origin
        .call("PUT", "/api/v1/listings", &[], b"")
        .expect_status(405);
    assert!(reply.header("allow").contains("POST"));
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

#[test]
fn a_stopped_process_ends_well_and_the_next_one_knows_everything() {
    let mut origin = Origin::start();
    let token = register(&origin, "ada@example.org");
    let path = create(&origin, &token);
    for signal in ["TERM", "INT"] {
        assert_eq!(origin.stop(signal), Some(0));
        origin.start_again();
        origin.get(&path).expect_status(200);
        create(&origin, &token);
    }
}

#[test]
fn three_processes_share_one_folder_from_the_first_moment() {
    let origins = Origin::start_together(3);
    for origin in &origins {
        assert_eq!(
            origin.get("/health").expect_status(200).json()["status"],
            "ok"
        );
        let list = origin.get("/api/v1/listings?limit=100").json();
        assert_eq!(list["items"].as_array().expect("a list").len(), 12);
    }
    // Drawn by whichever of them, while all of them answer.
    let first =
        || origins[0].get("/api/v1/listings?limit=1").json()["items"][0]["photos"][0].clone();
    origins[0].wait_until("the first photo is drawn", || first().is_string());
    let first = first();
    let photo = origins[2]
        .get(first.as_str().expect("a photo"))
        .expect_status(200);
    assert!(
        (1_500_000..4_000_000).contains(&photo.body.len()),
        "{} bytes",
        photo.body.len()
    );

    let token = register(&origins[0], "ada@example.org");
    thread::scope(|scope| {
        for origin in &origins {
            for _ in 0..3 {
                scope.spawn(|| (0..10).for_each(|_| drop(create(origin, &token))));
            }
        }
    });
    for origin in &origins {
        let list = origin
            .get("/api/v1/listings?limit=100&category=tools")
            .json();
        assert_eq!(list["items"].as_array().expect("a list").len(), 2 + 90);
    }
}
