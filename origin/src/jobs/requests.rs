//! What devices ask, and how many workers that takes.

use super::Failure;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::job::{Kind, Lane, workers_for};
use crate::store::{Claim, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::{select, sync::watch, time};

const SCALE_EVERY: Duration = Duration::from_millis(500);

pub async fn answer(app: &App, store: &Store, claim: &Claim) -> Result<(), Failure> {
    let not_a_number = |_| Failure::ForGood("not a request's number".into());
    let id: i64 = claim.subject.parse().map_err(not_a_number)?;
    let Some(request) = store.request(id).await? else {
        return Err(Failure::ForGood("there is no such request".into()));
    };
    let answer = app.processor.process(&request.text).await?;
    if store.respond(claim, id, &answer, Moment::now()).await? {
        app.shards.wake_all();
    }
    Ok(())
}

/// Wants more workers when requests pile up, and fewer when they don't.
pub async fn scale(app: Arc<App>, wanted: Arc<watch::Sender<usize>>) {
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        let mut waiting = 0;
        for store in app.queues(Lane::Requests) {
            // Those of whom there is no answer have no work for anybody.
            waiting += store.waiting(Kind::Request).await.unwrap_or(0);
        }
        let now = workers_for(waiting);
        wanted.send_if_modified(|workers| std::mem::replace(workers, now) != now);
        select! {
            () = time::sleep(SCALE_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
}
