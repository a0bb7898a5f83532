//! Large files with a provider that speaks S3, as much of it as is needed: signed requests for objects, lists
//! by prefix, and deletions of several.

use crate::files::{read, sent};
use crate::harness::Origin;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// Its threads end with the process of the tests.
struct Bucket {
    address: String,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    is_down: AtomicBool,
}

struct Asked {
    method: String,
    target: String,
    is_signed: bool,
    body: Vec<u8>,
}

impl Bucket {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let bucket = Arc::new(Self {
            address,
            objects: Mutex::default(),
            is_down: AtomicBool::new(false),
        });
        let served = bucket.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                thread::spawn(move || served.serve(stream));
            }
        });
        bucket
    }

    fn setting(&self) -> String {
        let Self { address, .. } = self;
        format!(
            "1=s3://bucket/folder?endpoint=http://{address}&allow_http=true&region=here\
             &access_key_id=key&secret_access_key=secret"
        )
    }

    fn names(&self) -> Vec<String> {
        let objects = self.objects.lock().expect("no other test has it");
        objects.keys().cloned().collect()
    }

    fn serve(&self, mut stream: TcpStream) {
        let reading = stream.try_clone().expect("a second handle");
        let mut reading = BufReader::new(reading);
        while let Some(asked) = next_request(&mut reading) {
            let (status, body) = match self.is_down.load(SeqCst) {
                true => ("503 Slow Down", Vec::new()),
                false => self.answer(&asked),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"x\"\r\n\
                 last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
                body.len()
            );
            let body = if asked.method == "HEAD" {
                &[]
            } else {
                &body[..]
            };
            if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, asked: &Asked) -> (&'static str, Vec<u8>) {
        if !asked.is_signed {
            return ("403 Forbidden", Vec::new());
        }
        let mut objects = self.objects.lock().expect("no answer panics");
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let name = path.trim_start_matches("/bucket").trim_start_matches('/');
        match (asked.method.as_str(), query) {
            ("GET", query) if query.contains("list-type=2") => ("200 OK", listed(&objects, query)),
            ("POST", query) if query.starts_with("delete") => {
                let text = String::from_utf8_lossy(&asked.body).into_owned();
                let named = text.split("<Key>").skip(1);
                for name in named.filter_map(|rest| rest.split("</Key>").next()) {
                    objects.remove(name);
                }
                ("200 OK", b"<DeleteResult></DeleteResult>".to_vec())
            }
            ("PUT", _) => {
                objects.insert(name.to_owned(), asked.body.clone());
                ("200 OK", Vec::new())
            }
            ("GET" | "HEAD", _) => match objects.get(name) {
                Some(bytes) => ("200 OK", bytes.clone()),
                None => ("404 Not Found", Vec::new()),
            },
            _ => ("501 Not Implemented", Vec::new()),
        }
    }
}

fn next_request(reading: &mut impl BufRead) -> Option<Asked> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reading.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let field = |name: &str| {
        let fields = head.iter().filter_map(|line| line.split_once(": "));
        let mut same = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        same.next().map_or("", |(_, value)| value)
    };
    let mut body = vec![0; field("content-length").parse().unwrap_or(0)];
    reading.read_exact(&mut body).ok()?;
    let mut words = head.first()?.split(' ');
    Some(Asked {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        is_signed: field("authorization").starts_with("AWS4-HMAC-SHA256 Credential=key/"),
        body,
    })
}

fn listed(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Vec<u8> {
    let parameters = query.split('&');
    let prefix = parameters
        .filter_map(|one| one.strip_prefix("prefix="))
        .next();
    let prefix = prefix.unwrap_or_default().replace("%2F", "/");
    let found = objects.iter().filter(|(name, _)| name.starts_with(&prefix));
    let entries: String = found
        .map(|(name, bytes)| {
            format!(
                "<Contents><Key>{name}</Key><Size>{}</Size><ETag>\"x\"</ETag>\
                 <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>",
                bytes.len()
            )
        })
        .collect();
    format!("<ListBucketResult>{entries}</ListBucketResult>").into_bytes()
}

#[test]
fn files_are_in_a_bucket_and_here_while_it_is_away() {
    let bucket = Bucket::start();
    let origin = Origin::start_with(&["--storage", &bucket.setting()]);
    let token = origin.register("ada@example.org");
    let file = sent(&origin, &token, b"what is kept in a bucket");
    let names = bucket.names();
    assert_eq!(names.len(), 1);
    assert!(names[0].starts_with("folder/"), "{names:?}");
    assert!(read(&origin, &token, &file) == b"what is kept in a bucket");

    bucket.is_down.store(true, SeqCst);
    let other = sent(&origin, &token, b"what comes while it is away");
    assert!(read(&origin, &token, &other) == b"what comes while it is away");
    assert_eq!(bucket.names(), names);
    bucket.is_down.store(false, SeqCst);
    origin.wait_until("it is there too", || bucket.names().len() == 2);
    assert!(read(&origin, &token, &other) == b"what comes while it is away");

    origin.delete_as(&token, &file).expect_status(204);
    origin.delete_as(&token, &other).expect_status(204);
    origin.wait_until("nothing is left", || bucket.names().is_empty());
}
