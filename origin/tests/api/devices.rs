//! Devices that listen, go away and come back, and what they ask.

use crate::harness::{Origin, PATIENCE};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::time::Instant;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

pub struct Listener(pub WebSocket<TcpStream>);

impl Listener {
    pub fn open(origin: &Origin, token: &str, path: &str) -> Self {
        let address = origin.address();
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .expect("a request");
        let bearer = format!("Bearer {token}").parse().expect("a header value");
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let (socket, _) = tungstenite::client(request, stream).expect("it switches");
        Self(socket)
    }

    pub fn hear(&mut self) -> Value {
        let start = Instant::now();
        loop {
            // The hub's pings keep the socket from timing out.
            assert!(start.elapsed() < PATIENCE, "nothing was said");
            match self.0.read().expect("a message") {
                Message::Text(text) => break serde_json::from_str(&text).expect("JSON"),
                Message::Close(_) => panic!("it was closed"),
                _ => {}
            }
        }
    }

    pub fn welcomed(&mut self) -> Value {
        let welcome = self.hear();
        assert_eq!(welcome["kind"], "welcome");
        welcome
    }
}

pub fn tell(origin: &Origin, token: &str, text: &str) {
    let body = json!({"text": text});
    let told = origin.post("/api/v1/devices/scanner/messages", Some(token), &body);
    told.expect_status(202);
}

pub const SOCKET: &str = "/api/v1/devices/scanner/socket";

#[test]
fn a_device_hears_what_it_missed_on_whichever_hub_it_comes_back() {
    let origin = Origin::start();
    let other = origin.start_another();
    let token = origin.register("ada@example.org");
    let mut first = Listener::open(&origin, &token, SOCKET);
    first.welcomed();
    tell(&other, &token, "one");
    let one = first.hear();
    assert_eq!(
        (&one["kind"], &one["body"]["text"]),
        (&json!("message"), &json!("one"))
    );
    let present = |origin: &Origin| {
        origin
            .get_as(&token, "/api/v1/devices")
            .expect_status(200)
            .json()["items"][0]["present"]
            == true
    };
    assert!(present(&origin) && present(&other));
    let metrics = origin.get("/metrics").text();
    assert!(metrics.contains("lakh_origin_hub_connections 1"));

    drop(first);
    origin.wait_until("it is gone", || !present(&origin));
    (2..=5).for_each(|n| tell(&origin, &token, &n.to_string()));
    let mut again = Listener::open(&other, &token, &format!("{SOCKET}?after={}", one["id"]));
    assert_eq!(again.welcomed()["gap"], false);
    let texts: Vec<_> = (2..=5)
        .map(|_| again.hear()["body"]["text"].clone())
        .collect();
    assert_eq!(texts, ["2", "3", "4", "5"]);
    tell(&origin, &token, "six");
    assert_eq!(again.hear()["body"]["text"], "six");

    // More than is kept: the newest of it, and it is said that there was more.
    (0..101).for_each(|n| tell(&origin, &token, &n.to_string()));
    let mut late = Listener::open(&origin, &token, &format!("{SOCKET}?after={}", one["id"]));
    assert_eq!(late.welcomed()["gap"], true);
    assert_eq!(late.hear()["body"]["text"], "1");
}

#[test]
fn a_device_that_is_ahead_of_a_restored_database_is_told_so_and_hears_what_comes() {
    let (origin, restored) = (Origin::start(), Origin::start());
    let token = origin.register("ada@example.org");
    tell(&origin, &token, "one");
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));
    (0..3).for_each(|_| tell(&origin, &token, "lost"));
    let mut listener = Listener::open(&origin, &token, &format!("{SOCKET}?after=0"));
    listener.welcomed();
    let heard = (0..4).map(|_| listener.hear()["id"].clone()).last();

    assert!(restored.run(&["restore".as_ref(), file.as_os_str()]));
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let login = restored
        .post("/api/v1/login", None, &login)
        .expect_status(200)
        .json();
    let token = login["token"].as_str().expect("a token");
    for after in [heard.expect("a number").to_string(), i64::MAX.to_string()] {
        let mut again = Listener::open(&restored, token, &format!("{SOCKET}?after={after}"));
        assert_eq!(again.welcomed()["gap"], true, "after {after}");
        tell(&restored, token, "new");
        assert_eq!(again.hear()["body"]["text"], "new", "after {after}");
    }
}

#[test]
fn a_device_is_its_owner_s_and_only_the_staff_speaks_to_all() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let eve = origin.register("eve@example.org");
    let staff = origin.register_as("staff", "bob@example.org");
    tell(&origin, &token, "mine");
    let text = json!({"text": "hello"});
    for path in ["messages", "requests"] {
        let path = format!("/api/v1/devices/scanner/{path}");
        origin.post(&path, Some(&eve), &text).expect_status(403);
        origin.post(&path, None, &text).expect_status(401);
    }
    origin
        .post("/api/v1/devices/No%20Name/messages", Some(&eve), &text)
        .expect_status(404);
    origin
        .post("/api/v1/broadcasts", Some(&eve), &text)
        .expect_status(403);
    origin.get_as(&token, SOCKET).expect_status(400);

    let mut listener = Listener::open(&origin, &token, SOCKET);
    listener.welcomed();
    origin
        .post("/api/v1/broadcasts", Some(&staff), &text)
        .expect_status(202);
    assert_eq!(listener.hear()["body"]["text"], "hello");
    tell(&origin, &staff, "from the staff");
    assert_eq!(listener.hear()["body"]["text"], "from the staff");

    // Who signs out listens no more.
    origin
        .delete_as(&token, "/api/v1/sessions")
        .expect_status(204);
    let end = loop {
        match listener.0.read().expect("a frame") {
            Message::Close(end) => break end.expect("a reason"),
            frame => assert!(frame.is_ping(), "{frame}"),
        }
    };
    assert_eq!(u16::from(end.code), 1008);
}

#[test]
fn a_request_is_answered_and_its_device_told_whether_it_came_by_http_or_as_a_file() {
    let origin = Origin::start();
    let other = origin.start_another();
    let token = origin.register("ada@example.org");
    let thing = json!({"title": "Wooden ladder", "text": "Long.", "category": "tools",
                       "price_cents": 350, "place": "Mill Lane"});
    origin.lend(&token, &thing);
    let mut listener = Listener::open(&origin, &token, SOCKET);
    listener.welcomed();
    let question = json!({"text": "Can I borrow a ladder?"});
    let asked = other.post("/api/v1/devices/scanner/requests", Some(&token), &question);
    let path = asked.expect_status(202).header("location").to_owned();
    let ready = listener.hear();
    assert_eq!(ready["kind"], "response-ready");
    assert_eq!(
        path,
        format!("/api/v1/requests/{}", ready["body"]["request"])
    );
    let answered = origin.get_as(&token, &path).expect_status(200).json();
    assert_eq!(answered["state"], "done");
    assert_eq!(
        answered["answer"],
        "Wooden ladder, Mill Lane, 3.50 euros a day, now"
    );

    let folder = origin.data().join("requests/scanner");
    fs::create_dir(&folder).expect("the folder is there");
    fs::write(folder.join(".draft"), "not yet").expect("a file");
    fs::write(folder.join("empty.txt"), " ").expect("a file");
    for n in 0..10 {
        fs::write(folder.join(".new"), format!("kayak {n}")).expect("a file");
        fs::rename(folder.join(".new"), folder.join(format!("{n}.txt"))).expect("it is there");
    }
    let mut told: Vec<_> = (0..10)
        .map(|_| listener.hear()["body"]["request"].to_string())
        .collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 10, "each is answered once");
    let answered = origin
        .get_as(&token, &format!("/api/v1/requests/{}", told[0]))
        .json();
    assert!(
        answered["answer"]
            .as_str()
            .is_some_and(|text| text.starts_with("Nobody lends that"))
    );
    let left = || fs::read_dir(&folder).expect("the folder").count();
    origin.wait_until("what is no request is set aside", || {
        left() == 2 && folder.join(".refused/empty.txt").exists()
    });
}

#[test]
fn what_is_said_and_asked_is_noted_without_its_words() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let admin = origin.register_as("admin", "bob@example.org");
    let text = json!({"text": "Who lends a ladder?"});
    let mut listener = Listener::open(&origin, &token, SOCKET);
    listener.welcomed();
    for path in [
        "/api/v1/devices/scanner/messages",
        "/api/v1/devices/scanner/requests",
    ] {
        origin.post(path, Some(&token), &text).expect_status(202);
    }
    origin
        .post("/api/v1/broadcasts", Some(&admin), &text)
        .expect_status(202);
    while listener.hear()["kind"] != "response-ready" {}
    let folder = origin.data().join("requests/scanner");
    fs::create_dir(&folder).expect("the folder is there");
    fs::write(folder.join("one.txt"), "kayak").expect("a file");
    while listener.hear()["kind"] != "response-ready" {}

    let audit = origin.get_as(&admin, "/api/v1/audit?limit=100");
    let audit = audit.expect_status(200);
    assert!(!audit.text().contains("ladder") && !audit.text().contains("kayak"));
    let noted = audit.json()["items"].clone();
    let noted = noted.as_array().expect("a list");
    let id = |token: &str| origin.get_as(token, "/api/v1/me").json()["id"].clone();
    let (ada, bob, itself) = (id(&token), id(&admin), json!(null));
    for (action, subject, by) in [
        ("claim", "device scanner", &ada),
        ("tell", "device scanner", &ada),
        ("broadcast", "devices", &bob),
        ("ask", "device scanner", &ada),
        ("ask", "device scanner", &itself),
        ("respond", "device scanner", &itself),
    ] {
        let is_noted = noted.iter().any(|one| {
            one["action"] == action && one["subject"] == subject && one["user_id"] == *by
        });
        assert!(is_noted, "{action} by {by}");
    }
}

#[test]
fn a_device_is_there_as_long_as_it_listens_by_any_line() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let lines = |count: u32| {
        let counted = format!("lakh_origin_hub_connections {count}");
        origin
            .get("/metrics")
            .text()
            .lines()
            .any(|line| line == counted)
    };
    let present = || origin.get_as(&token, "/api/v1/devices").json()["items"][0]["present"] == true;
    let [first, mut second] = [(); 2].map(|()| Listener::open(&origin, &token, SOCKET));
    second.welcomed();
    drop(first);
    origin.wait_until("one line is left", || lines(1));
    assert!(present());
    drop(second);
    origin.wait_until("it is gone", || !present());
}

#[test]
fn files_are_taken_whatever_lies_beside_them_and_the_same_one_again() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let mut listener = Listener::open(&origin, &token, SOCKET);
    listener.welcomed();
    let folder = origin.data().join("requests/scanner");
    fs::create_dir(&folder).expect("the folder is there");
    for n in 0..200 {
        fs::write(folder.join(format!(".draft-{n}")), "not yet").expect("a file");
    }
    fs::write(folder.join("x".repeat(250)), " ").expect("a file");
    fs::write(folder.join("broken"), b"\xff").expect("a file");
    let mut asked = Vec::new();
    for _ in 0..3 {
        fs::write(folder.join("one.txt"), "ladder").expect("a file");
        let ready = listener.hear();
        assert_eq!(ready["kind"], "response-ready");
        asked.push(ready["body"]["request"].to_string());
        origin.wait_until("it is taken", || !folder.join("one.txt").exists());
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 3, "each is a request of its own");
    let refused = folder.join(".refused");
    origin.wait_until("what is no request is set aside", || {
        refused.join("x".repeat(250)).exists() && refused.join("broken").exists()
    });
}

#[test]
fn a_watcher_that_is_killed_is_replaced() {
    let mut origin = Origin::start();
    let survivor = origin.start_another();
    let token = survivor.register("ada@example.org");
    let folder = origin.data().join("requests");
    // Whatever their names, the killed process has had some of them.
    let devices: Vec<_> = (0..8).map(|n| format!("device-{n}")).collect();
    let drop_into = |device: &str, name: &str| {
        let file = folder.join(device);
        fs::create_dir_all(&file).expect("the folder is there");
        fs::write(file.join(name), "ladder").expect("a file");
    };
    let is_taken = |name: &str| {
        devices
            .iter()
            .all(|device| !folder.join(device).join(name).exists())
    };
    devices.iter().for_each(|device| drop_into(device, "one"));
    survivor.wait_until("all are taken", || is_taken("one"));
    origin.kill();
    devices.iter().for_each(|device| drop_into(device, "two"));
    survivor.wait_until("all are taken over", || is_taken("two"));
    assert_eq!(
        survivor
            .get_as(&token, "/api/v1/requests/1")
            .expect_status(200)
            .json()["state"],
        "done"
    );
}
