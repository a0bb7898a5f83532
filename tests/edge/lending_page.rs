//! The application's page through the edge, in a real browser.

use crate::harness::{Browser, Edge, eventually, get, post};
use crate::images::{jpeg, red_and_blue};
use crate::lending::{lending, send, thing};
use serde_json::Value;
use std::fs;

fn photo() -> Vec<u8> {
    jpeg(&red_and_blue(1600, 1200))
}

/// Something lent through the API, with a photo.
fn lend(edge: &Edge, token: &str, title: &str) {
    let listing = send(edge, "/api/v1/listings", Some(token), &thing(title)).expect(201);
    post(&format!("{}/photos", listing.the("location")), photo())
        .with("content-type", "image/jpeg")
        .with("authorization", format!("Bearer {token}"))
        .send(edge)
        .expect(201);
}

/// The address of the picture beside that title, once it is shown.
fn picture(browser: &mut Browser, title: &str) -> String {
    let shown = format!(
        "(() => {{ const card = [...document.querySelectorAll('article')]
           .find((card) => card.innerText.includes({title:?}));
         const picture = card?.querySelector('img');
         picture?.scrollIntoView();
         // A busy machine may have said so.
         if (picture?.complete && picture.naturalWidth === 0) picture.src = picture.src;
         return picture?.complete && picture.naturalWidth > 0 ? picture.currentSrc : ''; }})()"
    );
    let mut address = Value::Null;
    eventually("the picture is shown", || {
        address = browser.eval(&shown);
        address != ""
    });
    address.as_str().expect("text").to_owned()
}

/// A photo is a JPEG of another size; what the browser got was made for it.
fn is_made_by_the_edge(browser: &mut Browser, edge: &Edge, address: &str) {
    assert!(address.contains("?preset="), "{address}");
    let made = browser.got().into_iter().any(|(url, status, media_type)| {
        let is_new = media_type == "image/webp" || media_type == "image/avif";
        url == address && status == 200 && is_new
    });
    assert!(made, "{address}: {:?}", browser.got());
    let path = address.split_once('?').map_or(address, |(path, _)| path);
    let path = path.trim_start_matches(&format!("http://{}", edge.web));
    let original = get(path).send(edge).expect(200);
    assert_eq!(original.the("content-type"), "image/jpeg");
}

fn fill(browser: &mut Browser, name: &str, text: &str) {
    browser.eval(&format!("document.querySelector('[name={name}]').focus()"));
    browser.write(text);
}

#[test]
fn it_lists_things_with_photos_from_the_edge_and_takes_another() {
    let (edge, token) = lending();
    lend(&edge, &token, "A ladder");
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", edge.web));
    let ladder = picture(&mut browser, "A ladder");
    is_made_by_the_edge(&mut browser, &edge, &ladder);

    let file = edge.dir.join("kayak.jpg");
    fs::write(&file, photo()).expect("the folder is ours");
    browser.eval("document.querySelector('summary').click()");
    for (name, text) in [
        ("title", "A <b>kayak</b>"),
        ("price", "12,50"),
        ("place", "Mill Lane"),
        ("text", "Red."),
        ("name", "Bob"),
        ("email", "bob@example.org"),
        ("password", "battery staple"),
    ] {
        fill(&mut browser, name, text);
    }
    browser.choose("[name=photo]", &file);
    browser.eval("document.querySelector('form button').click()");
    // What people write is text, and the page is not the one that was stored before.
    eventually("the page shows it", || {
        browser.text("main").contains("A <b>kayak</b>")
    });
    assert!(browser.text("main").contains("€ 12.50 a day"));
    let kayak = picture(&mut browser, "A <b>kayak</b>");
    assert_ne!(kayak, ladder);
    is_made_by_the_edge(&mut browser, &edge, &kayak);
    picture(&mut browser, "A ladder");

    let errors = browser.errors();
    let bad = errors
        .iter()
        .filter(|error| !error.contains("status of 503"));
    assert_eq!(bad.collect::<Vec<_>>(), [""; 0]);
    let own = format!("http://{}/", edge.web);
    for url in browser.asked() {
        assert!(url.starts_with(&own) || url == "about:blank", "{url}");
    }
}
