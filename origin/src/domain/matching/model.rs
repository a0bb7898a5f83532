//! Small worlds, and a second reading of the rules that tries everything: of all that could be offered at once, what
//! comes first.

use super::*;
use crate::domain::event::Draft;
use proptest::prelude::*;
use serde_json::json;

const NOW: Moment = Moment(1_780_272_000_000);
const TOPICS: [&str; 3] = ["chess", "music", "walks"];

#[derive(Debug, Clone)]
struct World {
    people: Vec<Person>,
    events: Vec<Event>,
    known: Vec<Known>,
}

fn hours(from: i64, to: i64) -> Span {
    Span {
        from: NOW.plus_seconds(from * 3600),
        to: NOW.plus_seconds(to * 3600),
    }
}

fn topics(which: u8) -> Vec<&'static str> {
    let is_in = |place: &usize| which & (1 << place) != 0;
    (0..3).filter(is_in).map(|place| TOPICS[place]).collect()
}

/// Some topics, hundredths of a degree north of the equator (1.1 km each), hours, and how many or how far.
fn trait_of() -> impl Strategy<Value = (u8, i64, (i64, i64), i64)> {
    (1u8..8, 0i64..6, (1i64..8, 1i64..6), 1i64..6)
}

fn person(id: i64, (which, north, (from, long), km): (u8, i64, (i64, i64), i64)) -> Person {
    let free = hours(from, from + 2 * long);
    let body = json!({"interests": topics(which), "latitude": north as f64 / 100.0, "longitude": 0,
                      "distance_km": km, "free": [free]});
    Person {
        id,
        profile: Profile::read(body).expect("a good profile"),
        version: 1,
    }
}

fn event(id: i64, (which, north, (from, long), places): (u8, i64, (i64, i64), i64)) -> Event {
    let time = hours(from, from + (long + 1) / 2);
    let body = json!({"title": "x", "text": "x", "topics": topics(which), "place": "x",
                      "latitude": north as f64 / 100.0, "longitude": 0, "capacity": (places + 1) / 2,
                      "from": time.from, "to": time.to});
    Event {
        id,
        draft: Draft::read(body, NOW).expect("a good event"),
        // One of the people, sometimes.
        organiser: places,
        cancelled: false,
        created_at: String::new(),
        version: 1,
    }
}

/// At most nine pairs; of some of them something is known.
fn world() -> impl Strategy<Value = World> {
    let many = || prop::collection::vec(trait_of(), 0..4);
    let known = prop::collection::vec((0i64..3, 0i64..3, any::<bool>()), 0..3);
    (many(), many(), known).prop_map(|(people, events, known)| {
        let mut world = World {
            people: (1..).zip(people).map(|(id, it)| person(id, it)).collect(),
            events: (1..).zip(events).map(|(id, it)| event(id, it)).collect(),
            known: Vec::new(),
        };
        for (event, person, is_kept) in known {
            world.note(event + 1, person + 1, is_kept);
        }
        world
    })
}

impl World {
    /// If both are there, nothing is known of them yet, and there is a place.
    fn note(&mut self, event: i64, person: i64, is_kept: bool) {
        let found = self.events.iter().find(|one| one.id == event);
        let is_new = self.known_of(event, person).is_none();
        let is_here = self.people.iter().any(|one| one.id == person);
        let Some(found) = found.filter(|_| is_new && is_here) else {
            return;
        };
        let time = found.draft.time;
        self.known.push(Known {
            event,
            person,
            time,
            is_kept,
        });
        if !self.is_valid(&[]) {
            self.known.pop();
        }
    }

    fn known_of(&self, event: i64, person: i64) -> Option<&Known> {
        let mut known = self.known.iter();
        known.find(|one| (one.event, one.person) == (event, person))
    }

    fn event(&self, id: i64) -> &Event {
        let mut events = self.events.iter();
        events.find(|one| one.id == id).expect("it is there")
    }

    fn with(&self, pairs: &[Pair]) -> Self {
        let mut after = self.clone();
        after.known.extend(pairs.iter().map(|pair| Known {
            event: pair.event,
            person: pair.person,
            time: self.event(pair.event).draft.time,
            is_kept: true,
        }));
        after
    }

    /// Whether with these, too, no event is overfull and nobody in two places.
    fn is_valid(&self, more: &[Pair]) -> bool {
        let after = self.with(more);
        let kept: Vec<_> = after.known.iter().filter(|one| one.is_kept).collect();
        let fits = |event: &Event| {
            let count = kept.iter().filter(|one| one.event == event.id).count();
            count as i64 <= event.draft.capacity
        };
        let clash = |one: &Known, other: &Known| {
            one.person == other.person && one.event != other.event && one.time.overlaps(other.time)
        };
        let clashes = kept
            .iter()
            .any(|one| kept.iter().any(|other| clash(one, other)));
        after.events.iter().all(fits) && !clashes
    }

    fn places_of(&self, person: i64) -> usize {
        let theirs = |one: &&Known| one.is_kept && one.person == person;
        self.known.iter().filter(theirs).count()
    }

    /// Pairs that nothing speaks against but others' places, those that come first first.
    fn possible(&self) -> Vec<Pair> {
        let mut possible = Vec::new();
        for event in &self.events {
            for person in &self.people {
                let (draft, profile) = (&event.draft, &person.profile);
                let is_shared =
                    |topic: &&str| profile.interests.each().any(|interest| interest == *topic);
                let shared = draft.topics.each().filter(is_shared).count();
                let metres = profile.position.metres_to(draft.position);
                let free = profile.free[0];
                let is_possible = shared > 0
                    && metres <= 1000 * profile.distance_km
                    && free.from <= draft.time.from
                    && draft.time.to <= free.to
                    && event.organiser != person.id
                    && self.known_of(event.id, person.id).is_none();
                let pair = Pair {
                    event: event.id,
                    person: person.id,
                    shared,
                };
                possible.extend(is_possible.then_some((metres, draft.time.from, pair)));
            }
        }
        possible.sort_by_key(|(metres, from, pair)| {
            (
                -(pair.shared as i64),
                *metres,
                *from,
                pair.event,
                pair.person,
            )
        });
        possible.into_iter().map(|(.., pair)| pair).collect()
    }

    /// Of all ways to offer one more place to people who have so many, the one whose pairs come first.
    fn best_for(&self, places: usize) -> Vec<Pair> {
        let mut possible = self.possible();
        possible.retain(|pair| self.places_of(pair.person) == places);
        let ways = (0u32..1 << possible.len()).map(|way| {
            let chosen = |place: &usize| way & (1 << place) != 0;
            (0..possible.len()).filter(chosen).collect::<Vec<_>>()
        });
        let once = |way: &Vec<usize>| {
            let people: HashSet<_> = way.iter().map(|place| possible[*place].person).collect();
            let pairs: Vec<_> = way.iter().map(|place| possible[*place]).collect();
            people.len() == way.len() && self.is_valid(&pairs)
        };
        // The earlier a pair comes, the more it counts, whatever comes after it.
        let worth = |way: &Vec<usize>| way.iter().map(|place| 1u32 << (31 - place)).sum::<u32>();
        let best = ways.filter(once).max_by_key(worth).unwrap_or_default();
        best.into_iter().map(|place| possible[place]).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_offered_is_what_trying_everything_finds(world in world()) {
        let (mut after, mut expected) = (world.clone(), Vec::new());
        for places in 0..MOST_OF_EACH {
            let best = after.best_for(places);
            after = after.with(&best);
            expected.extend(best);
        }
        let found = pairs(&world.people, &world.events, &world.known, usize::MAX);
        prop_assert_eq!(&found, &expected);

        // Nobody is asked twice, and once more changes nothing.
        prop_assert!(world.is_valid(&found));
        let asked: HashSet<_> = found.iter().map(|pair| (pair.event, pair.person)).collect();
        prop_assert_eq!(asked.len(), found.len());
        prop_assert_eq!(pairs(&after.people, &after.events, &after.known, usize::MAX), vec![]);
    }

    #[test]
    fn in_whatever_portions_and_order_it_comes_to_the_same(world in world(), portion in 1usize..4) {
        let whole = pairs(&world.people, &world.events, &world.known, usize::MAX);
        let (mut after, mut found) = (world, Vec::new());
        loop {
            after.people.reverse();
            after.events.reverse();
            let some = pairs(&after.people, &after.events, &after.known, portion);
            if some.is_empty() {
                break;
            }
            after = after.with(&some);
            found.extend(some);
        }
        prop_assert_eq!(found, whole);
    }
}
