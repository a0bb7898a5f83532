//! Makes tables of what is in the database.

use super::Failure;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::export::csv;
use crate::store::Claim;

pub async fn make(app: &App, claim: &Claim) -> Result<(), Failure> {
    let not_a_number = |_| Failure::ForGood("not an export's number".into());
    let id: i64 = claim.subject.parse().map_err(not_a_number)?;
    // Forgotten meanwhile: then nobody waits for it.
    let made = match app.store.export(id).await? {
        Some(export) => {
            let rows = app.store.rows_of(&export, Moment::now()).await?;
            csv(export.about, &rows)
        }
        None => String::new(),
    };
    app.store.add_export(claim, id, made).await?;
    Ok(())
}
