use super::*;
use crate::cache::key::{KeyRules, Scheme, Url};
use crate::cache::purge::{Force, Name, SURROGATE_KEY};
use http::HeaderValue;

fn key() -> Key {
    KeyRules::default().key("app", Scheme::Http, &Url::new("h", b"/"), &HeaderMap::new())
}

fn names(since: u64) -> Names {
    let address = KeyRules::default().address(&Url::new("h", b"/"));
    Names::new("h", b"/", &address, since)
}

fn head() -> Head {
    Head {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        freshness: Freshness {
            stored_at: 0,
            initial_age: 0,
            lifetime: 1,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            always_revalidate: false,
        },
        names: Names::default(),
        shared: true,
        key: key(),
        vary: vec![],
        length: None,
    }
}

fn lead(fills: &Fills<u32>) -> (Filling<u32>, Follower<u32>) {
    match fills.join(&key(), |_| true, names) {
        Joined::Leads(filling, follower) => (filling, follower),
        Joined::Follows(_) => panic!("somebody leads already"),
    }
}

fn follow(fills: &Fills<u32>) -> Follower<u32> {
    match fills.join(&key(), |_| true, names) {
        Joined::Follows(follower) => follower,
        Joined::Leads(..) => panic!("nobody leads"),
    }
}

async fn read(follower: &mut Follower<u32>) -> Result<Vec<u8>, error::Kind> {
    let mut body = Vec::new();
    while let Some(chunk) = follower.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[tokio::test]
async fn who_asks_after_an_answer_for_those_before_leads_anew() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let shared = false;
    filling.open(Opening::Head(Arc::new(Head { shared, ..head() })));
    let (later, _follower) = lead(&fills);
    filling.finish("old".into(), |_| {});
    assert_eq!(read(&mut first).await, Ok(b"old".to_vec()));
    drop(later);
    lead(&fills);
}

#[tokio::test]
async fn who_wants_it_anew_joins_only_while_nothing_has_come() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, _follower) = lead(&fills);
    assert!(matches!(
        fills.join(&key(), |_| false, names),
        Joined::Follows(_)
    ));
    filling.open(Opening::Head(Arc::new(head())));
    assert!(matches!(
        fills.join(&key(), |_| true, names),
        Joined::Follows(_)
    ));
    assert!(matches!(
        fills.join(&key(), |_| false, names),
        Joined::Leads(..)
    ));
}

#[tokio::test]
async fn what_changes_while_it_is_fetched_is_not_stored() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut follower) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    fills.invalidate(&key());
    let (_newer, _) = lead(&fills);
    filling.finish("old".into(), |outcome| {
        assert!(matches!(outcome, Outcome::NotKept));
    });
    assert_eq!(read(&mut follower).await, Ok(b"old".to_vec()));
    assert!(matches!(
        fills.join(&key(), |_| true, names),
        Joined::Follows(_)
    ));
}

#[tokio::test]
async fn who_comes_after_a_purge_of_it_does_not_join_and_the_old_is_not_stored() {
    let purges = Arc::<Purges>::default();
    let fills = Fills::new(1 << 20, u64::MAX, purges.clone());
    let (filling, _follower) = lead(&fills);
    purges.purge(Name::host("other"), Force::Hard);
    follow(&fills);
    let tagged = HeaderMap::from_iter([(SURROGATE_KEY, HeaderValue::from_static("mine"))]);
    let names = names(0).tagged(&tagged);
    filling.open(Opening::Head(Arc::new(Head { names, ..head() })));
    purges.purge(Name::tag(b"another"), Force::Hard);
    follow(&fills);
    purges.purge(Name::tag(b"mine"), Force::Soft);
    let (newer, _) = lead(&fills);
    assert_eq!(newer.names().asked_at(), 3);
    filling.finish("old".into(), |outcome| {
        assert!(matches!(outcome, Outcome::NotKept));
    });
}

#[tokio::test]
async fn before_its_tags_are_known_any_purged_tag_may_be_its_own() {
    let purges = Arc::<Purges>::default();
    let fills = Fills::new(1 << 20, u64::MAX, purges.clone());
    let (_filling, _follower) = lead(&fills);
    purges.purge(Name::tag(b"t"), Force::Hard);
    lead(&fills);
}

#[tokio::test]
async fn what_one_that_wants_it_anew_replaces_is_not_stored() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, _follower) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    assert!(!filling.is_outdated());
    assert!(matches!(
        fills.join(&key(), |_| false, names),
        Joined::Leads(..)
    ));
    assert!(filling.is_outdated());
}

#[tokio::test]
async fn only_what_nobody_waits_for_can_be_abandoned() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, follower) = lead(&fills);
    assert!(!filling.abandon());
    assert!(matches!(
        fills.join(&key(), |_| true, names),
        Joined::Follows(_)
    ));
    drop(follower);
    assert!(filling.abandon());
    lead(&fills);
}

#[tokio::test]
async fn interim_answers_come_first_and_to_all() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let mut second = follow(&fills);
    let early = |status| Interim {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: HeaderMap::new(),
    };
    filling.interim(early(102));
    filling.interim(early(103));
    filling.open(Opening::Head(Arc::new(head())));
    for follower in [&mut first, &mut second] {
        for status in [102, 103] {
            let Progress::Interim(interim) = follower.progress().await else {
                panic!("{status} first")
            };
            assert_eq!(interim.status.as_u16(), status);
        }
        assert!(matches!(follower.opened().await, Opened::Head(_)));
    }
}

#[tokio::test]
async fn who_has_the_whole_finds_it_stored() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut follower) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    let stored = std::sync::atomic::AtomicBool::new(false);
    let fetch = async {
        filling.push("one".into()).await;
        filling.finish("last".into(), |_| {
            stored.store(true, std::sync::atomic::Ordering::Relaxed)
        });
    };
    let client = async {
        assert_eq!(follower.chunk().await, Ok(Some("one".into())));
        assert_eq!(follower.chunk().await, Ok(Some("last".into())));
        assert!(stored.load(std::sync::atomic::Ordering::Relaxed));
    };
    tokio::join!(client, fetch);
}

#[tokio::test]
async fn all_read_the_same_whenever_they_come() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    assert!(matches!(first.opened().await, Opened::Head(_)));
    assert!(filling.push("one ".into()).await);
    assert_eq!(
        first.chunk().await,
        Ok(Some("one ".into())),
        "before the end has come"
    );
    let mut late = follow(&fills);
    let mut stored = None;
    filling.finish("two".into(), |outcome| {
        if let Outcome::Body(body) = outcome {
            stored = Some(body);
        }
    });
    assert_eq!(stored.as_deref(), Some(&b"one two"[..]));
    assert_eq!(read(&mut first).await, Ok(b"two".to_vec()));
    assert_eq!(read(&mut late).await, Ok(b"one two".to_vec()));
    lead(&fills);
}

#[tokio::test]
async fn a_large_body_is_whole_whatever_length_was_told() {
    let body: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
    for told in [body.len(), body.len() - 1, body.len() + 1, 300_000] {
        for (size, last) in [(7_000, 0), (7_000, 400), (70_000, 70_000)] {
            let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
            let (filling, mut follower) = lead(&fills);
            let length = Some(told as u64);
            filling.open(Opening::Head(Arc::new(Head { length, ..head() })));
            let (first, last) = body.split_at(body.len() - last);
            for chunk in first.chunks(size) {
                filling.push(Bytes::copy_from_slice(chunk)).await;
            }
            filling.finish(Bytes::copy_from_slice(last), |outcome| match outcome {
                Outcome::Body(stored) => assert!(stored == body),
                Outcome::NotKept => panic!("it is small enough"),
            });
            assert!(read(&mut follower).await == Ok(body.clone()));
        }
    }
}

#[tokio::test]
async fn a_broken_fill_breaks_all_and_frees_the_key() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let mut second = follow(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    filling.push("half".into()).await;
    filling.fail(error::Kind::Truncated);
    assert_eq!(read(&mut first).await, Err(error::Kind::Truncated));
    assert_eq!(read(&mut second).await, Err(error::Kind::Truncated));
    lead(&fills);
}

#[tokio::test]
async fn a_task_that_dies_fails_its_followers() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    drop(filling);
    assert!(matches!(
        first.opened().await,
        Opened::Failed(error::Kind::Truncated)
    ));
}

#[tokio::test]
async fn a_private_answer_is_the_leaders_alone() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let mut other = follow(&fills);
    filling.open(Opening::Private(Some(7)));
    drop(filling);
    assert!(matches!(other.opened().await, Opened::NotShared));
    assert!(matches!(first.opened().await, Opened::Mine(7)));
}

#[tokio::test]
async fn what_was_confirmed_for_one_alone_is_the_leaders() {
    let fills = Fills::<u32>::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let mut other = follow(&fills);
    let Head {
        status,
        headers,
        freshness,
        names,
        ..
    } = head();
    let body = Bytes::new();
    filling.open(Opening::Own(Arc::new(Object::new(
        status, headers, body, freshness, names,
    ))));
    assert!(matches!(other.opened().await, Opened::NotShared));
    assert!(matches!(first.opened().await, Opened::Object(_)));
}

#[tokio::test]
async fn a_slow_answer_does_not_take_the_place_of_one_asked_for_later() {
    let fills = Fills::<u32>::new(1 << 20, u64::MAX, Arc::default());
    let (older, _first) = lead(&fills);
    let shared = false;
    older.open(Opening::Head(Arc::new(Head { shared, ..head() })));
    let (newer, _second) = lead(&fills);
    assert!(older.is_outdated() && !newer.is_outdated());
}

#[tokio::test]
async fn a_write_outdates_fills_of_variants_too() {
    let fills = Fills::<u32>::new(1 << 20, u64::MAX, Arc::default());
    let variant = key().variant(1, &[http::header::ACCEPT_LANGUAGE], &HeaderMap::new());
    let filling = fills.lead(&variant, names).expect("nobody leads");
    fills.invalidate(&key());
    assert!(filling.is_outdated());
}

#[tokio::test]
async fn too_large_a_body_streams_within_a_window() {
    let fills = Fills::new(1 << 20, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let chunk = Bytes::from(vec![1; 1 << 19]);
    filling.open(Opening::Head(Arc::new(head())));
    let feed = async {
        for _ in 0..40 {
            assert!(filling.push(chunk.clone()).await);
            assert!(lock(&filling.fill.state).held <= WINDOW + (1 << 19));
        }
        let mut too_large = false;
        filling.finish(Bytes::new(), |outcome| {
            too_large = matches!(outcome, Outcome::NotKept)
        });
        too_large
    };
    let (too_large, body) = tokio::join!(feed, read(&mut first));
    assert!(too_large);
    assert_eq!(body.map(|b| b.len()), Ok(40 << 19));
}

#[tokio::test]
async fn nobody_joins_a_body_that_lost_its_beginning_and_nobody_left_ends_it() {
    let fills = Fills::new(1, u64::MAX, Arc::default());
    let (filling, first) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    assert!(filling.push("too large".into()).await);
    let (_, _other) = lead(&fills);
    drop(first);
    assert!(!filling.push("x".into()).await);
}

/// What becomes of a body of this length. `told`: its length is known before it comes.
async fn kept(fills: &Fills<u32>, length: usize, told: bool) -> (bool, Follower<u32>) {
    let (filling, mut follower) = lead(fills);
    let length_told = told.then_some(length as u64);
    filling.open(Opening::Head(Arc::new(Head {
        length: length_told,
        ..head()
    })));
    let feed = async {
        for _ in 0..4 {
            assert!(filling.push(vec![1; length / 4].into()).await);
        }
        let mut kept = false;
        filling.finish(Bytes::new(), |outcome| {
            kept = matches!(outcome, Outcome::Body(_))
        });
        kept
    };
    let (kept, body) = tokio::join!(feed, read(&mut follower));
    assert_eq!(body.map(|body| body.len()), Ok(length));
    (kept, follower)
}

#[tokio::test]
async fn bodies_of_fills_share_a_bound_for_as_long_as_somebody_reads_them() {
    for told in [false, true] {
        let fills = Fills::new(8 << 20, 10 << 20, Arc::default());
        let (first, reader) = kept(&fills, 6 << 20, told).await;
        let (second, _) = kept(&fills, 6 << 20, told).await;
        let (small, _) = kept(&fills, 2 << 20, told).await;
        assert_eq!((first, second, small), (true, false, true));
        drop(reader);
        let (third, _) = kept(&fills, 6 << 20, told).await;
        assert!(third);
    }
}

/// A body too large to store, twenty half windows long.
async fn feed_past_the_bound(filling: Filling<u32>) {
    for _ in 0..20 {
        assert!(filling.push(Bytes::from(vec![1; 1 << 19])).await);
        assert!(lock(&filling.fill.state).held <= WINDOW + (1 << 19));
    }
    filling.finish(Bytes::new(), |_| {});
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_does_not_hold_up_the_others_for_long() {
    let fills = Fills::new(1, u64::MAX, Arc::default());
    let (filling, mut stuck) = lead(&fills);
    let mut other = follow(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    let began = tokio::time::Instant::now();
    let ((), body) = tokio::join!(feed_past_the_bound(filling), read(&mut other));
    assert_eq!(body.map(|b| b.len()), Ok(20 << 19));
    assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
    assert_eq!(stuck.chunk().await, Err(error::Kind::Truncated));
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_waited_for_where_nobody_else_waits() {
    let fills = Fills::new(1, u64::MAX, Arc::default());
    let (filling, mut slow) = lead(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    let read = async {
        let mut length = 0;
        while let Some(chunk) = slow.chunk().await.expect("it is waited for") {
            length += chunk.len();
            tokio::time::sleep(PATIENCE * 3).await;
        }
        length
    };
    let ((), length) = tokio::join!(feed_past_the_bound(filling), read);
    assert_eq!(length, 20 << 19);
}

#[tokio::test(start_paused = true)]
async fn two_who_read_in_step_are_both_waited_for() {
    let fills = Fills::new(1, u64::MAX, Arc::default());
    let (filling, mut first) = lead(&fills);
    let mut second = follow(&fills);
    filling.open(Opening::Head(Arc::new(head())));
    let read = async {
        let mut length = 0;
        while let Some(chunk) = first.chunk().await.expect("it is waited for") {
            length += chunk.len();
            let same = second.chunk().await.expect("so is the other");
            assert_eq!(same, Some(chunk));
            tokio::time::sleep(PATIENCE / 2).await;
        }
        length
    };
    let ((), length) = tokio::join!(feed_past_the_bound(filling), read);
    assert_eq!(length, 20 << 19);
}
