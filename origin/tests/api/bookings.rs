//! Days that are taken once, money that is taken once, and a provider that tells things twice and late.

use crate::harness::Origin;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, thread};

pub struct Street {
    pub origin: Origin,
    owner: String,
    borrower: String,
    listing: i64,
}

fn street(cents: i64) -> Street {
    street_on(Origin::start(), cents)
}

pub fn street_on(origin: Origin, cents: i64) -> Street {
    let owner = origin.register("ada@example.org");
    let borrower = origin.register("bob@example.org");
    let thing = json!({"title": "Tent", "text": "For three.", "category": "travel",
                       "price_cents": cents, "place": "Lake Road"});
    let path = origin.lend(&owner, &thing);
    let listing = path
        .rsplit('/')
        .next()
        .and_then(|id| id.parse().ok())
        .expect("a number");
    Street {
        origin,
        owner,
        borrower,
        listing,
    }
}

/// A day that far ahead of today, as days are written.
pub fn ahead(days: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later")
        .as_secs();
    let today = time::Date::from_julian_day(2_440_588 + (now / 86_400) as i32).expect("a day");
    let day = today + time::Duration::days(days);
    format!(
        "{:04}-{:02}-{:02}",
        day.year(),
        u8::from(day.month()),
        day.day()
    )
}

impl Street {
    fn wish(&self, from: i64, to: i64) -> Value {
        json!({"listing": self.listing, "from": ahead(from), "to": ahead(to)})
    }

    pub fn book(&self, key: &str, from: i64, to: i64) -> crate::harness::Reply {
        let wish = self.wish(from, to);
        self.origin
            .post_once("/api/v1/bookings", &self.borrower, key, &wish)
    }

    /// Where it is, once it is made.
    pub fn booked(&self, key: &str, from: i64, to: i64) -> String {
        let made = self.book(key, from, to).expect_status(201);
        made.header("location").to_owned()
    }

    pub fn state(&self, path: &str) -> Value {
        self.origin
            .get_as(&self.borrower, path)
            .expect_status(200)
            .json()["state"]
            .clone()
    }

    pub fn pay(&self, booking: &str, key: &str) -> Value {
        let path = format!("{booking}/payments");
        let reply = self
            .origin
            .post_once(&path, &self.borrower, key, &json!({}));
        reply.expect_status(201).json()
    }

    pub fn tell(&self, event: &Value, signature: Option<&str>) -> crate::harness::Reply {
        let body = event.to_string();
        let signature = signature.map_or_else(|| self.sign(&body), str::to_owned);
        let headers = [
            ("content-type", "application/json"),
            ("webhook-signature", &signature),
        ];
        self.origin.call(
            "POST",
            "/api/v1/webhooks/payments",
            &headers,
            body.as_bytes(),
        )
    }

    fn sign(&self, body: &str) -> String {
        let secret = fs::read(self.origin.data().join("payments.secret")).expect("a secret");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is later")
            .as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any key");
        mac.update(format!("{now}.{body}").as_bytes());
        let tag: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("t={now},v1={tag}")
    }
}

#[test]
fn of_two_sides_that_book_the_same_day_a_thousand_times_exactly_one_wins_each() {
    let street = street(0);
    let other = street.origin.start_another();
    let carol = street.origin.register("carol@example.org");
    let wishes: Vec<_> = (0..1000)
        .map(|at| {
            // Two overlapping stretches of days, which have one day in common.
            let day = at % 100 * 3;
            (at / 100, day)
        })
        .collect();
    let sides = [(&street.origin, &street.borrower), (&other, &carol)];
    let mut wins = [0, 0];
    for round in 0..10 {
        let thing =
            json!({"title": "Bike", "text": "x", "category": "c", "price_cents": 0, "place": "p"});
        let path = street.origin.lend(&street.owner, &thing);
        let listing: i64 = path
            .rsplit('/')
            .next()
            .and_then(|id| id.parse().ok())
            .expect("a number");
        let days: Vec<_> = wishes
            .iter()
            .filter(|wish| wish.0 == round)
            .map(|wish| wish.1)
            .collect();
        let won: Vec<Vec<bool>> = thread::scope(|scope| {
            let running: Vec<_> = sides
                .iter()
                .enumerate()
                .map(|(side, (origin, token))| {
                    let days = &days;
                    scope.spawn(move || {
                        days.iter().map(|day| {
                    let wish = json!({"listing": listing, "from": ahead(day + side as i64),
                                      "to": ahead(day + side as i64 + 1)});
                    let key = format!("{side}-{round}-{day}");
                    let reply = origin.post_once("/api/v1/bookings", token, &key, &wish);
                    assert!([201, 409].contains(&reply.status), "{}", reply.text());
                    reply.status == 201
                }).collect()
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|side| side.join().expect("no panic"))
                .collect()
        });
        for (one, two) in won[0].iter().zip(&won[1]) {
            assert!(one ^ two, "{} of two won", u8::from(*one) + u8::from(*two));
            wins[usize::from(*two)] += 1;
        }
    }
    assert_eq!(wins[0] + wins[1], 1000);
}

#[test]
fn what_is_sent_again_under_its_key_happens_once() {
    let street = street(500);
    let first = street.book("k", 1, 2).expect_status(201);
    let again = street.book("k", 1, 2).expect_status(201);
    assert_eq!(first.json(), again.json());
    assert_eq!(first.json()["price_cents"], 1000);
    street.book("k", 5, 5).expect_status(422);
    street.book("other", 2, 3).expect_status(409);
    let wish = street.wish(4, 4);
    let path = "/api/v1/bookings";
    street
        .origin
        .post(path, Some(&street.borrower), &wish)
        .expect_status(400);
    street
        .origin
        .post_once(path, &street.owner, "k", &wish)
        .expect_status(403);

    let range = format!("from={}&to={}", ahead(0), ahead(3));
    let path = format!("/api/v1/listings/{}/availability?{range}", street.listing);
    let days = street.origin.get(&path).expect_status(200);
    // Nobody tells the edge when a booking ends by itself.
    assert_eq!(days.header("cache-control"), "public, max-age=5");
    let days = days.json();
    assert_eq!(
        (&days["free"], &days["taken"]),
        (&json!(false), &json!([ahead(1), ahead(2)]))
    );
    let found = |day: i64| {
        let query = format!("/api/v1/listings?from={}", ahead(day));
        street.origin.get(&query).json()["items"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!((found(2), found(3)), (Some(0), Some(1)));

    let booking = first.header("location").to_owned();
    street
        .origin
        .delete_as(&street.borrower, &booking)
        .expect_status(200);
    assert_eq!(street.state(&booking), "cancelled");
    street.book("third", 2, 3).expect_status(201);
    let stranger = street.origin.register("eve@example.org");
    street.origin.get_as(&stranger, &booking).expect_status(404);
    street
        .origin
        .get_as(&street.owner, &booking)
        .expect_status(200);
    let listing = format!("/api/v1/listings/{}", street.listing);
    street
        .origin
        .delete_as(&street.owner, &listing)
        .expect_status(409);
}

#[test]
fn a_payment_confirms_its_booking_and_cancelling_pays_it_back() {
    let street = street(500);
    let booking = street.booked("b", 1, 1);
    assert_eq!(street.state(&booking), "held");
    let payment = street.pay(&booking, "p");
    assert_eq!(street.pay(&booking, "p"), payment);
    let path = format!("/api/v1/payments/{}", payment["id"]);
    let checkout = payment["checkout"].as_str().expect("a path");

    let outcome = |outcome: &str| {
        let body = json!({"outcome": outcome});
        street.origin.post(checkout, None, &body).expect_status(202);
    };
    outcome("failed");
    street
        .origin
        .wait_until("it failed", || street.state(&path) == "failed");
    assert_eq!(street.state(&booking), "held");
    outcome("paid");
    street
        .origin
        .wait_until("it is confirmed", || street.state(&booking) == "confirmed");

    street
        .origin
        .delete_as(&street.owner, &booking)
        .expect_status(200);
    street
        .origin
        .wait_until("it is paid back", || street.state(&path) == "refunded");
    assert_eq!(street.state(&booking), "cancelled");
}

#[test]
fn what_has_begun_is_cancelled_by_who_lends_it_alone() {
    let street = street(500);
    // Until tomorrow: the day may end while this is tested.
    let booking = street.booked("b", 0, 1);
    let payment = street.pay(&booking, "p");
    let checkout = payment["checkout"].as_str().expect("a path");
    let paid = json!({"outcome": "paid"});
    street.origin.post(checkout, None, &paid).expect_status(202);
    street
        .origin
        .wait_until("it is confirmed", || street.state(&booking) == "confirmed");

    let cancel = |token: &str| street.origin.delete_as(token, &booking);
    let refused = cancel(&street.borrower).expect_status(409);
    assert!(refused.text().contains("It has begun"));
    assert_eq!(street.state(&booking), "confirmed");
    for _ in 0..2 {
        cancel(&street.owner).expect_status(200);
    }
    let path = format!("/api/v1/payments/{}", payment["id"]);
    street
        .origin
        .wait_until("it is paid back", || street.state(&path) == "refunded");
    cancel(&street.borrower).expect_status(200);
}

#[test]
fn events_are_believed_when_signed_and_count_once_in_whatever_order() {
    let street = street(500);
    let booking = street.booked("b", 1, 1);
    let payment = street.pay(&booking, "p");
    let path = format!("/api/v1/payments/{}", payment["id"]);
    let reference = payment["checkout"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let event = |id: &str, kind: &str| json!({"id": id, "type": kind, "payment": reference});

    street
        .tell(&event("e1", "payment.paid"), Some("t=1,v1=00"))
        .expect_status(401);
    street.tell(&json!({"id": "e1"}), None).expect_status(422);
    for _ in 0..3 {
        street
            .tell(&event("e1", "payment.paid"), None)
            .expect_status(202);
    }
    street
        .origin
        .wait_until("it is paid", || street.state(&path) == "paid");
    street
        .tell(&event("e0", "payment.failed"), None)
        .expect_status(202);
    street
        .tell(&event("e2", "payment.refunded"), None)
        .expect_status(202);
    street
        .origin
        .wait_until("it is paid back", || street.state(&path) == "refunded");
    street
        .tell(&event("e3", "payment.paid"), None)
        .expect_status(202);
    street
        .tell(&event("e4", "customer.created"), None)
        .expect_status(202);

    // Money for days that are another's by now goes back.
    let second = street.booked("c", 1, 1);
    let late = street.pay(&second, "q");
    street
        .origin
        .delete_as(&street.borrower, &second)
        .expect_status(200);
    let body = json!({"outcome": "paid"});
    street
        .origin
        .post(late["checkout"].as_str().expect("a path"), None, &body)
        .expect_status(202);
    let path = format!("/api/v1/payments/{}", late["id"]);
    street
        .origin
        .wait_until("it is paid back", || street.state(&path) == "refunded");
    assert_eq!(street.state(&second), "cancelled");
}

#[test]
fn an_event_about_nothing_known_is_kept_and_can_be_replayed() {
    let street = street(500);
    let staff = street.origin.register_as("staff", "dan@example.org");
    let dead = || {
        street
            .origin
            .get_as(&staff, "/api/v1/jobs/dead")
            .expect_status(200)
            .json()
    };
    let unknown = json!({"id": "e9", "type": "payment.paid", "payment": "nobody's"});
    street.tell(&unknown, None).expect_status(202);
    street
        .origin
        .wait_until("it is given up", || dead()["items"][0]["subject"] == "e9");
    let job = dead()["items"][0].clone();
    assert_eq!(
        (&job["attempts"], &job["reason"]),
        (&json!(3), &json!("there is no such payment"))
    );
    let replay = format!("/api/v1/jobs/{}/replay", job["id"]);
    street
        .origin
        .post(&replay, Some(&staff), &json!({}))
        .expect_status(202);
    street.origin.wait_until("it is given up again", || {
        dead()["items"][0]["subject"] == "e9"
    });
}
