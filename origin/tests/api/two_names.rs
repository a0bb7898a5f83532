//! One database under two names.

use crate::harness::Origin;
use crate::shards::{Shard, answered, listed, sharded};
use std::ffi::OsStr;

/// Another name of the same database.
fn respelled(url: &str) -> String {
    match url.strip_prefix("postgres://") {
        Some(rest) => format!("postgresql://{rest}"),
        None => url.replace("/lakh.sqlite", "/./lakh.sqlite"),
    }
}

#[test]
fn a_database_that_has_two_names_is_not_moved_into_itself() {
    let (main, far) = (Shard::new(), Shard::new());
    let database = main
        .postgres
        .clone()
        .map(|url| ["--database".to_owned(), url]);
    let mut origin = Origin::start_on(&database.into_iter().flatten().collect::<Vec<_>>());
    let file = format!("sqlite://{}/lakh.sqlite", origin.data().display());
    let main = main.postgres.clone().unwrap_or(file);
    let token = origin.register("ada@example.org");
    let before = answered(&origin, &token);
    assert_eq!(origin.stop("TERM"), Some(0));

    // As a former shard, and as a shard.
    for former in [main.clone(), respelled(&main)] {
        assert!(!origin.run(&["reshard".as_ref(), former.as_ref()]));
    }
    let itself = sharded(&[format!("..={}", respelled(&main))]);
    let arguments: Vec<&str> = itself.iter().map(String::as_str).collect();
    let refused = origin.refused_with(&arguments);
    assert!(
        refused.contains("two names lead to one database"),
        "{refused}"
    );
    assert!(!origin.run(&[itself[0].as_ref(), itself[1].as_ref(), "reshard".as_ref()]));
    // Two shards that are one; and a shard that is also said to be one no more.
    let (once, twice) = (far.url(), respelled(&far.url()));
    let two = sharded(&[
        "..h=main".into(),
        format!("h..p={once}"),
        format!("p..={twice}"),
    ]);
    let arguments: Vec<&str> = two.iter().map(String::as_str).collect();
    let refused = origin.refused_with(&arguments);
    assert!(
        refused.contains("two names lead to one database"),
        "{refused}"
    );
    let one = sharded(&["..h=main".into(), format!("h..={once}")]);
    let moving: Vec<&OsStr> = one.iter().map(AsRef::as_ref).collect();
    let moving = [&moving[..], &["reshard".as_ref()]].concat();
    let with_former = [&moving[..], &[twice.as_ref()]].concat();
    assert!(!origin.run(&with_former));

    origin.start_again();
    assert_eq!(listed(&origin, &token, 100), before);
    assert_eq!(origin.stop("TERM"), Some(0));
    assert!(origin.run(&moving));
    assert!(!origin.run(&with_former));
    let arguments: Vec<&str> = one.iter().map(String::as_str).collect();
    origin.start_again_with(&arguments);
    assert_eq!(listed(&origin, &token, 100), before);
}
