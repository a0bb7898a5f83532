//! Whether this process can do its work, which is to say whether its database answers.

use super::problem::Problem;
use super::representation::{NO_STORE, Representation};
use crate::app::App;
use crate::log;
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;
use std::sync::Arc;

pub async fn show(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.store.ping().await {
        Ok(()) => {
            Ok(Representation::json(&json!({"status": "ok"})).written(StatusCode::OK, NO_STORE))
        }
        Err(error) => {
            log::error("unhealthy", json!({ "reason": error.to_string() }));
            let detail = "The database does not answer.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}
