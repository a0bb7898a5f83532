//! How far a photo is, told whenever it changes: server-sent events, until there is nothing more to tell.

use super::path::Named;
use super::photos::find;
use super::problem::Problem;
use crate::app::App;
use crate::domain::job::State as JobState;
use crate::domain::photo::PhotoName;
use crate::store::Photo;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::{select, sync::OwnedSemaphorePermit, time};

/// The worker may be another process's, so the database is what tells.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Then the client asks again.
const MOST_TIME: Duration = Duration::from_secs(300);

pub async fn follow(State(app): State<Arc<App>>, Named(name): Named) -> Result<Response, Problem> {
    let name: PhotoName = name.parse().map_err(|()| Problem::no_such("photo"))?;
    let place = app.followers.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::busy())?;
    let now = find(&app, &name).await?;
    let following = Following {
        _place: place,
        app,
        name,
        end: Instant::now() + MOST_TIME,
    };
    let mut response = Sse::new(told(now, following).map(event))
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
    end: Instant,
    _place: OwnedSemaphorePermit,
}

/// Whatever changes.
trait Changing<T> {
    /// What is different from what was told; None when nothing more will be.
    async fn change(&self, told: &T) -> Option<T>;
}

/// What is so now, at once, and then each change.
fn told<T: Clone>(now: T, changing: impl Changing<T>) -> impl Stream<Item = T> {
    let changes = stream::unfold((now.clone(), changing), async |(told, changing)| {
        let next = changing.change(&told).await?;
        Some((next.clone(), (next, changing)))
    });
    stream::iter([now]).chain(changes)
}

fn event(photo: Photo) -> Result<Event, Infallible> {
    let event = Event::default().event("photo").json_data(&photo);
    Ok(event.expect("a photo has only text keys"))
}

impl Changing<Photo> for Following {
    async fn change(&self, told: &Photo) -> Option<Photo> {
        let mut stopping = self.app.stopping.subscribe();
        let is_over = matches!(told.state, JobState::Done | JobState::Dead);
        while !is_over && !*stopping.borrow() && Instant::now() < self.end {
            select! {
                () = time::sleep(LOOK_EVERY) => {}
                _ = stopping.changed() => return None,
            }
            match self.app.store.photo(&self.name).await {
                Ok(Some(photo)) if photo == *told => {}
                changed => return changed.ok().flatten(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use std::pin::pin;
    use tokio::sync::watch;

    /// Told from outside.
    struct Number(watch::Receiver<u32>);

    impl Changing<u32> for Number {
        async fn change(&self, told: &u32) -> Option<u32> {
            let mut number = self.0.clone();
            let changed = number.wait_for(|number| number != told).await;
            changed.ok().map(|number| *number)
        }
    }

    #[tokio::test]
    async fn what_is_so_is_told_at_once_and_each_change_when_it_comes() {
        let number = watch::Sender::new(1);
        let mut told = pin!(told(1, Number(number.subscribe())));
        assert_eq!(told.next().await, Some(1));
        let mut next = told.next();
        assert!(poll!(&mut next).is_pending());
        number.send_replace(2);
        assert_eq!(next.await, Some(2));
        drop(number);
        assert_eq!(told.next().await, None);
    }
}
