//! For those who run this process. Not for people: whoever comes through a proxy is told that there is
//! nothing here, but for the health.

use super::problem::{Problem, unknown_path};
use super::representation::Representation;
use crate::app::App;
use crate::observe::log;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// Whether this process can do its work, which is to say whether its database answers.
pub async fn show(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.store.ping().await {
        Ok(()) => Ok(Representation::json(&json!({"status": "ok"})).private()),
        Err(error) => {
            log::error("unhealthy", json!({ "reason": error.to_string() }));
            Err(unavailable("The database does not answer."))
        }
    }
}

/// Whether it should be sent requests: it can do its work, knows who asks, and is not about to
/// stop.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if *app.stopping.borrow() {
        return Err(unavailable("This process is stopping."));
    }
    if let Err(error) = app.store.ping_sessions().await {
        log::error("not_ready", json!({ "reason": error.to_string() }));
        return Err(unavailable("The sessions can't be reached."));
    }
    show(State(app)).await
}

/// For Prometheus.
pub async fn metrics(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if ["x-forwarded-for", "forwarded", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
    {
        return Err(unknown_path(uri).await);
    }
    let text = app.metrics.text(&app).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; version=0.0.4"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
