//! Who is offered a place at which event. Pure, and the same from the same people and events, in whatever order they
//! are given.
//!
//! A place is for somebody who shares a topic, is near enough, is free all the time, is nowhere else then, and has
//! not been asked before. Those who have the fewest places come first; among them, who shares most topics, then who
//! is nearest. What is there is never taken back, so going on where another one was stopped leads to the same.

#[cfg(test)]
mod model;

use super::clock::Moment;
use super::event::Event;
use super::profile::Profile;
use super::span::Span;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// Changes that come within this many seconds are looked at together.
const ROUND_SECONDS: i64 = 1;

/// Places that somebody has at once, taken or not answered yet.
pub const MOST_OF_EACH: usize = 5;

/// Looked at together: who said last when they are free, and what begins next.
pub const MOST_PEOPLE: i64 = 5_000;
pub const MOST_EVENTS: i64 = 500;

/// Offered together.
pub const MOST_OFFERS: usize = 200;

/// A place that nobody says anything about for so long is free again.
pub const OFFER_SECONDS: i64 = 3 * 86_400;

#[cfg_attr(test, derive(Debug, Clone))]
pub struct Person {
    pub id: i64,
    pub profile: Profile,
    /// Of the profile, and of what was offered on its account.
    pub version: i64,
}

/// What somebody was offered before.
#[cfg_attr(test, derive(Debug, Clone))]
pub struct Known {
    pub event: i64,
    pub person: i64,
    /// When the event is.
    pub time: Span,
    /// They have not declined.
    pub is_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    pub event: i64,
    pub person: i64,
    /// How many topics they share.
    pub shared: usize,
}

/// A pair that is possible by itself, before anybody has a place.
struct Wish {
    pair: Pair,
    metres: i64,
    time: Span,
}

/// Who has which places so far.
struct Book {
    left: HashMap<i64, i64>,
    taken: HashMap<i64, Vec<Span>>,
}

/// When what changes now is looked at: once all that comes with it is written.
pub fn next_round(now: Moment) -> Moment {
    let rounds = now.seconds().div_euclid(ROUND_SECONDS) + 2;
    Moment(0).plus_seconds(rounds * ROUND_SECONDS)
}

/// What is to be offered, in order; the first `most` of it.
pub fn pairs(people: &[Person], events: &[Event], known: &[Known], most: usize) -> Vec<Pair> {
    let wishes = wishes(people, events, known);
    let mut book = Book::of(events, known);
    let mut pairs = Vec::new();
    for places in 0..MOST_OF_EACH {
        for wish in &wishes {
            if pairs.len() == most {
                return pairs;
            }
            if book.places_of(wish.pair.person) == places && book.has_room_for(wish) {
                book.enter(wish);
                pairs.push(wish.pair);
            }
        }
    }
    pairs
}

/// Those that come first are first.
fn wishes(people: &[Person], events: &[Event], known: &[Known]) -> Vec<Wish> {
    let known: HashSet<_> = known.iter().map(|one| (one.event, one.person)).collect();
    let mut about: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        for topic in event.draft.topics.each() {
            about.entry(topic).or_default().push(place);
        }
    }
    let mut wishes = Vec::new();
    for person in people {
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for topic in person.profile.interests.each() {
            for place in about.get(topic).into_iter().flatten() {
                *shared.entry(*place).or_default() += 1;
            }
        }
        let possible = shared
            .into_iter()
            .filter(|(place, _)| !known.contains(&(events[*place].id, person.id)))
            .filter_map(|(place, shared)| wish(person, &events[place], shared));
        wishes.extend(possible);
    }
    wishes.sort_unstable_by_key(|Wish { pair, metres, time }| {
        let nearest = (*metres, time.from);
        (Reverse(pair.shared), nearest, pair.event, pair.person)
    });
    wishes
}

fn wish(person: &Person, event: &Event, shared: usize) -> Option<Wish> {
    let (profile, draft) = (&person.profile, &event.draft);
    let metres = profile.position.metres_to(draft.position);
    let can_come = person.id != event.organiser
        && !event.cancelled
        && metres <= profile.distance_km * 1_000
        && profile.is_free(draft.time);
    can_come.then_some(Wish {
        pair: Pair {
            event: event.id,
            person: person.id,
            shared,
        },
        metres,
        time: draft.time,
    })
}

impl Book {
    fn of(events: &[Event], known: &[Known]) -> Self {
        let mut book = Self {
            left: events
                .iter()
                .map(|event| (event.id, event.draft.capacity))
                .collect(),
            taken: HashMap::new(),
        };
        for one in known.iter().filter(|one| one.is_kept) {
            book.take(one.event, one.person, one.time);
        }
        book
    }

    fn places_of(&self, person: i64) -> usize {
        self.taken.get(&person).map_or(0, Vec::len)
    }

    fn has_room_for(&self, wish: &Wish) -> bool {
        let mut elsewhere = self.taken.get(&wish.pair.person).into_iter().flatten();
        self.left[&wish.pair.event] > 0 && !elsewhere.any(|time| time.overlaps(wish.time))
    }

    fn enter(&mut self, wish: &Wish) {
        self.take(wish.pair.event, wish.pair.person, wish.time);
    }

    fn take(&mut self, event: i64, person: i64, time: Span) {
        // Not among those that are looked at: then only its time counts.
        if let Some(left) = self.left.get_mut(&event) {
            *left -= 1;
        }
        self.taken.entry(person).or_default().push(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_looked_at_when_they_are_written() {
        for (now, round) in [(0, 2), (999, 2), (1_000, 3), (1_999, 3)] {
            assert_eq!(next_round(Moment(now)).seconds(), round);
        }
    }
}
