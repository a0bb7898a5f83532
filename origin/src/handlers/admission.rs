//! No more requests at once than the process can hold in memory; the rest is told to come back.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::{middleware::Next, response::Response};
use std::sync::Arc;
use tokio::sync::Semaphore;

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
