//! The application: its parts, built in order, and its routes, on one screen.

use crate::credentials::{Passwords, Tokens, signing_secret};
use crate::domain::clock::Moment;
use crate::domain::job::Lane;
use crate::handlers::admission::{Admission, Gate, admit};
use crate::handlers::{
    accounts, bookings, devices, documents, exports, health, home, issues, jobs, lend, listings,
    payments, photos, problem, progress, socket, tasks,
};
use crate::hub::Hub;
use crate::mail::Mail;
use crate::observe::{metrics::Metrics, request};
use crate::payments::{Provider, Sandbox};
use crate::processing::{Model, Processor, Rules};
use crate::settings::{Settings, Signing};
use crate::store::{Batches, PhotoFiles, Store};
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, patch, post};
use axum::{Router, handler::Handler};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{error::Error, fs, fs::File, path::PathBuf, sync::Arc};
use tokio::sync::{Notify, Semaphore, watch};

/// JSON bodies; photos have a limit of their own.
const MOST_JSON_BYTES: usize = 64 * 1024;

const MOST_AT_ONCE: usize = 512;

const UPLOADS_AT_ONCE: usize = 100;
const UPLOADS_WAITING: usize = 1_000;

/// Who watch a photo become ready.
const MOST_FOLLOWERS: usize = 1_000;

pub struct App {
    pub store: Arc<Store>,
    pub batches: Batches,
    pub files: Arc<PhotoFiles>,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub sandbox: Arc<Sandbox>,
    pub provider: Arc<dyn Provider>,
    pub uploads: Gate,
    pub followers: Arc<Semaphore>,
    pub metrics: Metrics,
    pub hub: Arc<Hub>,
    pub processor: Arc<dyn Processor>,
    pub mail: Mail,
    /// Whose files become requests.
    pub requests: PathBuf,
    /// Told when there is a job for a worker of this process.
    pub work: Notify,
    asked: Notify,
    written: Notify,
    pub lease: Duration,
    /// Whether photos of the demonstration may still come.
    pub drawing: AtomicBool,
    /// Whether the process is about to end.
    pub stopping: watch::Sender<bool>,
}

impl App {
    pub async fn open(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let data = settings.data.as_path();
        fs::create_dir_all(data)?;
        // One process after the other makes the folder ready. Dropping the file lets the next in.
        let turn = File::create(data.join("start.lock"))?;
        turn.lock()?;
        let store = Arc::new(Store::open(settings).await?);
        let secret = signing_secret(data, "payments.secret")?;
        let sandbox = Arc::new(Sandbox::new(secret, store.clone()));
        let requests = data.join("requests");
        fs::create_dir_all(&requests)?;
        let processor: Arc<dyn Processor> = match &settings.processor {
            Some(url) => Arc::new(Model::new(
                url,
                &settings.model,
                settings.model_key.as_deref(),
            )),
            None => Arc::new(Rules::new(store.clone())),
        };
        Ok(Self {
            batches: Batches::start(store.clone()),
            store,
            files: Arc::new(PhotoFiles::open(data)?),
            passwords: Passwords::new()?,
            tokens: match settings.tokens {
                Signing::Hs256 => Tokens::by_secret(&signing_secret(data, "jwt.secret")?),
                Signing::Eddsa => Tokens::by_key(&signing_secret(data, "jwt.ed25519")?)?,
            },
            provider: sandbox.clone(),
            sandbox,
            uploads: Gate::of(UPLOADS_AT_ONCE, UPLOADS_WAITING),
            followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
            metrics: Metrics::new()?,
            hub: Hub::open(settings.redis.as_deref())?,
            processor,
            mail: Mail::open(settings.mail.as_deref(), &settings.mail_from, data)?,
            requests,
            work: Notify::new(),
            asked: Notify::new(),
            written: Notify::new(),
            lease: settings.lease(),
            drawing: AtomicBool::new(settings.wants_demo()),
            stopping: watch::Sender::new(false),
        })
    }

    /// Told when there is a job in that lane.
    pub fn work_in(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Work => &self.work,
            Lane::Requests => &self.asked,
            Lane::Letters => &self.written,
        }
    }

    /// Of a job that is taken now.
    pub fn lease_end(&self, now: Moment) -> Moment {
        now.plus_seconds(self.lease.as_secs().cast_signed())
    }
}

pub fn routes(app: Arc<App>) -> Router {
    let admission = Admission::of(MOST_AT_ONCE);
    lending()
        .merge(service())
        .layer(from_fn_with_state(admission, admit))
        // Below the layer: these have bounds of their own, and a busy process is still a healthy one.
        .route("/lend", post(lend::lend.layer(DefaultBodyLimit::disable())))
        .route(
            "/api/v1/listings/{id}/photos",
            post(photos::add.layer(DefaultBodyLimit::disable())),
        )
        .route(
            "/api/v1/issues/{id}/photos",
            post(issues::add_photo.layer(DefaultBodyLimit::disable())),
        )
        .route("/api/v1/photos/{name}/events", get(progress::follow))
        .route("/api/v1/devices/{name}/socket", get(socket::listen))
        .route("/health", get(health::show))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(MOST_JSON_BYTES))
        .layer(from_fn_with_state(app.clone(), request::observe))
        .with_state(app)
}

/// What people do with each other's things.
fn lending() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home::show))
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
        .route("/api/v1/requests/{id}", get(devices::request))
        .route("/api/v1/exports", post(exports::ask))
        .route("/api/v1/exports/{id}", get(exports::show))
        .route("/api/v1/exports/{id}/csv", get(exports::csv))
        .route("/api/v1/jobs/dead", get(jobs::dead))
        .route("/api/v1/jobs/{id}/replay", post(jobs::replay))
        .route("/.well-known/jwks.json", get(documents::keys))
        .route("/api/v1/openapi.json", get(documents::openapi))
        .route("/api/v1/docs", get(documents::page))
        .route("/api/v1/docs.js", get(documents::script))
}
