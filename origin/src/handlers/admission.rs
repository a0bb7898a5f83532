//! No more requests at once than the process can hold in memory; the rest is told to come back.

use super::problem::Problem;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{middleware::Next, response::Response};
use http_body_util::LengthLimitError;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{self, Instant};

/// Of what is no upload.
const MOST_BODY_BYTES: usize = 64 * 1024;

/// Who sends more slowly than that is told so.
const BODY_TIME: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Admission {
    /// For those whose request is here.
    places: Arc<Semaphore>,
    /// For those whose body is on its way: who sends slowly keeps none of the places above.
    bodies: Arc<Semaphore>,
}

impl Admission {
    pub fn of(most: usize, most_bodies: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            bodies: Arc::new(Semaphore::new(most_bodies)),
        }
    }
}

pub async fn admit(
    State(admission): State<Admission>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (head, mut body) = request.into_parts();
    if !body.is_end_stream() {
        let room = admission.bodies.try_acquire();
        let _room = room.map_err(|_| Problem::busy())?;
        body = whole(body).await?.into();
    }
    let place = admission.places.try_acquire();
    let _place = place.map_err(|_| Problem::busy())?;
    Ok(next.run(Request::from_parts(head, body)).await)
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    let read = time::timeout(BODY_TIME, to_bytes(body, MOST_BODY_BYTES)).await;
    let too_slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The body came too slowly.");
    read.map_err(too_slow)?.map_err(|error| {
        let is_too_long = error
            .source()
            .is_some_and(<dyn Error>::is::<LengthLimitError>);
        match is_too_long {
            true => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body may have at most {MOST_BODY_BYTES} bytes."),
            ),
            false => Problem::new(StatusCode::BAD_REQUEST, "The body broke off."),
        }
    })
}

/// Where some are let in at once, some more wait for their turn, and the rest is told to come back.
pub struct Gate {
    places: Semaphore,
    turns: Semaphore,
    inside: usize,
    waiting: usize,
    crowd: watch::Sender<Crowd>,
}

/// Who are inside.
struct Crowd {
    count: usize,
    /// When the first of them came.
    since: Instant,
}

/// Somebody's turn, until it is dropped.
pub struct Turn<'g> {
    crowd: &'g watch::Sender<Crowd>,
    _place: SemaphorePermit<'g>,
    _turn: SemaphorePermit<'g>,
}

/// Longer than the edge lets a client wait for an answer.
const MOST_WAIT: Duration = Duration::from_secs(60);

impl Gate {
    pub fn of(inside: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::new(inside + waiting),
            turns: Semaphore::new(inside),
            inside,
            waiting,
            crowd: watch::Sender::new(Crowd {
                count: 0,
                since: Instant::now(),
            }),
        }
    }

    pub async fn enter(&self) -> Result<Turn<'_>, Problem> {
        let place = self.places.try_acquire().map_err(|_| Problem::busy())?;
        let turn = time::timeout(MOST_WAIT, self.turns.acquire())
            .await
            .map_err(|_| Problem::busy())?
            .expect("the semaphore is never closed");
        self.crowd.send_modify(|crowd| {
            if crowd.count == 0 {
                crowd.since = Instant::now();
            }
            crowd.count += 1;
        });
        Ok(Turn {
            crowd: &self.crowd,
            _place: place,
            _turn: turn,
        })
    }

    /// Lets who are inside go first: waits until all have left, but no longer than `patience` after the first
    /// of them came. So a burst is let through, and steady traffic holds up nobody.
    pub async fn give_way(&self, patience: Duration) {
        let mut crowd = self.crowd.subscribe();
        let deadline = crowd.borrow().since + patience;
        // It is time either way.
        let _ = time::timeout_at(deadline, crowd.wait_for(|crowd| crowd.count == 0)).await;
    }

    /// How many are inside, and how many wait.
    pub fn counts(&self) -> (usize, usize) {
        let inside = self.inside - self.turns.available_permits();
        let all = self.inside + self.waiting - self.places.available_permits();
        (inside, all.saturating_sub(inside))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.crowd.send_modify(|crowd| crowd.count -= 1);
    }
}

/// No more than so many at once of each thing.
pub struct Each {
    most: usize,
    counts: Mutex<HashMap<i64, usize>>,
}

/// One of them, until it is dropped.
pub struct One {
    each: Arc<Each>,
    thing: i64,
}

impl Each {
    pub fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            counts: Mutex::default(),
        })
    }

    /// None while there are as many as there may be.
    pub fn enter(self: &Arc<Self>, thing: i64) -> Option<One> {
        let mut counts = self.counts();
        let count = counts.entry(thing).or_default();
        if *count == self.most {
            return None;
        }
        *count += 1;
        drop(counts);
        let each = self.clone();
        Some(One { each, thing })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.counts.lock().expect("nothing panics while it is held")
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let mut counts = self.each.counts();
        match counts.get_mut(&self.thing) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.thing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_each_and_none_is_remembered() {
        let each = Each::at_most(2);
        let (first, second) = (each.enter(1), each.enter(1));
        assert!(first.is_some() && second.is_some());
        assert!(each.enter(1).is_none());
        assert!(each.enter(2).is_some());
        drop(first);
        assert!(each.enter(1).is_some());
        drop(second);
        assert!(each.counts().is_empty());
    }

    #[tokio::test]
    async fn some_enter_some_wait_the_rest_is_sent_away() {
        let gate = Gate::of(1, 1);
        let first = gate.enter().await.ok().expect("the first enters");
        let second = gate.enter();
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(gate.counts(), (1, 1));
        assert!(gate.enter().await.is_err());
        drop(first);
        assert!(second.await.is_ok());
        assert_eq!(gate.counts(), (0, 0));
    }

    #[tokio::test]
    async fn who_gives_way_waits_for_a_burst_and_not_for_steady_traffic() {
        const LONG: Duration = Duration::from_secs(3600);
        let gate = Gate::of(2, 0);
        gate.give_way(LONG).await;
        let first = gate.enter().await.ok().expect("the first enters");
        let second = gate.enter().await.ok().expect("so does the second");
        let waiting = gate.give_way(LONG);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        // They have been inside for longer than this already.
        gate.give_way(Duration::ZERO).await;
        drop(second);
        waiting.await;
    }
}
