//! No more requests at once than the process can hold in memory; the rest is told to come back.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::{middleware::Next, response::Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time;

#[derive(Clone)]
pub struct Admission(Arc<Semaphore>);

impl Admission {
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }
}

pub async fn admit(
    State(Admission(places)): State<Admission>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let _place = places.try_acquire().map_err(|_| Problem::busy())?;
    Ok(next.run(request).await)
}

/// Where some are let in at once, some more wait for their turn, and the rest is told to come back.
pub struct Gate {
    places: Semaphore,
    turns: Semaphore,
    inside: usize,
    waiting: usize,
}

/// Somebody's turn, until it is dropped.
pub struct Turn<'g> {
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
        }
    }

    pub async fn enter(&self) -> Result<Turn<'_>, Problem> {
        let place = self.places.try_acquire().map_err(|_| Problem::busy())?;
        let turn = time::timeout(MOST_WAIT, self.turns.acquire())
            .await
            .map_err(|_| Problem::busy())?
            .expect("the semaphore is never closed");
        Ok(Turn {
            _place: place,
            _turn: turn,
        })
    }

    /// How many are inside, and how many wait.
    pub fn counts(&self) -> (usize, usize) {
        let inside = self.inside - self.turns.available_permits();
        let all = self.inside + self.waiting - self.places.available_permits();
        (inside, all.saturating_sub(inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
