//! What belongs to one device, taken out of one database and into another; and what was noted in one that is about to
//! be left. Nobody else may use either meanwhile.

use super::backup::{fields, insert};
use super::{By, Store, Writing, audit::note};
use crate::domain::clock::Moment;
use crate::domain::job::State;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, query, query_scalar};
use std::collections::BTreeMap;
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

type Row = Map<String, Value>;

/// Lines that are taken in at once.
const NOTES: usize = 500;

/// By their numbers, which are given once across all databases: what has the same number in two is the same, but one
/// of them may be of before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belongings {
    messages: BTreeMap<i64, Row>,
    requests: BTreeMap<i64, Request>,
}

/// A request, and its job unless that was forgotten once it was done.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    row: Row,
    job: Option<Row>,
}

/// Jobs are found by the requests that they are for, so they go first.
const REMOVALS: [&str; 3] = [
    "DELETE FROM jobs WHERE kind = 'request' AND subject IN \
     (SELECT CAST(id AS TEXT) FROM requests WHERE device = $1)",
    "DELETE FROM requests WHERE device = $1",
    "DELETE FROM messages WHERE device = $1",
];

impl Belongings {
    /// All that either has; of a request that both have, the one that is further along.
    pub fn and(mut self, others: Self) -> Self {
        for (id, other) in others.requests {
            match self.requests.get(&id) {
                Some(own) if own.progress() >= other.progress() => {}
                _ => drop(self.requests.insert(id, other)),
            }
        }
        let own = self.messages;
        self.messages = others.messages;
        self.messages.extend(own);
        self
    }

    /// Each row with its table.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &Row)> {
        let messages = self.messages.values().map(|row| ("messages", row));
        let requests = self.requests.values().flat_map(|request| {
            let job = request.job.iter().map(|row| ("jobs", row));
            job.chain([("requests", &request.row)])
        });
        messages.chain(requests)
    }
}

impl Request {
    /// Grows with whatever happens to it, but for a replay by somebody who has looked at it.
    fn progress(&self) -> (bool, bool, i64) {
        let is_answered = self.row.contains_key("answer");
        let Some(job) = &self.job else {
            return (is_answered, true, i64::MAX);
        };
        let is_in = |state: State| {
            let now = job.get("state").and_then(Value::as_str);
            now == Some(state.word())
        };
        let has_ended = is_in(State::Done) || is_in(State::Dead);
        let attempts = job.get("attempts").and_then(Value::as_i64);
        (is_answered, has_ended, attempts.unwrap_or(0))
    }
}

impl Store {
    pub async fn belongings_of(&self, device: &str) -> Result<Belongings> {
        let messages = "SELECT * FROM messages WHERE device = $1";
        let requests = "SELECT * FROM requests WHERE device = $1";
        let jobs = "SELECT j.* FROM jobs j JOIN requests r ON j.kind = 'request' \
                    AND j.subject = CAST(r.id AS TEXT) WHERE r.device = $1";
        let subject = |row: &Row| row.get("subject")?.as_str().map(str::to_owned);
        let mut jobs = self.rows(jobs, device, subject).await?;
        let number = |row: &Row| row.get("id")?.as_i64();
        let messages = self.rows(messages, device, number).await?;
        let requests = self.rows(requests, device, number).await?;
        let requests = requests.into_iter().map(|(id, row)| {
            let job = jobs.remove(&id.to_string());
            (id, Request { row, job })
        });
        Ok(Belongings {
            messages,
            requests: requests.collect(),
        })
    }

    /// In place of all that it has there, or not at all.
    pub async fn take_in(&self, device: &str, belongings: &Belongings, by: By) -> Result<()> {
        let mut writing = self.write().await?;
        remove(&mut writing, device).await?;
        for (table, row) in belongings.rows() {
            insert(&mut writing, table, row.clone()).await?;
        }
        let subject = format!("device {device}");
        note(&mut writing, by, "take_in", subject, json!({})).await?;
        Ok(writing.commit().await?)
    }

    pub async fn give_away(&self, device: &str, by: By) -> Result<()> {
        let mut writing = self.write().await?;
        remove(&mut writing, device).await?;
        let subject = format!("device {device}");
        note(&mut writing, by, "give_away", subject, json!({})).await?;
        Ok(writing.commit().await?)
    }

    /// Has the first lines of what was noted elsewhere, some of which it may have already. The last one's number; None
    /// where there was nothing.
    pub async fn take_in_notes(&self, elsewhere: &Self) -> Result<Option<i64>> {
        let sql = AssertSqlSafe(format!("SELECT * FROM audit ORDER BY id LIMIT {NOTES}"));
        let found = query(sql).fetch_all(elsewhere.nodes.writer()?).await?;
        let rows: Vec<Row> = found.iter().map(fields).collect::<sqlx::Result<_>>()?;
        let number = |row: &Row| row.get("id").and_then(Value::as_i64);
        let (Some(first), Some(last)) =
            (rows.first().and_then(number), rows.last().and_then(number))
        else {
            return Ok(None);
        };
        let mut writing = self.write().await?;
        let there: Vec<i64> = query_scalar("SELECT id FROM audit WHERE id >= $1 AND id <= $2")
            .bind(first)
            .bind(last)
            .fetch_all(&mut *writing)
            .await?;
        let is_new = |row: &&Row| number(row).is_some_and(|id| !there.contains(&id));
        let columns = ["id", "at", "user_id", "action", "subject", "detail"];
        let rows: Vec<_> = rows
            .iter()
            .filter(is_new)
            .map(|row| columns.map(|column| row.get(column).cloned().unwrap_or(Value::Null)))
            .collect();
        writing.insert("audit", &columns, &rows).await?;
        writing.commit().await?;
        Ok(Some(last))
    }

    /// Up to that number.
    pub async fn give_away_notes(&self, last: i64) -> Result<()> {
        let given = query("DELETE FROM audit WHERE id <= $1").bind(last);
        self.forget(given).await?;
        Ok(())
    }

    /// Whether a process serves on it, or did so seconds ago and did not say that it ended.
    pub async fn is_served(&self, now: Moment) -> Result<bool> {
        let watching = "SELECT count(*) FROM leases WHERE lease >= $1";
        let count: i64 = query_scalar(watching)
            .bind(now.0)
            .fetch_one(self.nodes.writer()?)
            .await?;
        Ok(count > 0)
    }

    /// Of that device, each by its key.
    async fn rows<K: Ord>(
        &self,
        select: &'static str,
        device: &str,
        key: impl Fn(&Row) -> Option<K>,
    ) -> Result<BTreeMap<K, Row>> {
        let found = query(select).bind(device).fetch_all(self.nodes.writer()?);
        let mut rows = BTreeMap::new();
        for row in found.await? {
            let row = fields(&row)?;
            let key = key(&row).ok_or("a row has no number")?;
            rows.insert(key, row);
        }
        Ok(rows)
    }
}

async fn remove(writing: &mut Writing, device: &str) -> Result<()> {
    for removal in REMOVALS {
        query(removal).bind(device).execute(&mut **writing).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A request and its job, as each is after so many steps.
    fn after(steps: u8, id: i64) -> Request {
        let row = |value: Value| value.as_object().expect("an object").clone();
        let (state, attempts) = [
            ("waiting", 0),
            ("running", 1),
            ("waiting", 1),
            ("running", 2),
            ("done", 2),
        ][usize::from(steps.min(4))];
        let mut request = row(json!({ "id": id, "text": "x" }));
        if steps >= 4 {
            request.insert("answer".into(), "y".into());
        }
        // What is done is forgotten in the end.
        let job = (steps < 5).then(|| row(json!({ "state": state, "attempts": attempts })));
        Request { row: request, job }
    }

    /// Of few numbers, so that two have some of them in common.
    fn belongings() -> impl Strategy<Value = (Belongings, BTreeMap<i64, u8>)> {
        let requests = prop::collection::btree_map(0..8i64, 0..6u8, 0..8);
        let messages = prop::collection::btree_set(0..8i64, 0..8);
        (messages, requests).prop_map(|(messages, steps)| {
            let messages = messages.into_iter().map(|id| (id, Row::new())).collect();
            let requests = steps.iter().map(|(id, steps)| (*id, after(*steps, *id)));
            let requests = requests.collect();
            (Belongings { messages, requests }, steps)
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_goes_back(one in belongings(), other in belongings()) {
            let ((one, its_steps), (other, others_steps)) = (one, other);
            let both = one.clone().and(other.clone());
            let messages: Vec<_> = both.messages.keys().copied().collect();
            let mut expected: Vec<_> = one.messages.keys().chain(other.messages.keys()).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(messages, expected);
            for id in 0..8 {
                let steps = its_steps.get(&id).max(others_steps.get(&id));
                let progress = both.requests.get(&id).map(Request::progress);
                prop_assert_eq!(progress, steps.map(|steps| after(*steps, id).progress()));
            }
            // Once more changes nothing.
            prop_assert_eq!(both.clone().and(one), both.clone());
            prop_assert_eq!(both.clone().and(other), both);
        }
    }
}
