//! Issues and their history; tasks and how many there are.

use crate::harness::Origin;
use serde_json::{Value, json};

const MOST_PHOTOS: usize = 10;

#[test]
fn an_issue_goes_from_report_to_closed_and_its_history_says_how() {
    let origin = Origin::start();
    let staff = origin.register_as("staff", "dan@example.org");
    let ada = origin.register("ada@example.org");
    let eve = origin.register("eve@example.org");
    let report = json!({"title": "Lamp", "text": "It is dark.", "place": "Mill Lane"});
    let created = origin
        .post("/api/v1/issues", Some(&ada), &report)
        .expect_status(201);
    assert_eq!(created.header("cache-tag-invalidate"), "issues");
    let path = created.header("location").to_owned();

    let change = |token: &str, state: &str| {
        let etag = origin.get(&path).header("etag").to_owned();
        let body = json!({"state": state, "note": format!("now {state}")});
        origin.patch(&path, token, Some(&etag), &body)
    };
    change(&eve, "closed").expect_status(403);
    change(&ada, "resolved").expect_status(409);
    change(&staff, "in_progress").expect_status(200);
    change(&staff, "resolved").expect_status(200);
    change(&ada, "open").expect_status(200);
    let closed = change(&ada, "closed").expect_status(200);
    assert_eq!(closed.header("cache-tag-invalidate"), "issues, issue-1");
    origin
        .patch(&path, &ada, Some("\"old\""), &json!({"state": "open"}))
        .expect_status(412);

    let history = closed.json()["history"].clone();
    let states: Vec<_> = history
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| &step["state"])
        .collect();
    assert_eq!(
        states,
        ["open", "in_progress", "resolved", "open", "closed"]
    );

    let bearer = format!("Bearer {ada}");
    let headers = [
        ("content-type", "image/png"),
        ("authorization", bearer.as_str()),
    ];
    let png = b"\x89PNG\r\n\x1a\n and more";
    let add_photo = || origin.call("POST", &format!("{path}/photos"), &headers, png);
    let mut shown = Vec::new();
    for _ in 0..MOST_PHOTOS {
        let issue = add_photo().expect_status(200).json();
        shown.push(issue["photo"].clone());
        assert_eq!(issue["photos"], json!(shown));
        origin
            .get(issue["photo"].as_str().expect("a path"))
            .expect_status(200);
    }
    let one_more = add_photo().expect_status(409);
    assert!(one_more.text().contains("at most 10 photos"));
    assert_eq!(origin.get(&path).json()["photos"], json!(shown));
    assert_eq!(origin.photo_files(), MOST_PHOTOS);

    let of = |state: &str| {
        let list = origin
            .get(&format!("/api/v1/issues?state={state}"))
            .expect_status(200)
            .json();
        list["items"].as_array().map(Vec::len)
    };
    assert_eq!((of("closed"), of("open")), (Some(1), Some(0)));
    origin.get("/api/v1/issues?state=lost").expect_status(400);
    let faulty = json!({"title": "", "listing": 0});
    origin
        .post("/api/v1/issues", Some(&ada), &faulty)
        .expect_status(422);
}

#[test]
fn tasks_are_listed_counted_and_changed_by_their_owners() {
    let origin = Origin::start();
    let ada = origin.register("ada@example.org");
    let eve = origin.register("eve@example.org");
    let add = |title: &str, list: &str, due: Value| {
        let task = json!({"title": title, "list": list, "due": due});
        let created = origin
            .post("/api/v1/tasks", Some(&ada), &task)
            .expect_status(201);
        created.header("location").to_owned()
    };
    let fence = add("Paint", "Fence", json!("2020-01-01"));
    add("Sand", "Fence", json!(null));
    add("Sow", "Garden", json!("2999-01-01"));

    let statistics = origin.get("/api/v1/tasks/statistics").expect_status(200);
    assert_eq!(
        statistics.header("cache-control"),
        "public, max-age=5, s-maxage=600"
    );
    assert_eq!(statistics.header("surrogate-key"), "tasks");
    let lists = json!([{"list": "Fence", "total": 2, "done": 0, "overdue": 1},
                       {"list": "Garden", "total": 1, "done": 0, "overdue": 0}]);
    assert_eq!(statistics.json()["lists"], lists);

    let etag = origin
        .get(&fence)
        .expect_status(200)
        .header("etag")
        .to_owned();
    let done = json!({"done": true});
    origin
        .patch(&fence, &eve, Some(&etag), &done)
        .expect_status(403);
    let changed = origin
        .patch(&fence, &ada, Some(&etag), &done)
        .expect_status(200);
    assert_eq!(changed.header("cache-tag-invalidate"), "tasks");
    origin
        .patch(&fence, &ada, Some(&etag), &done)
        .expect_status(412);
    let found = origin
        .get("/api/v1/tasks?list=Fence&done=true")
        .expect_status(200)
        .json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        origin.get("/api/v1/tasks/statistics").json()["lists"][0]["overdue"],
        0
    );

    origin.delete_as(&ada, &fence).expect_status(204);
    origin.get(&fence).expect_status(404);
    origin.get("/api/v1/tasks?done=perhaps").expect_status(400);
}
