//! Tables that people take along.

use crate::bookings::ahead;
use crate::harness::{Origin, Reply};
use serde_json::json;

fn made(origin: &Origin, token: &str, about: &str) -> String {
    let asked = origin.post("/api/v1/exports", Some(token), &json!({"about": about}));
    let path = asked.expect_status(202).header("location").to_owned();
    let state = || origin.get_as(token, &path).expect_status(200).json()["state"].clone();
    origin.wait_until("it is made", || state() == "done");
    path
}

fn taken(origin: &Origin, token: &str, path: &str) -> Reply {
    origin
        .get_as(token, &format!("{path}/csv"))
        .expect_status(200)
}

#[test]
fn somebody_takes_their_bookings_along_and_nobody_else_does() {
    let origin = Origin::start();
    let owner = origin.register("ada@example.org");
    let borrower = origin.register("bob@example.org");
    let thing = json!({"title": "=SUM(A1), \"Tent\"", "text": "x", "category": "travel",
                       "price_cents": 500, "place": "x"});
    let listing = origin.lend(&owner, &thing);
    let listing: i64 = listing
        .rsplit('/')
        .next()
        .and_then(|id| id.parse().ok())
        .expect("a number");
    let day = ahead(1);
    let wish = json!({"listing": listing, "from": day, "to": day});
    let booked = origin
        .post_once("/api/v1/bookings", &borrower, "1", &wish)
        .expect_status(201);
    let booking = booked.json()["id"].clone();

    let path = made(&origin, &borrower, "bookings");
    let export = taken(&origin, &borrower, &path);
    assert!(
        export
            .header("content-disposition")
            .starts_with("attachment;")
    );
    let expected = format!(
        "booking,listing,title,role,from,to,state,price_cents\r\n\
         {booking},{listing},\"'=SUM(A1), \"\"Tent\"\"\",borrower,{day},{day},held,500\r\n"
    );
    assert_eq!(export.text(), expected);
    origin.get_as(&owner, &path).expect_status(404);
    origin
        .get_as(&owner, &format!("{path}/csv"))
        .expect_status(404);
    let theirs = made(&origin, &owner, "bookings");
    assert!(taken(&origin, &owner, &theirs).text().contains(",owner,"));
}

#[test]
fn the_staff_sees_what_happened_by_day_and_old_exports_go() {
    let origin = Origin::start();
    let staff = origin.register_as("staff", "ada@example.org");
    let other = origin.register("bob@example.org");
    let about = json!({"about": "analytics"});
    origin
        .post("/api/v1/exports", Some(&other), &about)
        .expect_status(403);
    let wrong = json!({"about": "money"});
    origin
        .post("/api/v1/exports", Some(&other), &wrong)
        .expect_status(422);
    let thing =
        json!({"title": "Tent", "text": "x", "category": "c", "price_cents": 0, "place": "x"});
    origin.lend(&other, &thing);

    let first = made(&origin, &staff, "analytics");
    let export = taken(&origin, &staff, &first).text();
    let mut sums = [0; 4];
    for line in export.lines().skip(1) {
        let numbers = line
            .split(',')
            .skip(1)
            .map(|cell| cell.parse::<u64>().expect("a number"));
        sums.iter_mut()
            .zip(numbers)
            .for_each(|(sum, number)| *sum += number);
    }
    assert_eq!(sums, [2, 1, 0, 0], "{export}");

    let rest: Vec<String> = (0..10).map(|_| made(&origin, &staff, "bookings")).collect();
    origin.get_as(&staff, &first).expect_status(404);
    origin.get_as(&staff, &rest[0]).expect_status(200);
}
