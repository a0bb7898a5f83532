//! Places at events that people are offered. A round looks at people and events, finds out who is to be offered
//! what, and writes it in one transaction with the end of its job; of that, what has changed since it looked is left
//! for the next round. So rounds that run at the same time, or are killed, offer no place twice.

#[cfg(test)]
mod tests;

use super::events::{subject, time};
use super::jobs::{enqueue, finish_in};
use super::letters::tell_of_offer;
use super::users::parsed;
use super::{By, Claim, Store, Writing, audit::note, audit::note_each};
use crate::domain::clock::Moment;
use crate::domain::event::{Event, Match, State};
use crate::domain::job::Kind;
use crate::domain::matching::{
    Known, MOST_EVENTS, MOST_PEOPLE, OFFER_SECONDS, Pair, Person, next_round,
};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};
use std::collections::BTreeMap;

/// What a round looks at.
pub struct Round {
    pub people: Vec<Person>,
    pub events: Vec<Event>,
    pub known: Vec<Known>,
}

macro_rules! select_matches {
    ($which:literal) => {
        concat!(
            "SELECT m.*, e.title, e.place, e.starts, e.ends, e.cancelled, e.organiser_id, u.name \
             FROM matches m JOIN events e ON e.id = m.event_id JOIN users u ON u.id = m.user_id ",
            $which
        )
    };
}

impl Store {
    /// Where it is written: replicas may each have another moment. What is known is read last, so that whatever it
    /// says of an event or a person is not older than their version.
    pub async fn round(&self, now: Moment) -> Result<Round> {
        let reader = self.nodes.writer()?;
        let events = query_as(
            "SELECT * FROM events e WHERE cancelled = 0 AND starts > $1 AND capacity > \
             (SELECT count(*) FROM matches WHERE event_id = e.id AND state <> 'declined') \
             ORDER BY starts, id LIMIT $2",
        )
        .bind(now.0)
        .bind(MOST_EVENTS)
        .fetch_all(reader)
        .await?;
        let people = query_as(
            "SELECT * FROM profiles WHERE free_until > $1 ORDER BY updated_at DESC, user_id LIMIT $2",
        )
        .bind(now.0)
        .bind(MOST_PEOPLE)
        .fetch_all(reader)
        .await?;
        let known = query_as(
            "SELECT m.event_id, m.user_id, m.state, e.starts, e.ends FROM matches m \
             JOIN events e ON e.id = m.event_id WHERE e.cancelled = 0 AND e.ends > $1",
        )
        .bind(now.0)
        .fetch_all(reader)
        .await?;
        Ok(Round {
            people,
            events,
            known,
        })
    }

    /// What a round has found, and the end of its job. With `is_all` there was no more to find.
    pub async fn offer(
        &self,
        claim: &Claim,
        round: &Round,
        pairs: &[Pair],
        is_all: bool,
        now: Moment,
    ) -> Result<()> {
        let mut writing = self.write().await?;
        if !finish_in(&mut writing, claim).await? {
            return Ok(());
        }
        let events = hold_events(&mut writing, round, pairs).await?;
        let people = hold_people(&mut writing, round, pairs).await?;
        let is_held = |pair: &&Pair| events[&pair.event] && people[&pair.person];
        let held: Vec<Pair> = pairs.iter().filter(is_held).copied().collect();
        insert_matches(&mut writing, &held, now).await?;
        for pair in &held {
            let event = round.events.iter().find(|event| event.id == pair.event);
            let event = event.expect("pairs are of events that were looked at");
            tell_of_offer(&mut writing, pair.person, event, now).await?;
        }
        if !is_all || held.len() < pairs.len() {
            enqueue_round(&mut writing, now).await?;
        }
        writing.commit().await
    }

    pub async fn find_match(&self, id: i64) -> Result<Option<Match>> {
        query_as(select_matches!("WHERE m.id = $1"))
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    /// Somebody's, newest first.
    pub async fn matches_of(&self, user: i64, before: i64, most: u32) -> Result<Vec<Match>> {
        query_as(select_matches!(
            "WHERE m.user_id = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3"
        ))
        .bind(user)
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// At an event, newest first.
    pub async fn matches_at(&self, event: i64, before: i64, most: u32) -> Result<Vec<Match>> {
        query_as(select_matches!(
            "WHERE m.event_id = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3"
        ))
        .bind(event)
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// Whether it still was in that state. A place that is free again is offered to somebody else.
    pub async fn answer_match(&self, seen: &Match, state: State, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let answered =
            query("UPDATE matches SET state = $1, updated_at = $2 WHERE id = $3 AND state = $4")
                .bind(state.to_string())
                .bind(by.at.iso())
                .bind(seen.id)
                .bind(seen.state.to_string())
                .execute(&mut *writing)
                .await?;
        if answered.rows_affected() == 0 {
            return Ok(false);
        }
        let detail = json!({ "state": state });
        note(
            &mut writing,
            by,
            "answer",
            format!("match {}", seen.id),
            detail,
        )
        .await?;
        if state == State::Declined {
            enqueue_round(&mut writing, by.at).await?;
        }
        writing.commit().await?;
        Ok(true)
    }

    /// What nobody has said anything about is free again, and a round looks at what no other one has seen.
    pub(super) async fn sweep_matches(&self, now: Moment) -> Result<()> {
        let mut writing = self.write().await?;
        let late: Vec<i64> = query_scalar(
            "UPDATE matches SET state = 'declined', updated_at = $1 WHERE id IN \
             (SELECT id FROM matches WHERE state = 'offered' AND created_at < $2 \
             ORDER BY id LIMIT 1000) AND state = 'offered' RETURNING id",
        )
        .bind(now.iso())
        .bind(now.plus_seconds(-OFFER_SECONDS).iso())
        .fetch_all(&mut *writing)
        .await?;
        note_declined(&mut writing, &late, By::itself(now)).await?;
        let ahead: i64 =
            query_scalar("SELECT count(*) FROM events WHERE cancelled = 0 AND starts > $1")
                .bind(now.0)
                .fetch_one(&mut *writing)
                .await?;
        if ahead > 0 {
            enqueue_round(&mut writing, now).await?;
        }
        writing.commit().await
    }
}

/// Of places that somebody was offered, and has not taken.
pub(super) async fn note_declined(writing: &mut Writing, matches: &[i64], by: By) -> Result<()> {
    let notes = matches.iter().map(|id| {
        let detail = json!({ "state": State::Declined });
        (by, format!("match {id}"), detail)
    });
    note_each(writing, "answer", notes).await
}

/// Has somebody look who is to be offered what, together with what else changes in these seconds.
pub(super) async fn enqueue_round(writing: &mut Writing, now: Moment) -> Result<()> {
    let due = next_round(now);
    enqueue(writing, Kind::Matching, &due.iso(), due).await
}

/// Whether each is as it was, and so held until the end of the transaction. In order, so that nobody waits for each
/// other.
async fn hold_events(
    writing: &mut Writing,
    round: &Round,
    pairs: &[Pair],
) -> Result<BTreeMap<i64, bool>> {
    let seen = round.events.iter().map(|event| (event.id, event.version));
    let sql = "UPDATE events SET version = version + 1 WHERE id = $1 AND version = $2";
    hold(writing, sql, seen, pairs.iter().map(|pair| pair.event)).await
}

async fn hold_people(
    writing: &mut Writing,
    round: &Round,
    pairs: &[Pair],
) -> Result<BTreeMap<i64, bool>> {
    let seen = round
        .people
        .iter()
        .map(|person| (person.id, person.version));
    let sql = "UPDATE profiles SET version = version + 1 WHERE user_id = $1 AND version = $2";
    hold(writing, sql, seen, pairs.iter().map(|pair| pair.person)).await
}

async fn hold(
    writing: &mut Writing,
    sql: &'static str,
    seen: impl Iterator<Item = (i64, i64)>,
    wanted: impl Iterator<Item = i64>,
) -> Result<BTreeMap<i64, bool>> {
    let seen: BTreeMap<i64, i64> = seen.collect();
    let mut held: BTreeMap<i64, bool> = wanted.map(|id| (id, false)).collect();
    for (id, is_held) in &mut held {
        let as_seen = query(sql).bind(*id).bind(seen[id]);
        *is_held = as_seen.execute(&mut **writing).await?.rows_affected() == 1;
    }
    Ok(held)
}

async fn insert_matches(writing: &mut Writing, pairs: &[Pair], now: Moment) -> Result<()> {
    let rows: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let at = json!(now.iso());
            [
                json!(pair.event),
                json!(pair.person),
                json!(pair.shared),
                at.clone(),
                at,
            ]
        })
        .collect();
    let columns = ["event_id", "user_id", "shared", "created_at", "updated_at"];
    writing.insert("matches", &columns, &rows).await?;
    let notes = pairs.iter().map(|pair| {
        let detail = json!({ "person": pair.person });
        (By::itself(now), subject(pair.event), detail)
    });
    note_each(writing, "offer", notes).await
}

impl FromRow<'_, AnyRow> for Person {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("user_id")?,
            profile: FromRow::from_row(row)?,
            version: row.try_get("version")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Known {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            event: row.try_get("event_id")?,
            person: row.try_get("user_id")?,
            time: time(row)?,
            is_kept: parsed::<State>(row, "state")? != State::Declined,
        })
    }
}

impl FromRow<'_, AnyRow> for Match {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            event: row.try_get("event_id")?,
            title: row.try_get("title")?,
            place: row.try_get("place")?,
            time: time(row)?,
            cancelled: row.try_get::<i64, _>("cancelled")? != 0,
            person: row.try_get("user_id")?,
            name: row.try_get("name")?,
            shared: row.try_get("shared")?,
            state: parsed(row, "state")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            organiser: row.try_get("organiser_id")?,
        })
    }
}
