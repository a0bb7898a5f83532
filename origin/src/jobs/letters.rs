//! Sends what is to be sent.

use super::Failure;
use crate::app::App;
use crate::store::Claim;

pub async fn send(app: &App, claim: &Claim) -> Result<(), Failure> {
    let not_a_number = |_| Failure::ForGood("not a letter's number".into());
    let id: i64 = claim.subject.parse().map_err(not_a_number)?;
    if let Some(letter) = app.store.letter(id).await? {
        app.mail.send(&letter).await?;
    }
    app.store.letter_sent(claim, id).await?;
    Ok(())
}
