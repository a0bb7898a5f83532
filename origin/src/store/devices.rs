//! Devices, what they are told, and what they ask.

use super::audit::note;
use super::jobs::{enqueue, finish_in};
use super::users::parsed;
use super::{By, Claim, MOST_FORGOTTEN, Store, Writing};
use crate::domain::clock::Moment;
use crate::domain::device::{Device, DeviceName, Kind, MOST_BACKLOG, Message, Request};
use crate::domain::job;
use crate::domain::page::Stamp;
use serde_json::{Value, json};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{
    Any, Arguments, AssertSqlSafe, FromRow, Result, Row, query, query_as, query_scalar, query_with,
};

/// What a page holds, and the names in one statement.
const MOST_AT_ONCE: usize = 500;

const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM messages";

impl Store {
    /// Whose it is; theirs, when it was nobody's and they have fewer than so many. None: it still is nobody's.
    pub async fn claim_device(
        &self,
        name: &DeviceName,
        user: i64,
        most: u32,
        now: Moment,
    ) -> Result<Option<i64>> {
        let owner = "SELECT owner_id FROM devices WHERE name = $1";
        let known = query_scalar(owner).bind(name.to_string());
        if let Some(known) = known.fetch_optional(self.reader()).await? {
            return Ok(Some(known));
        }
        let mut writing = self.write().await?;
        let claimed = query(
            "INSERT INTO devices (name, owner_id, created_at) SELECT $1, $2, $3 \
             WHERE (SELECT count(*) FROM devices WHERE owner_id = $2) < $4 \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.to_string())
        .bind(user)
        .bind(now.iso())
        .bind(i64::from(most))
        .execute(&mut *writing)
        .await?;
        if claimed.rows_affected() == 1 {
            let by = By {
                user: Some(user),
                at: now,
            };
            note(&mut writing, by, "claim", subject(name), json!({})).await?;
        }
        let now_known = query_scalar(owner).bind(name.to_string());
        let known = now_known.fetch_optional(&mut *writing).await?;
        writing.commit().await?;
        Ok(known)
    }

    /// Theirs, in the order of their names.
    pub async fn devices(&self, user: i64, now: Moment) -> Result<Vec<Device>> {
        query_as(
            "SELECT name, present - $1 AS left_over, created_at \
             FROM devices WHERE owner_id = $2 ORDER BY name",
        )
        .bind(now.0)
        .bind(user)
        .fetch_all(self.reader())
        .await
    }

    /// Until then, unless it is said again.
    pub async fn set_present(&self, names: &[DeviceName], until: Moment) -> Result<()> {
        for some in names.chunks(MOST_AT_ONCE) {
            let mut arguments = AnyArguments::default();
            let mut places = Vec::with_capacity(some.len());
            let texts = "numbers and texts can be encoded";
            arguments.add(until.0).expect(texts);
            for name in some {
                arguments.add(name.to_string()).expect(texts);
                places.push(format!("${}", arguments.len()));
            }
            let sql = format!(
                "UPDATE devices SET present = $1 WHERE name IN ({})",
                places.join(", ")
            );
            let set = query_with::<Any, _>(AssertSqlSafe(sql), arguments);
            set.execute(self.nodes.writer()?).await?;
        }
        Ok(())
    }

    /// To one device, or to all.
    pub async fn say(&self, device: Option<&DeviceName>, text: &str, by: By) -> Result<i64> {
        let mut writing = self.write().await?;
        let body = json!({ "text": text, "from": by.user });
        let id = self
            .say_in(&mut writing, device, Kind::Message, &body, by.at)
            .await?;
        let (action, subject) = match device {
            Some(device) => ("tell", subject(device)),
            None => ("broadcast", "devices".into()),
        };
        let detail = json!({ "message": id });
        note(&mut writing, by, action, subject, detail).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// Number of what was said last; 0 before anything was.
    pub async fn last_message(&self) -> Result<i64> {
        query_scalar(NEWEST).fetch_one(self.reader()).await
    }

    /// The highest number that a message can have had in this database, as its primary knows it.
    pub async fn last_message_given(&self) -> Result<i64> {
        let primary = self.nodes.writer()?;
        let newest: i64 = query_scalar(NEWEST).fetch_one(primary).await?;
        let given = AssertSqlSafe(self.dialect.last_number("messages"));
        let given: i64 = query_scalar(given).fetch_one(primary).await?;
        Ok(newest.max(given))
    }

    /// To anybody, in order; a page of them.
    pub async fn messages_after(&self, id: i64) -> Result<Vec<Message>> {
        query_as("SELECT * FROM messages WHERE id > $1 ORDER BY id LIMIT 500")
            .bind(id)
            .fetch_all(self.reader())
            .await
    }

    /// What a device has missed, in order: the newest, and one more than is kept if there were more. None where
    /// it can't be told, because this was read where there is not all up to the message `known` yet.
    pub async fn backlog(
        &self,
        device: &DeviceName,
        after: i64,
        known: i64,
    ) -> Result<Option<Vec<Message>>> {
        // Both questions are for the same node, which goes forward only.
        let node = self.reader();
        let newest: i64 = query_scalar(NEWEST).fetch_one(node).await?;
        if newest < known {
            return Ok(None);
        }
        let mut missed: Vec<Message> = query_as(
            "SELECT * FROM messages WHERE id > $1 AND device IN ($2, '') ORDER BY id DESC LIMIT $3",
        )
        .bind(after)
        .bind(device.to_string())
        .bind(i64::from(MOST_BACKLOG) + 1)
        .fetch_all(node)
        .await?;
        missed.reverse();
        Ok(Some(missed))
    }

    /// None when there is one from that source already.
    pub async fn ask(
        &self,
        device: &DeviceName,
        text: &str,
        source: Option<&str>,
        by: By,
    ) -> Result<Option<i64>> {
        let mut writing = self.write().await?;
        let id: Option<i64> = query_scalar(
            "INSERT INTO requests (device, text, source, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (source) DO NOTHING RETURNING id",
        )
        .bind(device.to_string())
        .bind(text.to_owned())
        .bind(source.map(str::to_owned))
        .bind(by.at.iso())
        .fetch_optional(&mut *writing)
        .await?;
        if let Some(id) = id {
            enqueue(&mut writing, job::Kind::Request, &id.to_string(), by.at).await?;
            let detail = json!({ "request": id });
            note(&mut writing, by, "ask", subject(device), detail).await?;
        }
        writing.commit().await?;
        Ok(id)
    }

    pub async fn request(&self, id: i64) -> Result<Option<Request>> {
        query_as(
            "SELECT r.*, coalesce(j.state, 'done') AS state FROM requests r LEFT JOIN jobs j \
             ON j.kind = 'request' AND j.subject = CAST(r.id AS TEXT) WHERE r.id = $1",
        )
        .bind(id)
        .fetch_optional(self.reader())
        .await
    }

    /// Of these devices, before that one, newest first.
    pub async fn requests_of(
        &self,
        devices: &[DeviceName],
        before: Stamp,
        most: u32,
    ) -> Result<Vec<Request>> {
        // Names have no quotes.
        let names: Vec<_> = devices.iter().map(|name| format!("'{name}'")).collect();
        let sql = format!(
            "SELECT r.*, coalesce(j.state, 'done') AS state FROM requests r LEFT JOIN jobs j \
             ON j.kind = 'request' AND j.subject = CAST(r.id AS TEXT) WHERE r.device IN ({}) \
             AND (r.created_at < $1 OR r.created_at = $1 AND r.id < $2) \
             ORDER BY r.created_at DESC, r.id DESC LIMIT $3",
            names.join(", ")
        );
        query_as(AssertSqlSafe(sql))
            .bind(before.at.iso())
            .bind(before.id)
            .bind(i64::from(most))
            .fetch_all(self.reader())
            .await
    }

    /// The answer, the end of the job and the word to the device are written together. Whether it counts.
    pub async fn respond(&self, claim: &Claim, id: i64, answer: &str, now: Moment) -> Result<bool> {
        let mut writing = self.write().await?;
        if !finish_in(&mut writing, claim).await? {
            return Ok(false);
        }
        let device: Option<String> =
            query_scalar("UPDATE requests SET answer = $1 WHERE id = $2 RETURNING device")
                .bind(answer.to_owned())
                .bind(id)
                .fetch_optional(&mut *writing)
                .await?;
        if let Some(Ok(device)) = device.map(|name| name.parse()) {
            let body = json!({ "request": id });
            self.say_in(&mut writing, Some(&device), Kind::ResponseReady, &body, now)
                .await?;
            let by = By::itself(now);
            note(&mut writing, by, "respond", subject(&device), body).await?;
        }
        writing.commit().await?;
        Ok(true)
    }

    /// Forgets some of the requests of before that moment that have no job any more, as many as `MOST_FORGOTTEN`; how
    /// many. So they are kept as long as finished jobs are.
    pub async fn forget_requests(&self, before: Moment) -> Result<u64> {
        let sql = format!(
            "DELETE FROM requests WHERE id IN (SELECT r.id FROM requests r WHERE r.created_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.kind = 'request' \
             AND j.subject = CAST(r.id AS TEXT)) \
             ORDER BY r.created_at, r.id LIMIT {MOST_FORGOTTEN} {})",
            self.dialect.skip_taken()
        );
        self.forget(query(AssertSqlSafe(sql)).bind(before.iso()))
            .await
    }

    /// The next devices after that one that have messages, in order, and how many.
    pub async fn message_counts(&self, after: &str) -> Result<Vec<(String, i64)>> {
        query_as(
            "SELECT device, count(*) FROM messages WHERE device > $1 \
             GROUP BY device ORDER BY device LIMIT 500",
        )
        .bind(after)
        .fetch_all(self.reader())
        .await
    }

    /// Forgets some of a device's messages, as many as `MOST_FORGOTTEN`, but none of those that it may ask for when it
    /// comes back; how many. `""`: those to all.
    pub async fn forget_messages(&self, device: &str) -> Result<u64> {
        let sql = format!(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE device = $1 \
             AND id <= (SELECT id FROM messages WHERE device = $1 ORDER BY id DESC \
             LIMIT 1 OFFSET {MOST_BACKLOG}) ORDER BY id LIMIT {MOST_FORGOTTEN} {})",
            self.dialect.skip_taken()
        );
        self.forget(query(AssertSqlSafe(sql)).bind(device.to_owned()))
            .await
    }

    /// Whoever reads up to a number has read all before it: messages become visible in their order.
    async fn say_in(
        &self,
        writing: &mut Writing,
        device: Option<&DeviceName>,
        kind: Kind,
        body: &Value,
        now: Moment,
    ) -> Result<i64> {
        sqlx::raw_sql(self.dialect.one_speaks())
            .execute(&mut **writing)
            .await?;
        query_scalar(
            "INSERT INTO messages (device, kind, body, at) VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(device.map(DeviceName::to_string).unwrap_or_default())
        .bind(kind.to_string())
        .bind(body.to_string())
        .bind(now.iso())
        .fetch_one(&mut **writing)
        .await
    }
}

fn subject(device: &DeviceName) -> String {
    format!("device {device}")
}

impl FromRow<'_, AnyRow> for Device {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            name: row.try_get("name")?,
            present: row.try_get::<i64, _>("left_over")? > 0,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Message {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let (device, body): (String, String) = (row.try_get("device")?, row.try_get("body")?);
        Ok(Self {
            id: row.try_get("id")?,
            device: device.parse().ok(),
            kind: parsed(row, "kind")?,
            body: serde_json::from_str(&body).unwrap_or(Value::Null),
            at: row.try_get("at")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Request {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            device: row.try_get("device")?,
            text: row.try_get("text")?,
            state: parsed(row, "state")?,
            answer: row.try_get("answer")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_has_more_devices_than_so_many_and_each_claim_is_noted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/store", folder.path().display());
        let opened = Store::open_at(&url, folder.path()).await;
        let store = opened.expect("an empty database");
        let now = Moment(0);
        let person = store.insert_user("Ada", "ada@example.org", "", By::itself(now));
        let person = person.await.expect("it is written").expect("she is new").id;
        let claim = async |name: &str| {
            let name = name.parse().expect("a good name");
            let claimed = store.claim_device(&name, person, 2, now).await;
            claimed.expect("it is written")
        };
        for (name, owner) in [
            ("one", Some(person)),
            ("two", Some(person)),
            ("three", None),
            ("one", Some(person)),
        ] {
            assert_eq!(claim(name).await, owner, "{name}");
        }
        let noted = store.audit(Stamp::LAST, 10).await.expect("it can be read");
        let noted: Vec<_> = noted
            .iter()
            .filter(|entry| entry.action == "claim")
            .map(|entry| entry.subject.as_str())
            .collect();
        assert_eq!(noted, ["device two", "device one"]);
    }
}
