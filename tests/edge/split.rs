//! One route's requests shared out among upstreams.

use crate::harness::{Answer, Edge, Origin, get};
use std::collections::HashSet;

const CANARY: &str = "
upstreams: {blue: {servers: [$0]}, green: {servers: [$1], retry: {attempts: 1}}}
routes:
- name: all
  match: {path: /*}
  upstream: {blue: 80%, green: 20%}
  split_key: cookie:user
  rollback: {errors: 50%, requests: 10, interval: 1m}
";

fn side(edge: &Edge, user: usize) -> (u16, String) {
    let reply = get("/")
        .with("cookie", format!("a=b; user={user}"))
        .send(edge);
    (reply.status, reply.text())
}

#[test]
fn sides_get_their_shares_and_a_user_stays_on_one() {
    let (blue, green) = (Origin::saying("blue"), Origin::saying("green"));
    let edge = Edge::start(CANARY, &[&blue, &green]);

    let sides: Vec<_> = (0..200).map(|user| side(&edge, user).1).collect();
    let greens = sides.iter().filter(|side| *side == "green").count();

    assert!((20..=60).contains(&greens), "{greens} of 200");
    assert!((0..200).all(|user| side(&edge, user).1 == sides[user]));
    assert_eq!(edge.metric("lakh_split_share{upstream=\"green\"}"), 20.0);
}

#[test]
fn a_side_that_fails_is_rolled_back_and_says_so_until_it_is_restored() {
    let blue = Origin::saying("blue");
    let green = Origin::start(|_| Answer::of(500, &[], "broken"));
    let edge = Edge::start(CANARY, &[&blue, &green]);

    let failed = (0..300).filter(|user| side(&edge, *user).0 == 500).count();

    assert_eq!(failed, 10, "as many as prove it");
    assert_eq!(edge.metric("lakh_split_share{upstream=\"green\"}"), 0.0);
    assert_eq!(edge.metric("lakh_split_share{upstream=\"blue\"}"), 100.0);
    assert!(edge.stderr().contains("rolled back"), "{}", edge.stderr());
    let page = edge
        .admin("/api/v1/upstreams")
        .expect("the admin listener is open")
        .json();
    assert_eq!(page["splits"][0]["percent"]["green"], 0.0);

    edge.reload(&CANARY.replace("{servers: [$0]}", "{servers: [$0], slow_start: 1s}"));
    let users: HashSet<_> = (0..50).map(|user| side(&edge, user).1).collect();
    assert_eq!(users.len(), 1, "a reload does not bring it back");

    let restored = edge.command(&["restore", "all"]);
    assert!(restored.status.success(), "{restored:?}");
    assert!((0..50).any(|user| side(&edge, user).0 == 500));
}

#[test]
fn each_side_has_its_own_place_in_the_cache() {
    let say = |text: &'static str| {
        Origin::start(move |_| Answer::of(200, &[("cache-control", "max-age=60")], text))
    };
    let (blue, green) = (say("blue"), say("green"));
    let edge = Edge::start(
        "
upstreams: {blue: {servers: [$0]}, green: {servers: [$1]}}
caches: {pages: {memory: 1MiB}}
routes:
- name: all
  match: {path: /*}
  upstream: {blue: 50%, green: 50%}
  split_key: cookie:user
  cache: {in: pages}
",
        &[&blue, &green],
    );

    let sides: HashSet<_> = (0..30).map(|user| side(&edge, user).1).collect();

    assert_eq!(sides.len(), 2);
    assert_eq!((blue.count(), green.count()), (1, 1));
}
