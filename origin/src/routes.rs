//! What can be asked, on one screen.

use crate::app::App;
use crate::handlers::admission::{Admission, admit};
use crate::handlers::{
    accounts, bookings, conditions, content, devices, documents, events, exports, files, health,
    home, issues, jobs, lend, listings, matches, payments, photos, problem, profile, progress,
    socket, tasks,
};
use crate::observe::request;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, patch, post, put};
use std::sync::Arc;

const MOST_AT_ONCE: usize = 512;

/// Each with 64 KiB at most; uploads have limits of their own.
const MOST_BODIES: usize = 2_048;

pub fn of(app: Arc<App>) -> Router {
    let admission = Admission::of(MOST_AT_ONCE, MOST_BODIES);
    lending()
        .merge(meeting())
        .merge(service())
        .layer(from_fn_with_state(admission, admit))
        // Below the layer: these have bounds of their own, and a busy process is still a healthy one.
        .merge(uploads())
        .route("/api/v1/photos/{name}/events", get(progress::follow))
        .route("/api/v1/files/{id}/content", get(content::show))
        .route("/api/v1/devices/{name}/socket", get(socket::listen))
        .route("/health", get(health::show))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(from_fn(conditions::judge))
        .layer(from_fn_with_state(app.clone(), request::observe))
        .with_state(app)
}

fn uploads() -> Router<Arc<App>> {
    Router::new()
        .route("/lend", post(lend::lend))
        .route("/api/v1/listings/{id}/photos", post(photos::add))
        .route("/api/v1/issues/{id}/photos", post(issues::add_photo))
        .route("/api/v1/files/{id}/chunks/{number}", put(files::add_chunk))
}

/// What people do with each other's things.
fn lending() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home::show))
        .route("/icon.svg", get(home::icon))
        .route("/photos/{name}", get(photos::show))
        .route("/api/v1/suggestions", get(listings::suggestions))
        .route("/api/v1/facets", get(listings::facets))
        .route(
            "/api/v1/listings",
            get(listings::list).post(listings::create),
        )
        .route(
            "/api/v1/listings/{id}",
            get(listings::show)
                .patch(listings::change)
                .delete(listings::remove),
        )
        .route(
            "/api/v1/listings/{id}/availability",
            get(bookings::availability),
        )
        .route("/api/v1/photos/{name}", get(photos::progress))
        .route("/api/v1/bookings", get(bookings::list).post(bookings::book))
        .route(
            "/api/v1/bookings/{id}",
            get(bookings::show).delete(bookings::cancel),
        )
        .route("/api/v1/bookings/{id}/payments", post(bookings::pay))
        .route("/api/v1/payments/{id}", get(payments::show))
        .route("/api/v1/webhooks/payments", post(payments::webhook))
        .route("/sandbox/payments/{reference}", post(payments::check_out))
}

/// How strangers meet.
fn meeting() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/api/v1/profile",
            get(profile::show).put(profile::put).delete(profile::remove),
        )
        .route("/api/v1/events", get(events::list).post(events::create))
        .route(
            "/api/v1/events/{id}",
            get(events::show).delete(events::cancel),
        )
        .route("/api/v1/events/{id}/matches", get(events::matches))
        .route("/api/v1/matches", get(matches::list))
        .route(
            "/api/v1/matches/{id}",
            get(matches::show).patch(matches::answer),
        )
}

/// Who they are, what is to be done in their street, and what this application says of itself.
fn service() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/register", post(accounts::register))
        .route("/api/v1/login", post(accounts::login))
        .route("/api/v1/refresh", post(accounts::refresh))
        .route("/api/v1/logout", post(accounts::logout))
        .route(
            "/api/v1/sessions",
            get(accounts::sessions).delete(accounts::logout_everywhere),
        )
        .route("/api/v1/me", get(accounts::me))
        .route("/api/v1/users/{id}", patch(accounts::grant))
        .route("/api/v1/audit", get(accounts::audit))
        .route("/api/v1/issues", get(issues::list).post(issues::report))
        .route(
            "/api/v1/issues/{id}",
            get(issues::show).patch(issues::change),
        )
        .route("/api/v1/tasks", get(tasks::list).post(tasks::create))
        .route("/api/v1/tasks/statistics", get(tasks::statistics))
        .route(
            "/api/v1/tasks/{id}",
            get(tasks::show).patch(tasks::change).delete(tasks::remove),
        )
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{name}/messages", post(devices::tell))
        .route("/api/v1/devices/{name}/requests", post(devices::ask))
        .route("/api/v1/broadcasts", post(devices::broadcast))
        .route("/api/v1/requests", get(devices::requests))
        .route("/api/v1/requests/{id}", get(devices::request))
        .route("/api/v1/exports", post(exports::ask))
        .route("/api/v1/exports/{id}", get(exports::show))
        .route("/api/v1/exports/{id}/csv", get(exports::csv))
        .route("/api/v1/files", get(files::list).post(files::announce))
        .route("/api/v1/files/{id}", get(files::show).delete(files::remove))
        .route("/api/v1/jobs/dead", get(jobs::dead))
        .route("/api/v1/jobs/{id}/replay", post(jobs::replay))
        .route("/.well-known/jwks.json", get(documents::keys))
        .route("/api/v1/openapi.json", get(documents::openapi))
        .route("/api/v1/docs", get(documents::page))
        .route("/api/v1/docs.js", get(documents::script))
}
