//! The account that certificates are ordered with, and the way to its authority.

use super::failure::Failure;
use super::settings::AcmeSettings;
use super::store::Store;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient,
    NewAccount,
};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// One request to an authority, and its answer, whatever it says.
pub type Exchange = Arc<
    dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>
        + Send
        + Sync,
>;

/// How long the authority wants to be left alone; it says so with what it refuses.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Option<Duration>>>);

/// What the account's record holds. The key in it is the account.
#[derive(Serialize, Deserialize)]
struct Registered {
    contact: String,
    credentials: serde_json::Value,
}

const RECORD: &str = "account";

/// The account of before; a new one where there is none. Whoever calls holds the store's lock.
pub async fn open(
    settings: &AcmeSettings,
    store: &Store,
    exchange: &Exchange,
    told: &Told,
) -> Result<Account, Failure> {
    let http = Http {
        exchange: exchange.clone(),
        told: told.clone(),
    };
    let builder = Account::builder_with_http(Box::new(http));
    let contact = format!("mailto:{}", settings.contact);
    let Some(record) = store.get(RECORD).await.map_err(unkept)? else {
        let new = NewAccount {
            contact: &[&contact],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = settings.external_account.as_ref();
        let external =
            external.map(|known| ExternalAccountKey::new(known.key_id.clone(), &known.key.0[0]));
        let directory = settings.directory.clone();
        let (account, credentials) = builder.create(&new, directory, external.as_ref()).await?;
        tracing::info!(account = account.id(), "acme: a new account");
        keep(store, contact, &credentials).await?;
        return Ok(account);
    };
    let registered: Registered = serde_json::from_slice(&record).map_err(damaged)?;
    let credentials =
        || serde_json::from_value::<AccountCredentials>(registered.credentials.clone());
    let account = builder
        .from_credentials(credentials().map_err(damaged)?)
        .await?;
    if registered.contact != contact {
        account.update_contacts(&[&contact]).await?;
        keep(store, contact, &credentials().map_err(damaged)?).await?;
    }
    Ok(account)
}

async fn keep(
    store: &Store,
    contact: String,
    credentials: &AccountCredentials,
) -> Result<(), Failure> {
    let registered = Registered {
        contact,
        credentials: serde_json::to_value(credentials).map_err(damaged)?,
    };
    let record = serde_json::to_vec(&registered).map_err(damaged)?;
    store.put(RECORD, record).await.map_err(unkept)
}

fn damaged(why: serde_json::Error) -> Failure {
    Failure::new(
        format!("the account's record is damaged: {why}"),
        "put a good one back, or remove `account` from acme.storage: a new one is made",
    )
}

pub fn unkept(why: String) -> Failure {
    Failure::new(
        why,
        "see that acme.storage is there and can be written by this process",
    )
}

impl Told {
    /// What was said since the last time that this was asked.
    pub fn take(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, fields: &HeaderMap) {
        let value = fields.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        if let Some(wait) = value.and_then(|value| retry_after(value, SystemTime::now())) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait);
        }
    }
}

/// Seconds, or a date: RFC 9110 §10.2.3.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}

struct Http {
    exchange: Exchange,
    told: Told,
}

type Answering = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Http {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answering {
        let (exchange, told) = (self.exchange.clone(), self.told.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body in memory can't fail");
            let (url, method) = (parts.uri.clone(), parts.method.clone());
            let request = Request::from_parts(parts, body.to_bytes());
            let failed = |why: String| Error::Other(format!("{method} {url}: {why}").into());
            let (parts, body) = exchange(request).await.map_err(failed)?.into_parts();
            if parts.status.is_client_error() || parts.status.is_server_error() {
                told.note(&parts.headers);
                if !is_problem(&parts.headers) {
                    return Err(failed(format!("its answer is {}", parts.status)));
                }
            }
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        })
    }
}

/// RFC 9457; nothing else says why.
fn is_problem(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/problem+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_told_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH;
        let wait = |value| retry_after(value, now);
        assert_eq!(wait(" 120 "), Some(Duration::from_secs(120)));
        let date = "Thu, 01 Jan 1970 01:00:00 GMT";
        assert_eq!(wait(date), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after(date, now + Duration::from_secs(7200)), None);
        assert_eq!(wait("soon"), None);
    }
}
