//! Strangers who meet: who is offered a place, who sees that, and what comes of rounds that run beside each other.

use crate::harness::{Origin, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const MATCHES: &str = "/api/v1/matches";

/// That many hours after tomorrow's beginning.
fn hour(hours: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later");
    let days = now.as_secs().cast_signed() / 86_400 + 1;
    let day = OffsetDateTime::UNIX_EPOCH + Duration::days(days) + Duration::hours(hours);
    day.format(&Rfc3339).expect("a moment")
}

fn event(title: &str, topics: &[&str], capacity: i64, (from, to): (i64, i64)) -> Value {
    json!({"title": title, "text": "Come along.", "topics": topics, "place": "Mill Lane", "latitude": 52.5,
           "longitude": 13.4, "from": hour(from), "to": hour(to), "capacity": capacity})
}

/// Somebody new who is free from hour 0 to hour 100; latitudes are 111 km apart.
fn neighbour(origin: &Origin, name: &str, interests: &[&str], latitude: f64) -> String {
    let token = origin.register(&format!("{name}@example.org"));
    let profile = json!({"interests": interests, "latitude": latitude, "longitude": 13.4, "distance_km": 10,
                         "free": [{"from": hour(0), "to": hour(100)}]});
    let put = origin.put_as(&token, "/api/v1/profile", &profile);
    put.expect_status(200);
    token
}

fn invite(origin: &Origin, token: &str, event: &Value) -> String {
    let made = origin.post("/api/v1/events", Some(token), event);
    made.expect_status(201).header("location").to_owned()
}

fn items(origin: &Origin, token: &str, path: &str) -> Vec<Value> {
    let list = origin.get_as(token, path).expect_status(200).json();
    list["items"].as_array().expect("a list").clone()
}

fn answer(origin: &Origin, token: &str, one: &Value, state: &str) -> Reply {
    let path = format!("{MATCHES}/{}", one["id"]);
    origin.patch(&path, token, None, &json!({ "state": state }))
}

#[test]
fn places_go_to_who_shares_most_and_a_declined_one_to_somebody_else() {
    let origin = Origin::start();
    let ada = origin.register_as("admin", "ada@example.org");
    let bob = neighbour(&origin, "bob", &["chess", "walks"], 52.51);
    let fay = neighbour(&origin, "fay", &["chess"], 52.5);
    let gus = neighbour(&origin, "gus", &["walks"], 52.52);
    let far = neighbour(&origin, "far", &["chess", "walks"], 53.5);
    let eve = neighbour(&origin, "eve", &["music"], 52.5);
    let topics = ["chess", "walks"];
    // Nobody is free for this one.
    invite(&origin, &ada, &event("Late", &topics, 2, (99, 101)));
    let chess = invite(&origin, &ada, &event("Chess", &topics, 2, (1, 3)));

    let of = |token: &str| items(&origin, token, MATCHES);
    let states =
        |token: &str| -> Vec<Value> { of(token).iter().map(|one| one["state"].clone()).collect() };
    origin.wait_until("two are offered a place", || !of(&fay).is_empty());
    let offered = of(&bob)[0].clone();
    assert_eq!(
        (&offered["title"], &offered["shared"]),
        (&json!("Chess"), &json!(2))
    );
    assert!(of(&gus).is_empty());

    // It is theirs and the organiser's to see, and theirs to answer.
    let path = format!("{MATCHES}/{}", offered["id"]);
    let names = |token: &str| origin.get_as(token, &format!("{chess}/matches")).status;
    assert_eq!((names(&ada), names(&bob)), (200, 403));
    origin.get_as(&ada, &path).expect_status(200);
    origin.get_as(&eve, &path).expect_status(404);
    answer(&origin, &ada, &offered, "accepted").expect_status(404);
    answer(&origin, &bob, &offered, "offered").expect_status(422);
    answer(&origin, &fay, &of(&fay)[0], "accepted").expect_status(200);
    answer(&origin, &bob, &offered, "accepted").expect_status(200);
    answer(&origin, &bob, &offered, "declined").expect_status(200);
    answer(&origin, &bob, &offered, "accepted").expect_status(409);
    origin.wait_until("his place is another's", || !of(&gus).is_empty());
    assert_eq!(
        (states(&bob), states(&fay)),
        (vec![json!("declined")], vec![json!("accepted")])
    );

    let audit = items(&origin, &ada, "/api/v1/audit?limit=100");
    let offers = |person: &Value| {
        let subject = json!(chess.replace("/api/v1/events/", "event "));
        let is_it = |entry: &&Value| entry["action"] == "offer" && entry["subject"] == subject;
        let to = |entry: &&Value| entry["detail"]["person"] == *person;
        audit.iter().filter(is_it).filter(to).count()
    };
    assert_eq!(offers(&offered["person"]), 1);

    // Who wants no more gives back what is not accepted; what is cancelled is not answered.
    origin.delete_as(&gus, "/api/v1/profile").expect_status(204);
    origin.get_as(&gus, "/api/v1/profile").expect_status(404);
    assert_eq!(states(&gus), ["declined"]);
    assert!(of(&far).is_empty() && of(&eve).is_empty());
    origin.delete_as(&bob, &chess).expect_status(403);
    let cancelled = origin.delete_as(&ada, &chess).expect_status(200).json();
    assert_eq!(cancelled["cancelled"], true);
    answer(&origin, &fay, &of(&fay)[0], "declined").expect_status(409);
    let listed = origin.get("/api/v1/events").expect_status(200).json();
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
}

#[test]
fn every_fault_of_a_profile_and_an_event_is_named() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let faults = |reply: Reply| -> Vec<Value> {
        let problem = reply.expect_status(422).json();
        let faults = problem["errors"].as_array().expect("a list").iter();
        faults.map(|fault| fault["field"].clone()).collect()
    };
    let profile = json!({"interests": ["Chess"], "latitude": 91, "free": [{"from": "now"}]});
    let put = origin.put_as(&token, "/api/v1/profile", &profile);
    let named = [
        "interests/0",
        "latitude",
        "longitude",
        "distance_km",
        "free/0/from",
        "free/0/to",
    ];
    assert_eq!(faults(put), named);
    let mut wrong = event("", &[], 0, (1, 3));
    wrong["more"] = json!(1);
    let made = origin.post("/api/v1/events", Some(&token), &wrong);
    assert_eq!(faults(made), ["title", "topics", "capacity", "more"]);

    let good = event("Chess", &["chess"], 1, (1, 2));
    (0..20).for_each(|_| drop(invite(&origin, &token, &good)));
    origin
        .post("/api/v1/events", Some(&token), &good)
        .expect_status(409);
    origin
        .post("/api/v1/events", None, &good)
        .expect_status(401);
}

#[test]
fn rounds_of_two_processes_one_of_which_is_killed_offer_each_place_once() {
    let mut origin = Origin::start();
    let survivor = origin.start_another();
    let organiser = origin.register("ada@example.org");
    let people: Vec<String> = (0..10)
        .map(|n| neighbour(&origin, &format!("neighbour{n}"), &["chess"], 52.5))
        .collect();
    // Two and two at the same time, two places each.
    let events: Vec<String> = [(1, 3), (2, 4), (10, 12), (11, 13)]
        .into_iter()
        .zip([&*origin, &*survivor].into_iter().cycle())
        .map(|(time, client)| {
            let made = client.post(
                "/api/v1/events",
                Some(&organiser),
                &event("A", &["chess"], 2, time),
            );
            made.expect_status(201).header("location").to_owned()
        })
        .collect();
    origin.kill();
    let taken = |event: &String| items(&survivor, &organiser, &format!("{event}/matches"));
    let counts = || {
        events
            .iter()
            .map(|event| taken(event).len())
            .collect::<Vec<_>>()
    };
    survivor.wait_until("all places are offered", || counts() == [2; 4]);
    // One more round sees all that there is; who has nothing yet comes first, then the others.
    let last = invite(&survivor, &organiser, &event("B", &["chess"], 9, (20, 22)));
    survivor.wait_until("all its places are offered", || taken(&last).len() == 9);
    assert_eq!(counts(), [2; 4]);

    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for one in events.iter().flat_map(taken) {
        *places.entry(one["person"].to_string()).or_default() += 1;
    }
    assert_eq!(places.into_values().collect::<Vec<_>>(), [1; 8]);
    let each: Vec<usize> = people
        .iter()
        .map(|token| items(&survivor, token, MATCHES).len())
        .collect();
    assert_eq!(each.iter().sum::<usize>(), 17);
    assert!(each.iter().all(|count| (1..=2).contains(count)), "{each:?}");
}
