//! `lakh-origin`: a neighbourhood lending application, made to stand behind the Lakh edge.
//! Several processes may share one data folder.

mod app;
mod credentials;
mod domain;
mod handlers;
mod jobs;
mod lifecycle;
mod log;
mod settings;
mod store;

use app::App;
use axum::serve::ListenerExt;
use clap::Parser;
use lifecycle::Stop;
use serde_json::json;
use settings::Settings;
use std::{error::Error, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("failed", json!({ "reason": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let stop = Stop::listen()?;
    let app = Arc::new(App::open(&settings.data).await?);
    if settings.wants_demo() {
        jobs::demo::seed(&settings.data, &app.store, &app.files).await?;
    }

    let listener = TcpListener::bind((settings.host, settings.port)).await?;
    log::info(
        "listening",
        json!({ "address": listener.local_addr()?.to_string() }),
    );
    // An answer's head and body are two writes; Nagle's algorithm would hold back the second.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));

    let service = axum::serve(listener, app::routes(app.clone()));
    lifecycle::serve_until(service, stop).await?;
    app.store.close().await;
    log::info("stopped", json!({}));
    Ok(())
}
