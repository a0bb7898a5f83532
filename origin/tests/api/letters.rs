//! Letters: into a folder, or through a mail server that refuses some, has its moods, and goes away.

use crate::bookings::ahead;
use crate::harness::Origin;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A mail server. Whoever is called `moody` it takes at the second attempt, and `unknown` never.
struct Server {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let taken = Arc::<Mutex<Vec<String>>>::default();
        let (kept, moods) = (taken.clone(), Arc::new(Mutex::new(0)));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (kept, moods) = (kept.clone(), moods.clone());
                // Whoever hangs up has said all.
                thread::spawn(move || converse(connection, &kept, &moods));
            }
        });
        Self { address, taken }
    }

    fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Those to somebody, as they came.
    fn taken_for(&self, who: &str) -> Vec<String> {
        let taken = self.taken.lock().expect("nobody panics with it");
        let to = format!("<{who}>");
        let theirs = taken.iter().filter(|mail| head(mail, "To").contains(&to));
        theirs.cloned().collect()
    }
}

/// RFC 5321 §3, as much as a client needs.
fn converse(stream: TcpStream, taken: &Mutex<Vec<String>>, moods: &Mutex<u32>) -> io::Result<()> {
    let mut answer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let mut say = |line: &str| answer.write_all(format!("{line}\r\n").as_bytes());
    say("220 mail.example.org")?;
    while let Some(line) = lines.next().transpose()? {
        let command = line.to_uppercase();
        if command.starts_with("RCPT") && line.contains("unknown@") {
            say("550 5.1.1 nobody of that name")?;
        } else if command.starts_with("RCPT") && line.contains("moody@") && once(moods) {
            say("450 4.2.1 not now")?;
        } else if command == "DATA" {
            say("354 go on")?;
            let body: Vec<String> = lines
                .by_ref()
                .map_while(Result::ok)
                .take_while(|line| line != ".")
                .collect();
            taken
                .lock()
                .expect("nobody panics with it")
                .push(body.join("\n"));
            say("250 taken")?;
        } else if command == "QUIT" {
            return say("221 bye");
        } else {
            say("250 mail.example.org")?;
        }
    }
    Ok(())
}

fn once(moods: &Mutex<u32>) -> bool {
    let mut moods = moods.lock().expect("nobody panics with it");
    *moods += 1;
    *moods == 1
}

fn head<'a>(mail: &'a str, field: &str) -> &'a str {
    let head = mail.lines().take_while(|line| !line.is_empty());
    let mut values = head.filter_map(|line| line.split_once(": "));
    values
        .find(|(name, _)| *name == field)
        .map_or("", |(_, value)| value)
}

fn lend(origin: &Origin, owner: &str, cents: i64) -> Value {
    let thing = json!({"title": "Tent", "text": "For three.", "category": "travel",
                       "price_cents": cents, "place": "Lake Road"});
    let path = origin.lend(owner, &thing);
    let id = path
        .rsplit('/')
        .next()
        .and_then(|id| id.parse::<i64>().ok());
    json!(id.expect("a number"))
}

fn book(origin: &Origin, borrower: &str, listing: &Value, day: &str) -> String {
    let wish = json!({"listing": listing, "from": day, "to": day});
    let booked = origin.post_once("/api/v1/bookings", borrower, day, &wish);
    booked.expect_status(201).header("location").to_owned()
}

#[test]
fn both_sides_of_a_booking_are_written_into_a_folder() {
    let origin = Origin::start();
    let owner = origin.register("ada@example.org");
    let borrower = origin.register("bob@example.org");
    let listing = lend(&origin, &owner, 0);
    let day = ahead(1);
    let booking = book(&origin, &borrower, &listing, &day);
    origin.delete_as(&borrower, &booking).expect_status(200);
    let letters = || {
        let files = fs::read_dir(origin.data().join("mail")).expect("the folder");
        let paths = files.map(|file| file.expect("a file").path());
        let mails = paths.filter(|path| path.extension().is_some_and(|end| end == "eml"));
        let texts = mails.map(|path| fs::read_to_string(path).expect("a mail").replace('\r', ""));
        texts.collect::<Vec<String>>()
    };
    origin.wait_until("four letters are there", || letters().len() == 4);
    let mut told: Vec<_> = letters()
        .iter()
        .map(|mail| format!("{} {}", head(mail, "To"), head(mail, "Subject")))
        .collect();
    told.sort();
    let expected = [
        "Ada <ada@example.org> Booked: Tent",
        "Ada <ada@example.org> Cancelled: Tent",
        "Ada <bob@example.org> Booked: Tent",
        "Ada <bob@example.org> Cancelled: Tent",
    ];
    assert_eq!(told, expected);
    assert!(
        letters()
            .iter()
            .all(|mail| mail.contains(&format!("On {day} \"Tent\" is")))
    );
}

#[test]
fn a_mail_server_is_asked_again_unless_it_has_said_never() {
    let server = Server::start();
    let origin = Origin::start_with(&["--mail", &server.url()]);
    let staff = origin.register_as("staff", "moody@example.org");
    let borrower = origin.register("unknown@example.org");
    let listing = lend(&origin, &staff, 0);
    book(&origin, &borrower, &listing, &ahead(1));

    origin.wait_until("it is taken", || {
        server.taken_for("moody@example.org").len() == 1
    });
    let mail = &server.taken_for("moody@example.org")[0];
    assert_eq!(head(mail, "Subject"), "Booked: Tent");
    assert_eq!(head(mail, "From"), "Lakh <lakh@localhost>");

    let dead = || {
        origin
            .get_as(&staff, "/api/v1/jobs/dead")
            .expect_status(200)
            .json()
    };
    origin.wait_until("the other is given up", || {
        dead()["items"][0]["kind"] == "letter"
    });
    let job = &dead()["items"][0];
    assert_eq!(job["attempts"], 1, "{job}");
    assert!(job["reason"].to_string().contains("550"), "{job}");
    assert_eq!(server.taken_for("unknown@example.org").len(), 0);
}

#[test]
fn a_letter_waits_for_a_server_that_is_away_and_for_a_process_that_was_killed() {
    let server = Server::start();
    let away = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let mut origin = Origin::start_with(&["--mail", &format!("smtp://{away}")]);
    let staff = origin.register_as("staff", "ada@example.org");
    let reporter = origin.register("bob@example.org");
    let report = json!({"title": "Lamp", "text": "Dark.", "place": "Lake Road"});
    let issue = origin
        .post("/api/v1/issues", Some(&reporter), &report)
        .expect_status(201);
    let (path, seen) = (
        issue.header("location").to_owned(),
        issue.header("etag").to_owned(),
    );
    let change = json!({"state": "in_progress", "note": "Bob looks at it."});
    origin
        .patch(&path, &staff, Some(&seen), &change)
        .expect_status(200);
    origin.kill();

    origin.start_again_with(&["--mail", &server.url()]);
    origin.wait_until("it is taken", || {
        server.taken_for("bob@example.org").len() == 1
    });
    let mail = &server.taken_for("bob@example.org")[0];
    assert_eq!(head(mail, "Subject"), "Your report is in progress: Lamp");
    assert!(mail.contains("Bob looks at it."));
    let counts = origin.get("/metrics").expect_status(200).text();
    assert!(
        counts.contains("lakh_origin_jobs{state=\"dead\"} 0\n"),
        "{counts}"
    );
}
