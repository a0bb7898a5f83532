//! Large files, and which of their chunks have come; the chunks themselves are in `storage`.

use super::jobs::{enqueue, finish_in};
use super::users::parsed;
use super::{By, Claim, Store, Writing, audit::note};
use crate::domain::clock::Moment;
use crate::domain::file::{
    CHUNK_BYTES, CHUNKS_AT_ONCE, Checksum, Cut, Draft, MOST_BYTES_IN_ALL, MOST_FILES, OPEN_SECONDS,
    State,
};
use crate::domain::job::Kind;
use crate::domain::random;
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Result, Row, query, query_as, query_scalar};

#[derive(Serialize)]
pub struct LargeFile {
    pub id: i64,
    pub name: String,
    pub media_type: String,
    pub bytes: i64,
    pub sha256: Checksum,
    pub state: State,
    pub chunk_bytes: u64,
    pub chunks: u64,
    /// As many chunks as may be sent at the same time.
    pub at_once: usize,
    pub created_at: String,
    #[serde(skip)]
    pub key: String,
    #[serde(skip)]
    pub owner: i64,
}

/// A chunk that has come.
pub struct Chunk {
    pub number: i64,
    pub sha256: Checksum,
}

/// A chunk of a whole file, wherever its copies are.
pub struct StoredChunk {
    pub file: i64,
    pub number: i64,
    /// Its file's.
    pub key: String,
    pub sha256: Checksum,
    pub bytes: u64,
}

#[derive(Debug, PartialEq)]
pub enum ChunkAdded {
    Yes,
    /// It was the last one.
    All,
    /// There is another one in its place.
    Taken,
    /// The file is gone, or has all its chunks.
    Closed,
}

impl LargeFile {
    pub fn cut(&self) -> Cut {
        Cut {
            bytes: self.bytes.cast_unsigned(),
        }
    }
}

impl Store {
    /// None when somebody has as much as anybody may have.
    pub async fn insert_file(&self, owner: i64, draft: &Draft, by: By) -> Result<Option<i64>> {
        let mut writing = self.write().await?;
        // Nothing in the row changes, but it is held until the end of the transaction.
        query("UPDATE users SET name = name WHERE id = $1")
            .bind(owner)
            .execute(&mut *writing)
            .await?;
        let (count, bytes): (i64, i64) = query_as(
            "SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM files WHERE user_id = $1",
        )
        .bind(owner)
        .fetch_one(&mut *writing)
        .await?;
        if count >= MOST_FILES || bytes + draft.bytes > MOST_BYTES_IN_ALL {
            return Ok(None);
        }
        let id: i64 = query_scalar(
            "INSERT INTO files (user_id, key, name, media_type, bytes, sha256, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(owner)
        .bind(random::hex::<16>())
        .bind(draft.name.clone())
        .bind(draft.media_type.clone())
        .bind(draft.bytes)
        .bind(draft.sha256.to_string())
        .bind(by.at.iso())
        .fetch_one(&mut *writing)
        .await?;
        let detail = json!({ "bytes": draft.bytes });
        note(&mut writing, by, "announce_file", subject(id), detail).await?;
        writing.commit().await?;
        Ok(Some(id))
    }

    pub async fn large_file(&self, id: i64) -> Result<Option<LargeFile>> {
        query_as("SELECT * FROM files WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    /// Somebody's, newest first.
    pub async fn files_of(&self, owner: i64, before: i64, most: u32) -> Result<Vec<LargeFile>> {
        query_as("SELECT * FROM files WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
            .bind(owner)
            .bind(before)
            .bind(i64::from(most))
            .fetch_all(self.reader())
            .await
    }

    /// In order.
    pub async fn chunks_of(&self, file: i64) -> Result<Vec<Chunk>> {
        query_as("SELECT number, sha256 FROM file_chunks WHERE file_id = $1 ORDER BY number")
            .bind(file)
            .fetch_all(self.reader())
            .await
    }

    /// The chunks after that one, by their files' numbers and their own; without those that are about to be copied for the
    /// first time.
    pub async fn stored_chunks(&self, after: (i64, i64), most: u32) -> Result<Vec<StoredChunk>> {
        let sql = format!(
            "SELECT c.file_id, c.number, c.sha256, f.key, f.bytes FROM file_chunks c \
             JOIN files f ON f.id = c.file_id WHERE (c.file_id, c.number) > ($1, $2) \
             AND f.id >= $1 AND f.state = '{}' AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.kind = '{}' \
             AND j.subject = CAST(f.id AS TEXT) AND j.state IN ('waiting', 'running')) \
             ORDER BY c.file_id, c.number LIMIT $3",
            State::Whole,
            Kind::FileCopies
        );
        query_as(AssertSqlSafe(sql))
            .bind(after.0)
            .bind(after.1)
            .bind(i64::from(most))
            .fetch_all(self.reader())
            .await
    }

    /// After which chunk to look on whether there are copies, where somebody is to do so now. Nobody else is then, until
    /// that moment.
    pub async fn begin_copies_look(
        &self,
        until: Moment,
        now: Moment,
    ) -> Result<Option<(i64, i64)>> {
        let due: i64 = query_scalar("SELECT due FROM copies_look")
            .fetch_one(self.reader())
            .await?;
        if due > now.0 {
            return Ok(None);
        }
        query_as("UPDATE copies_look SET due = $1 WHERE due <= $2 RETURNING file_id, number")
            .bind(until.0)
            .bind(now.0)
            .fetch_optional(self.nodes.writer()?)
            .await
    }

    /// The next ones are those after that chunk, and from that moment on.
    pub async fn end_copies_look(&self, after: (i64, i64), due: Moment) -> Result<()> {
        query("UPDATE copies_look SET file_id = $1, number = $2, due = $3")
            .bind(after.0)
            .bind(after.1)
            .bind(due.0)
            .execute(self.nodes.writer()?)
            .await
            .map(drop)
    }

    /// With the last chunk comes the job that looks whether they are the whole.
    pub async fn add_chunk(
        &self,
        file: &LargeFile,
        number: i64,
        sha256: Checksum,
        by: By,
    ) -> Result<ChunkAdded> {
        let mut writing = self.write().await?;
        // Chunks of one file come one after the other here.
        let open = query("UPDATE files SET state = state WHERE id = $1 AND state = 'open'")
            .bind(file.id)
            .execute(&mut *writing)
            .await?;
        if open.rows_affected() == 0 {
            return Ok(ChunkAdded::Closed);
        }
        query(
            "INSERT INTO file_chunks (file_id, number, sha256) VALUES ($1, $2, $3) \
             ON CONFLICT (file_id, number) DO NOTHING",
        )
        .bind(file.id)
        .bind(number)
        .bind(sha256.to_string())
        .execute(&mut *writing)
        .await?;
        let (there, same): (i64, i64) = query_as(
            "SELECT count(*), CAST(sum(CASE WHEN number = $2 AND sha256 = $3 THEN 1 ELSE 0 END) \
             AS BIGINT) FROM file_chunks WHERE file_id = $1",
        )
        .bind(file.id)
        .bind(number)
        .bind(sha256.to_string())
        .fetch_one(&mut *writing)
        .await?;
        let is_last = there.cast_unsigned() == file.cut().count();
        if is_last {
            set_state(&mut writing, file.id, State::Checking).await?;
            enqueue(&mut writing, Kind::FileCheck, &file.id.to_string(), by.at).await?;
            let subject = subject(file.id);
            note(&mut writing, by, "complete_file", subject, json!({})).await?;
        }
        writing.commit().await?;
        Ok(match (same, is_last) {
            (0, _) => ChunkAdded::Taken,
            (_, true) => ChunkAdded::All,
            (_, false) => ChunkAdded::Yes,
        })
    }

    /// What came of the check. What is whole is to have its copies, and what is not is to be removed.
    pub async fn file_checked(
        &self,
        claim: &Claim,
        file: &LargeFile,
        is_whole: bool,
        now: Moment,
    ) -> Result<()> {
        let mut writing = self.write().await?;
        if !finish_in(&mut writing, claim).await? {
            return Ok(());
        }
        let (state, kind, about) = match is_whole {
            true => (State::Whole, Kind::FileCopies, file.id.to_string()),
            false => (State::Mismatched, Kind::FileRemoval, file.key.clone()),
        };
        set_state(&mut writing, file.id, state).await?;
        enqueue(&mut writing, kind, &about, now).await?;
        let (by, detail) = (By::itself(now), json!({ "state": state }));
        note(&mut writing, by, "check_file", subject(file.id), detail).await?;
        writing.commit().await
    }

    pub async fn remove_file(&self, file: &LargeFile, by: By) -> Result<()> {
        let mut writing = self.write().await?;
        remove_in(&mut writing, file.id, &file.key, by).await?;
        writing.commit().await
    }

    pub(super) async fn forget_files(&self, now: Moment) -> Result<()> {
        let late: Vec<(i64, String)> = query_as(
            "SELECT id, key FROM files WHERE state IN ('open', 'mismatched') AND created_at < $1 \
             ORDER BY id LIMIT 1000",
        )
        .bind(now.plus_seconds(-OPEN_SECONDS).iso())
        .fetch_all(self.reader())
        .await?;
        for (id, key) in late {
            let mut writing = self.write().await?;
            // The last chunk may have come meanwhile.
            let unfinished = query(
                "UPDATE files SET state = state WHERE id = $1 AND state IN ('open', 'mismatched')",
            );
            let held = unfinished.bind(id).execute(&mut *writing).await?;
            if held.rows_affected() == 1 {
                remove_in(&mut writing, id, &key, By::itself(now)).await?;
                writing.commit().await?;
            }
        }
        Ok(())
    }
}

/// Chunks that are on their way while this happens are removed by whoever brings them.
async fn remove_in(writing: &mut Writing, id: i64, key: &str, by: By) -> Result<()> {
    let gone = query("DELETE FROM files WHERE id = $1")
        .bind(id)
        .execute(&mut **writing)
        .await?;
    // Somebody else has removed it in this moment.
    if gone.rows_affected() == 0 {
        return Ok(());
    }
    enqueue(writing, Kind::FileRemoval, key, by.at).await?;
    note(writing, by, "remove_file", subject(id), json!({})).await
}

async fn set_state(writing: &mut Writing, id: i64, state: State) -> Result<()> {
    query("UPDATE files SET state = $1 WHERE id = $2")
        .bind(state.to_string())
        .bind(id)
        .execute(&mut **writing)
        .await
        .map(drop)
}

fn subject(id: i64) -> String {
    format!("file {id}")
}

impl FromRow<'_, AnyRow> for LargeFile {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let bytes: i64 = row.try_get("bytes")?;
        let cut = Cut {
            bytes: bytes.cast_unsigned(),
        };
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            media_type: row.try_get("media_type")?,
            bytes,
            sha256: parsed(row, "sha256")?,
            state: parsed(row, "state")?,
            chunk_bytes: CHUNK_BYTES,
            chunks: cut.count(),
            at_once: CHUNKS_AT_ONCE,
            created_at: row.try_get("created_at")?,
            key: row.try_get("key")?,
            owner: row.try_get("user_id")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Chunk {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            number: row.try_get("number")?,
            sha256: parsed(row, "sha256")?,
        })
    }
}

impl FromRow<'_, AnyRow> for StoredChunk {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let (number, bytes): (i64, i64) = (row.try_get("number")?, row.try_get("bytes")?);
        let cut = Cut {
            bytes: bytes.cast_unsigned(),
        };
        Ok(Self {
            file: row.try_get("file_id")?,
            number,
            key: row.try_get("key")?,
            sha256: parsed(row, "sha256")?,
            bytes: cut.length(number.cast_unsigned()).unwrap_or(0),
        })
    }
}
