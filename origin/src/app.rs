//! The application: its parts, built in order, and its routes, on one screen.

use crate::credentials::{Passwords, Tokens, signing_secret};
use crate::handlers::{accounts, admission, health, home, listings, photos, problem};
use crate::store::{PhotoFiles, Store};
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Router, handler::Handler};
use std::{error::Error, fs, fs::File, path::Path, sync::Arc};

/// JSON bodies; photos have a limit of their own.
const MOST_JSON_BYTES: usize = 64 * 1024;

const MOST_AT_ONCE: usize = 512;

pub struct App {
    pub store: Store,
    pub files: PhotoFiles,
    pub passwords: Passwords,
    pub tokens: Tokens,
}

impl App {
    pub async fn open(data: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(data)?;
        // One process after the other makes the folder ready. Dropping the file lets the next in.
        let turn = File::create(data.join("start.lock"))?;
        turn.lock()?;
        Ok(Self {
            store: Store::open(data).await?,
            files: PhotoFiles::open(data)?,
            passwords: Passwords::new()?,
            tokens: Tokens::new(&signing_secret(data)?),
        })
    }
}

pub fn routes(app: Arc<App>) -> Router {
    let admission = admission::Admission::of(MOST_AT_ONCE);
    Router::new()
        .route("/", get(home::show))
        .route("/photos/{name}", get(photos::show))
        .route("/api/v1/register", post(accounts::register))
        .route("/api/v1/login", post(accounts::login))
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
            "/api/v1/listings/{id}/photos",
            post(photos::add.layer(DefaultBodyLimit::disable())),
        )
        .layer(from_fn_with_state(admission, admission::admit))
        // Below the layer: a busy process is still a healthy one.
        .route("/health", get(health::show))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(MOST_JSON_BYTES))
        .with_state(app)
}
