//! Names that are purged, and who is asked for when.

use super::*;
use crate::cache::key::Key;
use crate::cache::{KeyRules, Url};
use http::{HeaderMap, HeaderName};
use proptest::prelude::*;

fn address(path: &str) -> Key {
    KeyRules::default().address(&Url::new("h", path.as_bytes()))
}

fn names(path: &str, tags: &[(&'static str, &'static str)], since: u64) -> Names {
    let fields = tags.iter().map(|(name, value)| {
        let value = http::HeaderValue::from_static(value);
        (HeaderName::from_static(name), value)
    });
    let answer = HeaderMap::from_iter(fields);
    Names::new("h", path.as_bytes(), &address(path), since).tagged(&answer)
}

#[test]
fn an_object_goes_by_each_of_its_names() {
    let object = || {
        let tags = [("surrogate-key", "one two"), ("cache-tag", "three, four")];
        names("/a/b/c", &tags, 0)
    };
    let gone_by = |name| {
        let purges = Purges::default();
        purges.purge(name, Force::Hard);
        purges.verdict(&object()) == Verdict::Gone
    };
    assert!(gone_by(Name::url(&address("/a/b/c"))));
    assert!(gone_by(Name::host("H")));
    for folder in ["/", "/a/", "/a/b/"] {
        assert!(gone_by(Name::folder("h", folder.as_bytes())), "{folder}");
    }
    for tag in ["one", "two", "three", "four"] {
        assert!(gone_by(Name::tag(tag.as_bytes())), "{tag}");
    }
    for spelling in ["/%61/b/c", "//a/./b//c", "/x/../a/b/c"] {
        assert!(gone_by(Name::url(&address(spelling))), "{spelling}");
    }
    assert!(gone_by(Name::folder("h", b"//a/%62/")));
    for other in [
        Name::url(&address("/a/b/")),
        Name::host("other"),
        Name::folder("h", b"/b/"),
        Name::tag(b"h"),
    ] {
        assert!(!gone_by(other));
    }
}

#[test]
fn what_is_asked_for_after_a_purge_is_kept() {
    let (purges, old) = (Purges::default(), names("/a", &[], 0));
    assert_eq!(purges.verdict(&old), Verdict::Kept);
    purges.purge(Name::host("h"), Force::Soft);
    assert_eq!(purges.verdict(&old), Verdict::Stale);
    let new = old.since(purges.now());
    assert_eq!(purges.verdict(&new), Verdict::Kept);
    purges.purge(Name::tag(b"another"), Force::Hard);
    assert_eq!(purges.verdict(&new), Verdict::Kept);
    purges.purge(Name::host("h"), Force::Hard);
    assert_eq!(purges.verdict(&new), Verdict::Gone);
}

#[test]
fn purges_beyond_the_bound_take_back_what_is_old() {
    let (purges, old) = (Purges::default(), names("/a", &[], 0));
    for n in 0..=MAX_PURGED {
        purges.purge(Name::tag(&n.to_le_bytes()), Force::Hard);
    }
    assert_eq!(purges.lock().purged.len(), MAX_PURGED);
    assert_eq!(purges.verdict(&old), Verdict::Gone);
    assert_eq!(purges.verdict(&old.since(purges.now())), Verdict::Kept);
}

/// As writes to one URL do.
#[test]
fn one_name_purged_again_and_again_takes_one_place() {
    let (purges, old) = (Purges::default(), names("/a", &[], 0));
    for _ in 0..3 * MAX_PURGED {
        purges.purge(Name::tag(b"t"), Force::Hard);
    }
    assert_eq!(purges.verdict(&old), Verdict::Kept);
    assert!(purges.lock().order.len() <= 2 * MAX_PURGED);
}

#[test]
fn only_what_cannot_have_been_purged_is_spared_before_its_tags_are_known() {
    let (purges, coming) = (Purges::default(), names("/a", &[], 0));
    purges.purge(Name::host("other"), Force::Hard);
    assert!(purges.spare(&coming));
    purges.purge(Name::tag(b"t"), Force::Hard);
    assert!(!purges.spare(&coming));
    let later = coming.since(purges.now());
    assert!(purges.spare(&later));
    purges.purge(Name::host("h"), Force::Soft);
    assert!(!purges.spare(&later));
}

#[test]
fn everything_is_everything_so_far() {
    let (purges, old) = (Purges::default(), names("/a", &[], 0));
    purges.everything();
    assert_eq!(purges.verdict(&old), Verdict::Gone);
    assert_eq!(purges.verdict(&old.since(purges.now())), Verdict::Kept);
}

/// They are in records that other versions wrote.
#[test]
fn names_are_the_same_for_ever() {
    assert_eq!(Name::tag(b"one").bits(), 13462407492367309641);
    assert_eq!(Name::tag(b"one").bits() & 1, 1);
    assert_eq!(Name::host("one").bits() & 1, 0);
}

proptest! {
    /// The model: an object is gone when, since it was asked for, one of its names was purged.
    #[test]
    fn as_the_model_says(
        steps in prop::collection::vec((0u8..4, any::<bool>(), any::<bool>()), 0..40),
    ) {
        let purges = Purges::default();
        let tags = [("cache-tag", "0"), ("cache-tag", "1")];
        let mut object = names("/", &tags, 0);
        let (mut hard, mut soft) = (false, false);
        for (tag, is_soft, refetch) in steps {
            purges.purge(Name::tag(tag.to_string().as_bytes()), if is_soft { Force::Soft } else { Force::Hard });
            if tag < 2 {
                if is_soft { soft = true } else { hard = true }
            }
            let expected = match (hard, soft) {
                (true, _) => Verdict::Gone,
                (_, true) => Verdict::Stale,
                _ => Verdict::Kept,
            };
            prop_assert_eq!(purges.verdict(&object), expected);
            if refetch {
                object = object.since(purges.now());
                (hard, soft) = (false, false);
            }
        }
    }
}
