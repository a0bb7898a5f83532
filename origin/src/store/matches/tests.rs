//! Rounds beside each other, and places that nobody answers for.

use super::*;
use crate::domain::event::Draft;
use crate::domain::job::Lane;
use crate::domain::matching::pairs;
use crate::domain::page::Stamp;
use crate::domain::profile::Profile;
use crate::settings::Settings;
use clap::Parser;

const NOW: Moment = Moment(1_780_272_000_000);
const DAY: i64 = 86_400;

/// With people and an event that has one place, in ten days.
async fn street(folder: &str, people: &[&str]) -> (Store, Vec<i64>, i64) {
    let settings = Settings::parse_from(["lakh-origin", "--data", folder]);
    let store = Store::open(&settings).await.expect("a database");
    let (from, to) = (NOW.plus_seconds(10 * DAY), NOW.plus_seconds(11 * DAY));
    let by = By::itself(NOW);
    let profile = json!({"interests": ["chess"], "latitude": 0, "longitude": 0, "distance_km": 1,
                         "free": [{"from": from, "to": to}]});
    let profile = Profile::read(profile).expect("a good profile");
    let mut known = Vec::new();
    for name in people {
        let email = format!("{name}@example.org");
        let made = store.insert_user(name, &email, "", by).await;
        let id = made.expect("it is written").expect("it is free").id;
        let put = store.put_profile(id, &profile, by).await;
        put.expect("it is written");
        known.push(id);
    }
    let draft = json!({"title": "Chess", "text": "x", "topics": ["chess"], "place": "x", "latitude": 0,
                       "longitude": 0, "from": from, "to": to, "capacity": 1});
    let draft = Draft::read(draft, NOW).expect("a good event");
    let made = store.insert_event(known[0], &draft, by).await;
    let event = made.expect("it is written").expect("it is the first");
    (store, known, event)
}

async fn claim(store: &Store, now: Moment) -> Claim {
    let mut writing = store.write().await.expect("a transaction");
    let asked = enqueue_round(&mut writing, now).await;
    asked.expect("it is written");
    writing.commit().await.expect("it is written");
    let later = now.plus_seconds(60);
    let claim = store
        .claim(Lane::Work, later.plus_seconds(DAY), later)
        .await;
    claim.expect("it is read").expect("a round is due")
}

async fn offer(store: &Store, claim: &Claim, round: &Round, now: Moment) {
    let found = pairs(&round.people, &round.events, &round.known, usize::MAX);
    let offered = store.offer(claim, round, &found, true, now).await;
    offered.expect("it is written");
}

async fn places(store: &Store, event: i64) -> Vec<(i64, State)> {
    let found = store.matches_at(event, i64::MAX, 100).await;
    let found = found.expect("they are read").into_iter();
    found.map(|one| (one.person, one.state)).collect()
}

#[tokio::test]
async fn rounds_that_saw_the_same_offer_it_once_and_who_lost_the_job_offers_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().to_str().expect("a plain name");
    let (store, people, event) = street(folder, &["ada", "bob", "eve"]).await;
    let first = claim(&store, NOW).await;
    let second = claim(&store, NOW.plus_seconds(100)).await;
    let rounds = [store.round(NOW).await, store.round(NOW).await];
    let [one, other] = rounds.map(|round| round.expect("it is read"));
    let now = NOW.plus_seconds(200);

    let gone = Claim {
        id: first.id,
        kind: first.kind,
        subject: first.subject.clone(),
        attempt: first.attempt - 1,
    };
    offer(&store, &gone, &one, now).await;
    assert_eq!(places(&store, event).await, []);
    offer(&store, &first, &one, now).await;
    offer(&store, &second, &other, now).await;
    assert_eq!(places(&store, event).await, [(people[1], State::Offered)]);
}

#[tokio::test]
async fn a_place_that_nobody_answers_for_is_offered_to_somebody_else() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().to_str().expect("a plain name");
    let (store, people, event) = street(folder, &["ada", "bob", "eve"]).await;
    let round = store.round(NOW).await.expect("it is read");
    offer(&store, &claim(&store, NOW).await, &round, NOW).await;
    for (seconds, state) in [(0, State::Offered), (1, State::Declined)] {
        let now = NOW.plus_seconds(OFFER_SECONDS + seconds);
        store.sweep_matches(now).await.expect("it is swept");
        assert_eq!(places(&store, event).await, [(people[1], state)]);
    }
    let noted = store.audit(Stamp::LAST, 1).await.expect("it is read");
    let noted = noted.first().expect("an entry");
    assert_eq!((noted.action.as_str(), noted.user_id), ("answer", None));
    assert_eq!(noted.detail, json!({ "state": "declined" }));
    let now = NOW.plus_seconds(4 * DAY);
    let round = store.round(now).await.expect("it is read");
    offer(&store, &claim(&store, now).await, &round, now).await;
    let expected = [(people[2], State::Offered), (people[1], State::Declined)];
    assert_eq!(places(&store, event).await, expected);
}
