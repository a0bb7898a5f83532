//! Offers people places at events: one round, over all that is there.

use super::{Failure, behind::behind};
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::matching::{MOST_OFFERS, pairs};
use crate::store::Claim;
use std::sync::Arc;

/// More than are offered together are left for the next round, which comes to the same.
pub async fn round(app: &App, claim: &Claim) -> Result<(), Failure> {
    let round = Arc::new(app.store.round(Moment::now()).await?);
    let seen = round.clone();
    let found = behind(move || pairs(&seen.people, &seen.events, &seen.known, MOST_OFFERS)).await?;
    let is_all = found.len() < MOST_OFFERS;
    let now = Moment::now();
    app.store.offer(claim, &round, &found, is_all, now).await?;
    Ok(())
}
