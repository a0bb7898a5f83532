//! The queue: rows that workers of any process take, one worker each. Whoever takes a job holds it for the
//! time of a lease, and renews that while at work; a worker that is killed renews nothing, and the next
//! one takes the job over. What a worker did counts only if it still holds the job when it says so.

use super::users::parsed;
use super::{By, Store, Writing, audit::note};
use crate::domain::clock::Moment;
use crate::domain::job::{Kind, Lane, State, after_failure};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Result, Row, query, query_as, query_scalar};

/// Rows that are forgotten in one transaction: others wait to write meanwhile.
pub const MOST_FORGOTTEN: u64 = 1_000;

/// A job that is held. `attempt` tells its holder from the one before.
pub struct Claim {
    pub id: i64,
    pub kind: Kind,
    pub subject: String,
    pub attempt: i64,
}

#[derive(Serialize)]
pub struct Job {
    pub id: i64,
    pub kind: Kind,
    /// What it is about: a photo's name, an event's identifier.
    pub subject: String,
    pub state: State,
    pub attempts: i64,
    /// Why it failed last.
    pub reason: String,
    pub created_at: String,
}

impl Store {
    /// The job that has been due longest. One whose holder went silent is due again, unless that
    /// was its last attempt: what kills its workers must not kill them for ever.
    pub async fn claim(&self, lane: Lane, lease: Moment, now: Moment) -> Result<Option<Claim>> {
        if self.nothing_due(lane, now).await? {
            return Ok(None);
        }
        let mut writing = self.write().await?;
        let sql = format!(
            "UPDATE jobs SET state = 'dead', reason = 'its workers were killed' \
             WHERE state = 'running' AND lease < $1 AND attempts >= $2 AND {}",
            is_in(lane)
        );
        query(AssertSqlSafe(sql))
            .bind(now.0)
            .bind(lane.most_attempts())
            .execute(&mut *writing)
            .await?;
        let sql = format!(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, lease = $1 \
             WHERE id = (SELECT id FROM jobs WHERE {} AND (state = 'waiting' AND due <= $2 \
             OR state = 'running' AND lease < $2) ORDER BY due, id LIMIT 1 {}) \
             RETURNING id, kind, subject, attempts",
            is_in(lane),
            self.dialect.skip_taken()
        );
        let claim = query_as(AssertSqlSafe(sql))
            .bind(lease.0)
            .bind(now.0)
            .fetch_optional(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(claim)
    }

    /// Whether the job is still held; a holder that was taken for dead must stop.
    pub async fn renew(&self, claim: &Claim, lease: Moment) -> Result<bool> {
        let held = query(
            "UPDATE jobs SET lease = $1 WHERE id = $2 AND state = 'running' AND attempts = $3",
        )
        .bind(lease.0)
        .bind(claim.id)
        .bind(claim.attempt)
        .execute(self.nodes.writer()?)
        .await?;
        Ok(held.rows_affected() == 1)
    }

    /// Whether it counts: somebody else may hold the job by now.
    pub async fn finish(&self, claim: &Claim) -> Result<bool> {
        let mut writing = self.write().await?;
        let counts = finish_in(&mut writing, claim).await?;
        writing.commit().await?;
        Ok(counts)
    }

    /// Gives a job back that failed, or leaves it for somebody to look at. What can't get better is
    /// not tried again.
    pub async fn fail(
        &self,
        claim: &Claim,
        reason: &str,
        again: bool,
        now: Moment,
    ) -> Result<State> {
        let due = after_failure(claim.kind.lane(), claim.attempt, now).filter(|_| again);
        let state = due.map_or(State::Dead, |_| State::Waiting);
        query(
            "UPDATE jobs SET state = $1, due = coalesce($2, due), reason = $3 \
             WHERE id = $4 AND state = 'running' AND attempts = $5",
        )
        .bind(state.to_string())
        .bind(due.map(|due| due.0))
        .bind(reason.chars().take(500).collect::<String>())
        .bind(claim.id)
        .bind(claim.attempt)
        .execute(self.nodes.writer()?)
        .await?;
        Ok(state)
    }

    /// Newest first.
    pub async fn jobs(&self, state: State, before: i64, most: u32) -> Result<Vec<Job>> {
        query_as("SELECT * FROM jobs WHERE state = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
            .bind(state.to_string())
            .bind(before)
            .bind(i64::from(most))
            .fetch_all(self.reader())
            .await
    }

    /// As if it had never been tried. None when there is no such job, or it isn't dead.
    pub async fn replay(&self, id: i64, by: By) -> Result<Option<Job>> {
        let mut writing = self.write().await?;
        let job: Option<Job> = query_as(
            "UPDATE jobs SET state = 'waiting', attempts = 0, due = $1 \
             WHERE id = $2 AND state = 'dead' RETURNING *",
        )
        .bind(by.at.0)
        .bind(id)
        .fetch_optional(&mut *writing)
        .await?;
        if job.is_some() {
            note(&mut writing, by, "replay", format!("job {id}"), json!({})).await?;
        }
        writing.commit().await?;
        Ok(job)
    }

    /// How many of a kind wait.
    pub async fn waiting(&self, kind: Kind) -> Result<i64> {
        query_scalar("SELECT count(*) FROM jobs WHERE state = 'waiting' AND kind = $1")
            .bind(kind.to_string())
            .fetch_one(self.reader())
            .await
    }

    /// Whether some of a kind are still to be done.
    pub async fn is_left(&self, kind: Kind) -> Result<bool> {
        let left: i64 = query_scalar(
            "SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running') AND kind = $1",
        )
        .bind(kind.to_string())
        .fetch_one(self.reader())
        .await?;
        Ok(left > 0)
    }

    /// By state; states that no job is in are left out.
    pub async fn job_counts(&self) -> Result<Vec<(String, i64)>> {
        query_as("SELECT state, count(*) FROM jobs GROUP BY state")
            .fetch_all(self.reader())
            .await
    }

    /// Forgets some of the jobs that were finished before that moment, as many as `MOST_FORGOTTEN`; how many. Dead ones
    /// wait for somebody to look at them.
    pub async fn forget_jobs(&self, before: Moment) -> Result<u64> {
        // When a job has ended its last lease tells, by a lease; it was due before that.
        let sql = format!(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = 'done' AND due < $1 \
             AND lease < $1 ORDER BY due, id LIMIT {MOST_FORGOTTEN} {})",
            self.dialect.skip_taken()
        );
        self.forget(query(AssertSqlSafe(sql)).bind(before.0)).await
    }

    /// Reading is cheap, and most looks at the queue find nothing.
    async fn nothing_due(&self, lane: Lane, now: Moment) -> Result<bool> {
        let lane = is_in(lane);
        let sql = format!(
            "SELECT id FROM jobs WHERE state = 'waiting' AND due <= $1 AND {lane} \
             UNION ALL SELECT id FROM jobs WHERE state = 'running' AND lease < $1 AND {lane} LIMIT 1"
        );
        let due: Option<i64> = query_scalar(AssertSqlSafe(sql))
            .bind(now.0)
            .fetch_optional(self.reader())
            .await?;
        Ok(due.is_none())
    }
}

/// The condition that a job is in that lane.
fn is_in(lane: Lane) -> String {
    let kinds = Kind::ALL.iter().filter(|kind| kind.lane() == lane);
    let kinds: Vec<_> = kinds.map(|kind| format!("'{kind}'")).collect();
    format!("kind IN ({})", kinds.join(", "))
}

/// One job for each subject: asking for it again changes nothing.
pub(super) async fn enqueue(
    writing: &mut Writing,
    kind: Kind,
    subject: &str,
    now: Moment,
) -> Result<()> {
    query(
        "INSERT INTO jobs (kind, subject, due, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, subject) DO NOTHING",
    )
    .bind(kind.to_string())
    .bind(subject.to_owned())
    .bind(now.0)
    .bind(now.iso())
    .execute(&mut **writing)
    .await
    .map(drop)
}

/// Of subjects that there was no job for before, each due from that moment on.
pub(super) async fn enqueue_new(
    writing: &mut Writing,
    kind: Kind,
    subjects: impl Iterator<Item = (String, Moment)>,
) -> Result<()> {
    let rows: Vec<[Value; 4]> = subjects
        .map(|(subject, now)| [json!(kind), json!(subject), json!(now.0), json!(now.iso())])
        .collect();
    let columns = ["kind", "subject", "due", "created_at"];
    writing.insert("jobs", &columns, &rows).await
}

/// Together with what the job has led to: neither lasts without the other.
pub(super) async fn finish_in(writing: &mut Writing, claim: &Claim) -> Result<bool> {
    let done = query(
        "UPDATE jobs SET state = 'done', reason = '' \
         WHERE id = $1 AND state = 'running' AND attempts = $2",
    )
    .bind(claim.id)
    .bind(claim.attempt)
    .execute(&mut **writing)
    .await?;
    Ok(done.rows_affected() == 1)
}

impl FromRow<'_, AnyRow> for Claim {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: parsed(row, "kind")?,
            subject: row.try_get("subject")?,
            attempt: row.try_get("attempts")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Job {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: parsed(row, "kind")?,
            subject: row.try_get("subject")?,
            state: parsed(row, "state")?,
            attempts: row.try_get("attempts")?,
            reason: row.try_get("reason")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use clap::Parser;

    const NOW: Moment = Moment(1_780_272_000_000);

    /// So many jobs, due at that moment, which are taken at once and held for a minute.
    async fn put(store: &Store, state: &str, count: u64, due: Moment) {
        let mut writing = store.write().await.expect("a transaction");
        let rows: Vec<_> = (0..count)
            .map(|number| {
                let subject = format!("{state} {} {number}", due.0);
                let lease = due.plus_seconds(60).0;
                [
                    json!("letter"),
                    json!(subject),
                    json!(state),
                    json!(due.0),
                    json!(lease),
                    json!(""),
                ]
            })
            .collect();
        let columns = ["kind", "subject", "state", "due", "lease", "created_at"];
        let put = writing.insert("jobs", &columns, &rows).await;
        put.expect("they are written");
        writing.commit().await.expect("they are written");
    }

    #[tokio::test]
    async fn finished_jobs_are_forgotten_in_batches_and_all_others_kept() {
        let data = tempfile::tempdir().expect("a folder");
        let settings =
            Settings::parse_from(["lakh-origin".as_ref(), "--data".as_ref(), data.path()]);
        let store = Store::open(&settings).await.expect("a database");
        for state in ["dead", "waiting", "running"] {
            put(&store, state, 2, Moment(0)).await;
        }
        put(&store, "done", MOST_FORGOTTEN + 3, NOW.plus_seconds(-61)).await;
        // Due before then, and perhaps finished after it.
        put(&store, "done", 1, NOW.plus_seconds(-60)).await;
        for expected in [MOST_FORGOTTEN, 3, 0] {
            let gone = store.forget_jobs(NOW).await;
            assert_eq!(gone.expect("they are deleted"), expected);
        }
        let mut left = store.job_counts().await.expect("they are counted");
        left.sort();
        let expected = [("dead", 2), ("done", 1), ("running", 2), ("waiting", 2)];
        assert_eq!(
            left,
            expected.map(|(state, count)| (state.to_owned(), count))
        );
    }
}
