//! A transaction that writes.

use super::{Store, nodes::Nodes};
use sqlx::{Any, AnyConnection, Result, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

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

impl Writing {
    /// Ends once nobody who is answered after this can read what was there before.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await?;
        self.nodes.seen_everywhere().await;
        Ok(())
    }
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
