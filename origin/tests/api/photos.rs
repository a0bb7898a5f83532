//! What is made of photos, by which process ever, whatever happens to it meanwhile.

use crate::harness::Origin;
use lakh_image::{ImageSettings, Limits, Overlays, Plan, transform};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Noise of sorts, so that it takes a while to make something of it.
fn photo(width: u16, height: u16) -> Vec<u8> {
    let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height) * 3)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 26).wrapping_add(at / 9_000) as u8)
        .collect();
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 85);
    let kind = jpeg_encoder::ColorType::Rgb;
    encoder
        .encode(&pixels, width, height, kind)
        .expect("a picture");
    jpeg
}

fn thing() -> Value {
    json!({"title": "Kayak", "text": "Red.", "category": "sports", "price_cents": 1, "place": "x"})
}

fn add(origin: &Origin, listing: &str, token: &str, bytes: &[u8]) -> String {
    let added = origin
        .upload(listing, token, "image/jpeg", bytes)
        .expect_status(201);
    added.header("location").to_owned()
}

fn state(origin: &Origin, path: &str) -> Value {
    origin.get(path).expect_status(200).json()["state"].clone()
}

#[test]
fn renditions_are_those_that_the_edge_makes() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let listing = origin.lend(&token, &thing());
    let source = photo(1200, 900);
    let path = add(&origin, &listing, &token, &source);

    let told = origin.get(&format!("{path}/events")).expect_status(200);
    assert_eq!(told.header("content-type"), "text/event-stream");
    let last = told
        .text()
        .lines()
        .rfind(|line| line.starts_with("data:"))
        .map(str::to_owned);
    let last = last.expect("an event");
    let last: Value = serde_json::from_str(last.trim_start_matches("data:")).expect("JSON");
    assert_eq!(last["state"], "done");
    assert_eq!(last, origin.get(&path).json());

    let name = last["name"]
        .as_str()
        .and_then(|name| name.strip_suffix(".jpg"))
        .expect("a name");
    let settings = ImageSettings::default();
    let readers = [None, Some("image/webp")];
    let asked =
        ["original", "medium", "thumbnail"].map(|preset| readers.map(|reader| (preset, reader)));
    for (preset, accept) in asked.into_iter().flatten() {
        let plan = Plan::from_request(Some(&format!("preset={preset}")), accept, &settings);
        let plan = plan.expect("a good query").expect("a plan");
        let made = transform(
            &source,
            &plan,
            &Limits::from(&settings),
            &Overlays::default(),
        );
        let made = made.expect("a rendition");
        // Where WebP would be no smaller, there is none.
        if accept.is_some_and(|accept| accept != made.content_type) {
            continue;
        }
        let ending = made
            .content_type
            .trim_start_matches("image/")
            .replace("jpeg", "jpg");
        let url = format!("/photos/{name}-{preset}.{ending}");
        let served = origin.get(&url).expect_status(200);
        assert!(served.body == made.bytes, "{url}");
        assert_eq!(
            served.header("surrogate-key"),
            format!("photo-{}", &url[8..])
        );
        assert!(last["renditions"].to_string().contains(&url));
    }

    origin.delete_as(&token, &listing).expect_status(204);
    assert_eq!(origin.photo_files(), 0);
}

#[test]
fn what_is_no_picture_is_left_for_somebody_to_look_at_and_shown_as_it_is() {
    let origin = Origin::start();
    let staff = origin.register_as("staff", "ada@example.org");
    let listing = origin.lend(&staff, &thing());
    let path = add(&origin, &listing, &staff, b"\xff\xd8\xff and nothing more");
    origin.wait_until("it is given up", || state(&origin, &path) == "dead");
    let photo = origin.get(&path).json();
    assert_eq!(photo["attempts"], 1, "it can't get better: {photo}");
    origin
        .get(photo["url"].as_str().expect("a path"))
        .expect_status(200);
}

#[test]
fn a_job_is_tried_three_times_then_kept_and_can_be_replayed() {
    let origin = Origin::start();
    let staff = origin.register_as("staff", "ada@example.org");
    let other = origin.register("eve@example.org");
    let listing = origin.lend(&staff, &thing());
    let path = add(&origin, &listing, &staff, &photo(300, 200));
    origin.wait_until("it is done", || state(&origin, &path) == "done");
    let name = path.rsplit('/').next().expect("a name").to_owned();
    let (file, away) = (
        origin.data().join("photos").join(&name),
        origin.data().join("away"),
    );

    // The next one's file goes before a worker can have finished with it, or is put back and it is
    // tried with another one.
    let second = loop {
        let second = add(&origin, &listing, &staff, &photo(3000, 2000));
        let name = second.rsplit('/').next().expect("a name").to_owned();
        fs::rename(origin.data().join("photos").join(&name), &away).expect("it is there");
        origin.wait_until("it is tried", || {
            ["dead", "done"].contains(&state(&origin, &second).as_str().expect("a state"))
        });
        if state(&origin, &second) == "dead" {
            break second;
        }
        fs::remove_file(&away).expect("it is there");
    };
    assert!(file.exists());
    assert_eq!(origin.get(&second).json()["attempts"], 3);

    origin
        .get_as(&other, "/api/v1/jobs/dead")
        .expect_status(403);
    let dead = origin
        .get_as(&staff, "/api/v1/jobs/dead")
        .expect_status(200)
        .json();
    let job = &dead["items"][0];
    assert_eq!(job["subject"], second.rsplit('/').next().expect("a name"));
    let replay = format!("/api/v1/jobs/{}/replay", job["id"]);
    origin
        .post(&replay, Some(&other), &json!({}))
        .expect_status(403);

    let name = job["subject"].as_str().expect("a name");
    fs::rename(&away, origin.data().join("photos").join(name)).expect("it is put back");
    origin
        .post(&replay, Some(&staff), &json!({}))
        .expect_status(202);
    origin.wait_until("it is done", || state(&origin, &second) == "done");
    origin
        .post(&replay, Some(&staff), &json!({}))
        .expect_status(404);
}

#[test]
fn a_killed_process_loses_no_job_and_none_is_done_twice() {
    let mut origin = Origin::start();
    let token = origin.register("ada@example.org");
    let listing = origin.lend(&token, &thing());
    let source = photo(3000, 2000);
    let paths: Vec<_> = (0..10)
        .map(|_| add(&origin, &listing, &token, &source))
        .collect();
    origin.wait_until("a worker is at it", || {
        paths.iter().any(|path| state(&origin, path) == "running")
    });
    let survivor = origin.start_another();
    origin.kill();

    survivor.wait_until("all are done", || {
        paths.iter().all(|path| state(&survivor, path) == "done")
    });
    let photos: Vec<_> = paths.iter().map(|path| survivor.get(path).json()).collect();
    assert!(
        photos.iter().any(|photo| photo["attempts"] == 2),
        "none was taken over"
    );
    assert!(
        photos
            .iter()
            .all(|photo| photo["renditions"].as_array().map(Vec::len) == Some(6))
    );
    // Ten photos and six files of each, nothing half made.
    survivor.wait_until("leftovers are gone", || survivor.photo_files() >= 70);
}

/// An upload of which somebody sends a part now and then.
struct Slow {
    stream: TcpStream,
    left: usize,
}

impl Slow {
    fn begin(origin: &Origin, listing: &str, token: &str, bytes: usize) -> Self {
        let mut stream = TcpStream::connect(origin.address()).expect("it listens");
        let head = format!(
            "POST {listing}/photos HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: image/jpeg\r\ncontent-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        stream.write_all(b"\xff\xd8\xff").expect("it reads");
        Self {
            stream,
            left: bytes - 3,
        }
    }

    fn send(&mut self, bytes: usize) {
        let part = vec![0; bytes.min(self.left)];
        self.left -= part.len();
        self.stream.write_all(&part).expect("it reads");
    }

    /// The rest of it, for which there is an answer.
    fn end(mut self) -> String {
        self.send(self.left);
        let mut line = String::new();
        let read = BufReader::new(self.stream).read_line(&mut line);
        read.expect("an answer");
        line
    }
}

/// Nothing here depends on time: those who are silent stay so until the others have been answered.
#[test]
fn who_sends_slowly_or_nothing_any_more_neither_holds_up_others_nor_is_forgotten() {
    const LARGE: usize = 5 * 1024 * 1024;
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let [listing, other] = [(); 2].map(|()| origin.lend(&token, &thing()));
    let mut trickling = Slow::begin(&origin, &listing, &token, 64 * 1024);
    // More than are read at a time, each with so much at once that it takes a turn.
    let mut silent: Vec<_> = (0..8)
        .map(|_| Slow::begin(&origin, &listing, &token, LARGE))
        .collect();
    silent.iter_mut().for_each(|one| one.send(512 * 1024));
    let large = [b"\xff\xd8\xff", &vec![0; LARGE][..]].concat();
    for _ in 0..5 {
        add(&origin, &other, &token, &large);
        trickling.send(1024);
    }
    assert!(trickling.end().starts_with("HTTP/1.1 201"));
    for one in silent {
        assert!(one.end().starts_with("HTTP/1.1 201"));
    }
}
