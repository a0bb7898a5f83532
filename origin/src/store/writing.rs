//! A transaction that writes.

use super::{Store, nodes::Nodes};
use serde_json::Value;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Arguments, AssertSqlSafe, Error, Result, Transaction, query_with};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(super) type Deleting<'q> = Query<'q, Any, AnyArguments>;

/// Nothing of it lasts unless it is committed.
pub struct Writing {
    transaction: Transaction<'static, Any>,
    nodes: Arc<Nodes>,
}

impl Store {
    pub(super) async fn write(&self) -> Result<Writing> {
        let writer = self.nodes.writer()?;
        Ok(Writing {
            transaction: writer.begin_with(self.dialect.begin()).await?,
            nodes: self.nodes.clone(),
        })
    }
}

impl Store {
    /// How many rows that deletes.
    pub(super) async fn forget(&self, deleting: Deleting<'_>) -> Result<u64> {
        let mut writing = self.write().await?;
        let gone = deleting.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(gone.rows_affected())
    }
}

impl Writing {
    /// All rows in one statement: their way to the database costs more than their writing. `columns` are
    /// ours and never somebody's text; values are whole numbers, texts or nothing.
    pub(super) async fn insert<'a, R>(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: impl IntoIterator<Item = R>,
    ) -> Result<()>
    where
        R: IntoIterator<Item = &'a Value>,
    {
        let mut arguments = AnyArguments::default();
        let mut places = Vec::new();
        for row in rows {
            let first = arguments.len() + 1;
            row.into_iter()
                .try_for_each(|value| add(&mut arguments, value))?;
            let numbers = (first..=arguments.len()).map(|number| format!("${number}"));
            places.push(format!("({})", numbers.collect::<Vec<_>>().join(", ")));
        }
        if places.is_empty() {
            return Ok(());
        }
        let (columns, places) = (columns.join(", "), places.join(", "));
        let sql = format!("INSERT INTO {table} ({columns}) VALUES {places}");
        let inserting = query_with::<Any, _>(AssertSqlSafe(sql), arguments);
        inserting.execute(&mut **self).await.map(drop)
    }

    /// Ends once nobody who is answered after this can read what was there before.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await?;
        self.nodes.seen_everywhere().await;
        Ok(())
    }
}

fn add(arguments: &mut AnyArguments, value: &Value) -> Result<()> {
    let added = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Number(number) => arguments.add(number.as_i64()),
        Value::String(text) => arguments.add(text.clone()),
        _ => return Err(Error::Encode("neither a whole number nor text".into())),
    };
    added.map_err(Error::Encode)
}

impl Deref for Writing {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}
