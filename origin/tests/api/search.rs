//! Finding listings, and what a write says is out of date.

use crate::harness::Origin;
use serde_json::{Value, json};

fn thing(title: &str, category: &str, cents: i64, place: &str) -> Value {
    json!({"title": title, "text": "Good as new.", "category": category,
           "price_cents": cents, "place": place})
}

fn titles(origin: &Origin, query: &str) -> Vec<String> {
    let list = origin
        .get(&format!("/api/v1/listings?{query}"))
        .expect_status(200)
        .json();
    let items = list["items"].as_array().expect("a list").clone();
    items
        .iter()
        .map(|item| item["title"].as_str().expect("a title").to_owned())
        .collect()
}

fn neighbourhood(origin: &Origin) -> String {
    let token = origin.register("ada@example.org");
    for listing in [
        thing("Wooden ladder", "tools", 350, "Mill Lane"),
        thing("Café table", "garden", 0, "Lake Road"),
        thing("Red kayak", "sports", 2500, "Lake Road"),
        thing("Aluminium ladder", "tools", 600, "Lake Road"),
    ] {
        origin.lend(&token, &listing);
    }
    token
}

#[test]
fn words_places_prices_and_categories_narrow_what_is_found() {
    let origin = Origin::start();
    neighbourhood(&origin);
    for (query, found) in [
        ("q=ladder", &["Aluminium ladder", "Wooden ladder"][..]),
        ("q=WOODEN+ladd", &["Wooden ladder"]),
        ("q=cafe", &["Café table"]),
        ("q=ladder*%22+OR+kayak", &[]),
        ("q=lad&place=lake+road", &["Aluminium ladder"]),
        (
            "price_from=1&price_to=600",
            &["Aluminium ladder", "Wooden ladder"],
        ),
        ("category=sports", &["Red kayak"]),
        ("q=good&limit=1", &["Aluminium ladder"]),
    ] {
        assert_eq!(titles(&origin, query), found, "{query}");
    }

    let facets = origin
        .get("/api/v1/facets?q=ladder")
        .expect_status(200)
        .json();
    assert_eq!(facets["total"], 2);
    assert_eq!(
        facets["categories"],
        json!([{"value": "tools", "count": 2}])
    );
    assert_eq!(facets["places"].as_array().map(Vec::len), Some(2));
    let suggested = origin
        .get("/api/v1/suggestions?q=alum")
        .expect_status(200)
        .json();
    assert_eq!(suggested["items"], json!(["Aluminium ladder"]));
    assert_eq!(origin.get("/api/v1/suggestions").json()["items"], json!([]));
    origin
        .get("/api/v1/facets?from=2026-02-30&price_to=x")
        .expect_status(400);
}

#[test]
fn words_are_found_whatever_stands_between_them() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let things = [
        (
            "Drill/driver",
            &["driver", "Drill/driver", "drill driver"][..],
        ),
        ("Jack 3.5 mm, 2.5t", &["3.5", "2.5t", "jack 3"]),
        ("Router 802.11ac, 1,000.75 Mbit", &["802.11ac", "1,000.75"]),
        ("WD-40", &["WD-40", "40", "wd"]),
        ("Paper A4/A3", &["A3", "A4/A3"]),
        (
            "Book on Node.js and C#/.NET",
            &["Node.js", "js", "C#/.NET", "net"],
        ),
        (
            "Shares 50/50 of foo@bar.com",
            &["50/50", "foo@bar.com", "bar"],
        ),
        ("Manual v1.2.3", &["v1.2.3"]),
        ("\u{e1c}\u{e49}\u{e32}", &["\u{e1c}\u{e49}\u{e32}"]),
        (
            "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
            &["\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}"],
        ),
        ("\u{130}zmir map", &["\u{130}ZMIR", "izmir"]),
        ("Cafe\u{301}s", &["caf\u{e9}s", "cafe\u{301}", "cafes"]),
    ];
    for (title, _) in things {
        origin.lend(&token, &thing(title, "things", 0, "x"));
    }
    for (title, asked) in things {
        for words in asked {
            let words: String = words.bytes().map(|byte| format!("%{byte:02X}")).collect();
            assert_eq!(titles(&origin, &format!("q={words}")), [title], "{words}");
        }
    }
    // Where nothing asked for is a word, nothing has it.
    assert_eq!(titles(&origin, "q=!!!"), [""; 0]);
    assert_eq!(titles(&origin, "q=+").len(), things.len());
    let none = origin.get("/api/v1/facets?q=!!!").expect_status(200).json();
    assert_eq!(none["total"], 0);
}

#[test]
fn a_place_is_one_however_it_is_written() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    for (title, place) in [
        ("Ladder", "österreicher Straße"),
        ("Drill", "Österreicher STRASSE"),
        ("Kayak", "Osterreicher Strasse"),
    ] {
        origin.lend(&token, &thing(title, "things", 0, place));
    }
    for place in [
        "%C3%B6sterreicher+stra%C3%9Fe",
        "%C3%96STERREICHER+STRASSE",
        "%C3%96sterreicher+Stra%E1%BA%9Ee+",
    ] {
        let found = titles(&origin, &format!("place={place}"));
        assert_eq!(found, ["Drill", "Ladder"], "{place}");
    }
    let facets = origin.get("/api/v1/facets").expect_status(200).json();
    let counts = facets["places"].as_array().expect("a list").iter();
    let counts: Vec<_> = counts.map(|place| place["count"].clone()).collect();
    assert_eq!(counts, [2, 1]);

    // Where it is moved to, it is found.
    let path = "/api/v1/listings/3";
    let etag = origin.get(path).header("etag").to_owned();
    let moved = origin.patch(path, &token, Some(&etag), &json!({"place": "Ägäis"}));
    moved.expect_status(200);
    assert_eq!(titles(&origin, "place=%C3%84G%C3%84IS"), ["Kayak"]);
}

#[test]
fn the_next_page_keeps_the_question() {
    let origin = Origin::start();
    neighbourhood(&origin);
    let first = origin
        .get("/api/v1/listings?q=ladder&limit=1")
        .expect_status(200);
    let link = first.header("link").to_owned();
    let next = link
        .trim_start_matches('<')
        .split('>')
        .next()
        .expect("a target");
    let second = origin.get(next).expect_status(200).json();
    assert_eq!(second["items"][0]["title"], "Wooden ladder");
    assert_eq!(second["next"], json!(null));
}

#[test]
fn what_is_archived_is_found_no_more_and_writes_name_what_they_changed() {
    let origin = Origin::start();
    let token = neighbourhood(&origin);
    let list = origin.get("/api/v1/listings").expect_status(200);
    assert_eq!(list.header("surrogate-key"), "listings");
    let path = "/api/v1/listings/3";
    let shown = origin.get(path).expect_status(200);
    assert_eq!(shown.header("surrogate-key"), "listing-3");

    let etag = shown.header("etag").to_owned();
    let changed = origin.patch(path, &token, Some(&etag), &json!({"archived": true}));
    let changed = changed.expect_status(200);
    assert_eq!(
        changed.header("cache-tag-invalidate"),
        "listings, listing-3"
    );
    assert_eq!(titles(&origin, "q=kayak"), [""; 0]);
    assert_eq!(origin.get(path).expect_status(200).json()["archived"], true);

    let renamed = changed.header("etag").to_owned();
    let patch = json!({"archived": false, "title": "Blue canoe"});
    origin
        .patch(path, &token, Some(&renamed), &patch)
        .expect_status(200);
    assert_eq!(titles(&origin, "q=kayak"), [""; 0]);
    assert_eq!(titles(&origin, "q=canoe"), ["Blue canoe"]);
}
