//! `POST`: what changes something, each of which is logged with who asked for it; and what is asked
//! about with more than a URL has room for.

use super::answers::{Answer, failed, not_so, page, problem, refused, text};
use super::pages;
use super::{BanOrder, LiftOrder, Pages, PurgeOrder, ServerName, SplitName, WeightOrder};
use crate::cache::Told;
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

/// An order names one thing.
const MAX_BODY: usize = 64 << 10;

/// What is done by rooms that this one doesn't know: JSON to JSON, or why not.
pub type Deed =
    Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Result<Value, String>> + Send>> + Send + Sync>;

/// Deeds by those who wire the process.
#[derive(Clone)]
pub struct Deeds {
    /// Says what would be done with a request.
    pub explain: Deed,
    /// Reads the configuration again, and puts it in force.
    pub reload: Deed,
    /// Hands over to a new process of the program as it is on disk.
    pub upgrade: Deed,
    /// As `reload`, up to where something would change.
    pub validate: Deed,
}

/// What there is nothing to say about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadOrder {
    /// Only to say what would change.
    #[serde(default)]
    dry_run: bool,
}

impl Pages {
    /// Their short names are for those who type.
    pub async fn order(&self, session: &mut ServerSession) -> Answer {
        let path = session.req_header().uri.path().to_owned();
        let runtime = self.current.load_full();
        let done = match path.as_str() {
            "/api/v1/cache/purge" | "/purge" => self.purge(session).await,
            "/api/v1/servers/drain" | "/drain" | "/api/v1/servers/undrain" | "/undrain" => {
                let draining = path.ends_with("/drain");
                let drain = |name: &ServerName| name.set_draining(draining, &runtime);
                carry_out(session, drain).await
            }
            "/api/v1/servers/weight" => {
                let weigh = |order: &WeightOrder| order.run(&runtime, &self.foundation);
                carry_out(session, weigh).await
            }
            "/api/v1/bans/add" | "/ban" => {
                let metrics = &self.foundation.metrics;
                carry_out(session, |order: &BanOrder| order.run(&runtime, metrics)).await
            }
            "/api/v1/bans/lift" | "/unban" => {
                carry_out(session, |order: &LiftOrder| order.run(&runtime)).await
            }
            "/api/v1/splits/restore" | "/restore" => {
                carry_out(session, |name: &SplitName| name.restore(&runtime)).await
            }
            "/api/v1/explain" => self.explain(session).await,
            "/api/v1/validate" => match read_order(session).await {
                Ok(Plain {}) => read_again(&self.deeds.validate).await,
                Err(refusal) => Err(refusal),
            },
            "/api/v1/reload" => self.reload(session).await,
            "/api/v1/upgrade" => {
                let upgraded = self.upgrade(session).await;
                audit(session, &"", upgraded.is_ok());
                upgraded
            }
            _ => Err(not_so(&path)),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    async fn explain(&self, session: &mut ServerSession) -> Result<Answer, Answer> {
        let inquiry: Value = read_order(session).await?;
        let explained = (self.deeds.explain)(inquiry).await;
        explained
            .map(|said| page(&said))
            .map_err(|why| refused(&why))
    }

    async fn upgrade(&self, session: &mut ServerSession) -> Result<Answer, Answer> {
        let Plain {} = read_order(session).await?;
        match tokio::spawn((self.deeds.upgrade)(json!({}))).await {
            Ok(Ok(upgraded)) => Ok(page(&upgraded)),
            Ok(Err(why)) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(problem(status, "upgrade-failed", &why))
            }
            Err(_) => Err(failed()),
        }
    }

    async fn reload(&self, session: &mut ServerSession) -> Result<Answer, Answer> {
        let ReloadOrder { dry_run } = read_order(session).await?;
        if dry_run {
            return read_again(&self.deeds.validate).await;
        }
        let reloaded = read_again(&self.deeds.reload).await;
        audit(session, &"", reloaded.is_ok());
        reloaded
    }

    async fn purge(&self, session: &mut ServerSession) -> Result<Answer, Answer> {
        let order: PurgeOrder = read_order(session).await?;
        let purged = order.run(&self.current.load_full(), &self.foundation).await;
        audit(session, &order, purged.is_ok());
        let purged = purged.map_err(|why| refused(&why))?;
        let disk = match purged.disk {
            None => "",
            Some(true) => "disk: told\n",
            Some(false) => "disk: pending, until it can be written\n",
        };
        let fleet = match purged.fleet {
            None => "",
            Some(Told::Told) => "fleet: told\n",
            Some(Told::Pending) => "fleet: pending, until Redis can be reached\n",
        };
        Ok(text(StatusCode::OK, &format!("ok\n{disk}{fleet}")))
    }
}

/// Reads an order and carries it out, or says what is wrong with it.
async fn carry_out<T: DeserializeOwned + Debug>(
    session: &mut ServerSession,
    run: impl FnOnce(&T) -> Result<(), String>,
) -> Result<Answer, Answer> {
    let order: T = read_order(session).await?;
    let done = run(&order);
    audit(session, &order, done.is_ok());
    done.map_err(|why| refused(&why))?;
    Ok(text(StatusCode::OK, "ok\n"))
}

/// Who asked for which change, and whether it was made.
fn audit(session: &ServerSession, order: &dyn Debug, done: bool) {
    let by = session.client_addr().map(ToString::to_string);
    let (by, path) = (
        by.as_deref().unwrap_or("-"),
        session.req_header().uri.path(),
    );
    tracing::info!(by, path, ?order, done, "order of an operator");
}

/// The configuration. On a task of its own: it goes on when whoever asked for it leaves.
async fn read_again(deed: &Deed) -> Result<Answer, Answer> {
    match tokio::spawn(deed(json!({}))).await {
        Ok(Ok(reloaded)) => Ok(page(&reloaded)),
        Ok(Err(why)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Err(problem(status, "configuration-refused", &why))
        }
        Err(_) => Err(failed()),
    }
}

async fn read_order<T: DeserializeOwned>(session: &mut ServerSession) -> Result<T, Answer> {
    // A form on some web page could send any other type here, from an operator's browser.
    let json = session.req_header().headers.get(CONTENT_TYPE);
    if !json.is_some_and(|v| v.as_bytes().starts_with(b"application/json")) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "Send Content-Type: application/json.";
        return Err(problem(status, "not-json", detail));
    }
    let body = read_body(session).await;
    let body = body.ok_or_else(|| {
        refused(&format!(
            "The order broke off, or has more than {MAX_BODY} bytes."
        ))
    })?;
    serde_json::from_slice(&body).map_err(|e| {
        let example = pages::example(session.req_header().uri.path());
        refused(&match example {
            Some(example) => format!("It can't be read: {e}. Write it like {example}"),
            None => format!("It can't be read: {e}. GET /api/v1/openapi.json shows each order"),
        })
    })
}

async fn read_body(session: &mut ServerSession) -> Option<Vec<u8>> {
    if is_waiting(&session.req_header().headers) {
        session.write_continue_response().await.ok()?;
    }
    let mut body = Vec::new();
    while let Some(chunk) = session.read_request_body().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return None;
        }
    }
    Some(body)
}

/// RFC 9110 §10.1.1.
fn is_waiting(fields: &HeaderMap) -> bool {
    let expects = fields.get(EXPECT).map(|value| value.as_bytes());
    expects.is_some_and(|expects| expects.eq_ignore_ascii_case(b"100-continue"))
}
