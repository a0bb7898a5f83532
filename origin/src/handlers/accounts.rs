//! Registering, signing in and out, and what administrators see and change of people.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::{Representation, gone};
use crate::app::App;
use crate::credentials::{REFRESH_SECONDS, RefreshToken};
use crate::domain::clock::Moment;
use crate::domain::page::Stamp;
use crate::domain::random::hex;
use crate::domain::user::{Grant, Login, Registration, Renewal, Role, User};
use crate::store::{By, Known, Refreshed};
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;
use std::sync::Arc;

pub async fn register(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let person = Registration::read(body)?;
    // Who could not be signed in would find the address taken.
    app.store.ping_sessions().await?;
    let user = join(&app, person).await?;
    sign_in(&app, &user, "", StatusCode::CREATED).await
}

pub async fn login(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Login {
        email,
        password,
        device,
    } = Login::read(body)?;
    // Looking at a password costs more than finding out that it would be in vain.
    app.store.ping_sessions().await?;
    let known = app.store.user_by_email(&email).await?;
    let user = prove(&app, known, password).await?;
    sign_in(&app, &user, &device, StatusCode::OK).await
}

/// Whose address and password these are; somebody new when nobody has the address.
pub async fn enter(app: &App, person: Registration) -> Result<User, Problem> {
    match app.store.user_by_email(&person.email).await? {
        None => join(app, person).await,
        known => prove(app, known, person.password).await,
    }
}

/// Whoever shows a refresh token for the second time ends its session.
pub async fn refresh(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Renewal { refresh_token } = Renewal::read(body)?;
    let (old, next, now) = (
        RefreshToken(refresh_token),
        RefreshToken::new(),
        Moment::now(),
    );
    let expires = now.plus_seconds(REFRESH_SECONDS);
    let (spent, kept) = (old.digest(), next.digest());
    match app.store.refresh(&spent, &kept, expires, now).await? {
        Refreshed::Session { id, user } => Ok(tokens(&app, &user, &id, next, StatusCode::OK)),
        Refreshed::Stolen => Err(Problem::unauthorized(
            "This refresh token was used before, so its session has ended. Sign in again.",
        )),
        Refreshed::Unknown => Err(Problem::unauthorized(
            "The refresh token is not valid (any more).",
        )),
    }
}

pub async fn logout(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    let session = Some(author.session.as_str());
    app.store
        .end_sessions(author.id(), session, author.by())
        .await?;
    Ok(gone(""))
}

pub async fn logout_everywhere(
    State(app): State<Arc<App>>,
    author: Author,
) -> Result<Response, Problem> {
    app.store
        .end_sessions(author.id(), None, author.by())
        .await?;
    Ok(gone(""))
}

pub async fn me(author: Author) -> Response {
    Representation::json(&author.user).private()
}

pub async fn sessions(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    let sessions = app.store.sessions(author.id()).await?;
    let list = json!({ "items": sessions, "current": author.session });
    Ok(Representation::json(&list).private())
}

pub async fn grant(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    author.must_be(Role::Admin)?;
    let grant = Grant::read(body)?;
    let user = app.store.grant(id, grant, author.by()).await?;
    let user = user.ok_or_else(|| Problem::no_such("user"))?;
    Ok(Representation::json(&user).written(StatusCode::OK, ""))
}

/// Of all databases. What a shard that can't be reached has noted is seen when it can.
pub async fn audit(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage<Stamp>,
) -> Result<Response, Problem> {
    author.must_be(Role::Admin)?;
    let mut found = Vec::new();
    for store in app.stores().filter(|store| store.is_readable()) {
        found.extend(store.audit(page.before(), page.limit + 1).await?);
    }
    let found = page.newest(found, |entry| entry.stamp());
    Ok(Representation::page(&page, found, |entry| entry.stamp()).private())
}

async fn join(app: &App, person: Registration) -> Result<User, Problem> {
    let hash = app.passwords.hash(person.password).await?;
    let by = By::itself(Moment::now());
    let user = app
        .store
        .insert_user(&person.name, &person.email, &hash, by);
    let taken = || Problem::conflict("Somebody is registered with this e-mail address.");
    user.await?.ok_or_else(taken)
}

async fn prove(app: &App, known: Option<Known>, password: String) -> Result<User, Problem> {
    let (user, hash) = match known {
        Some(known) => (Some(known.user), known.password),
        None => (None, None),
    };
    match (user, app.passwords.verify(password, hash).await?) {
        (Some(user), true) => Ok(user),
        _ => Err(Problem::unauthorized(
            "E-mail address or password are wrong.",
        )),
    }
}

async fn sign_in(
    app: &App,
    user: &User,
    device: &str,
    status: StatusCode,
) -> Result<Response, Problem> {
    let (session, refresh, now) = (hex::<16>(), RefreshToken::new(), Moment::now());
    let expires = now.plus_seconds(REFRESH_SECONDS);
    app.store
        .open_session(user.id, &session, device, &refresh.digest(), expires, now)
        .await?;
    Ok(tokens(app, user, &session, refresh, status))
}

fn tokens(
    app: &App,
    user: &User,
    session: &str,
    refresh: RefreshToken,
    status: StatusCode,
) -> Response {
    let answer = json!({
        "token": app.tokens.issue(user, session),
        "refresh_token": refresh.0,
        "user": user,
    });
    Representation::json(&answer).written(status, "")
}
