//! How far a photo is, told whenever it changes: server-sent events, until there is nothing more to tell.

use super::photos::find;
use super::problem::Problem;
use crate::app::App;
use crate::domain::job::State as JobState;
use crate::domain::photo::PhotoName;
use crate::store::Photo;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::{select, sync::OwnedSemaphorePermit, time};

/// The worker may be another process's, so the database is what tells.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Then the client asks again.
const MOST_TIME: Duration = Duration::from_secs(300);

pub async fn follow(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name: PhotoName = name.parse().map_err(|()| Problem::no_such("photo"))?;
    let place = app.followers.clone().try_acquire_owned();
    let following = Following {
        _place: place.map_err(|_| Problem::busy())?,
        next: Some(find(&app, &name).await?),
        app,
        name,
        end: Instant::now() + MOST_TIME,
    };
    let mut response = Sse::new(events(following))
        .keep_alive(KeepAlive::default())
        .into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

struct Following {
    app: Arc<App>,
    name: PhotoName,
    /// What is to be told next.
    next: Option<Photo>,
    end: Instant,
    _place: OwnedSemaphorePermit,
}

fn events(following: Following) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(following, async |mut following| {
        let told = following.next.take()?;
        let event = Event::default().event("photo").json_data(&told);
        following.next = following.change(told).await;
        Some((Ok(event.expect("a photo has only text keys")), following))
    })
}

impl Following {
    /// What is different from what was told; None when nothing more will be, or the time is over.
    async fn change(&self, told: Photo) -> Option<Photo> {
        let mut stopping = self.app.stopping.subscribe();
        let is_over = matches!(told.state, JobState::Done | JobState::Dead);
        while !is_over && !*stopping.borrow() && Instant::now() < self.end {
            select! {
                () = time::sleep(LOOK_EVERY) => {}
                _ = stopping.changed() => return None,
            }
            match self.app.store.photo(&self.name).await {
                Ok(Some(photo)) if photo == told => {}
                changed => return changed.ok().flatten(),
            }
        }
        None
    }
}
