//! What is backed up comes back as it was, identifiers and all.

use crate::harness::Origin;
use serde_json::{Value, json};
use std::fs;

pub fn thing(title: &str) -> Value {
    json!({"title": title, "text": "Good as new.", "category": "tools", "price_cents": 1, "place": "x"})
}

#[test]
fn what_is_backed_up_can_be_restored_into_an_empty_database_only() {
    let (origin, other) = (Origin::start(), Origin::start());
    let token = origin.register("ada@example.org");
    for title in ["Ladder", "Drill"] {
        origin.lend(&token, &thing(title));
    }
    origin
        .delete_as(&token, "/api/v1/listings/1")
        .expect_status(204);
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));
    // Never over another one.
    assert!(!origin.run(&["backup".as_ref(), file.as_os_str()]));

    let before = other.get("/api/v1/listings").json()["items"].clone();
    assert_eq!(before, json!([]));
    assert!(other.run(&["restore".as_ref(), file.as_os_str()]));
    assert!(!other.run(&["restore".as_ref(), file.as_os_str()]));
    let listing = "/api/v1/listings/2";
    assert_eq!(other.get(listing).json(), origin.get(listing).json());
    assert_eq!(
        other.get("/api/v1/listings?q=drill").json()["items"][0]["id"],
        2
    );

    // Ada is known there, with her password, and what comes next gets the next number.
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let signed_in = other
        .post("/api/v1/login", None, &login)
        .expect_status(200)
        .json();
    let token = signed_in["token"].as_str().expect("a token");
    assert_eq!(other.lend(token, &thing("Saw")), "/api/v1/listings/3");
}

#[test]
fn a_backup_that_was_cut_off_is_not_restored() {
    let (origin, other) = (Origin::start(), Origin::start());
    origin.register("ada@example.org");
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));
    let whole = fs::read_to_string(&file).expect("a backup");
    let lines: Vec<_> = whole.lines().collect();
    let last = lines.len() - 1;
    let without_end = lines[..last].join("\n");
    let without_row = [&lines[..last - 1], &lines[last..]].concat().join("\n");
    for cut in [without_end, without_row] {
        fs::write(&file, cut).expect("it is ours");
        assert!(!other.run(&["restore".as_ref(), file.as_os_str()]));
    }
    fs::write(&file, whole).expect("it is ours");
    assert!(other.run(&["restore".as_ref(), file.as_os_str()]));
}
