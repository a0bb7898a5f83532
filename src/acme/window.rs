//! When an authority wants a certificate to be renewed, which it may say of each: RFC 9773. It knows what the
//! certificate doesn't, such as that it is about to be revoked.

use super::account::{self, Exchange, Told};
use super::failure::Failure;
use super::settings::AcmeSettings;
use super::store::Store;
use instant_acme::{CertificateIdentifier, Error};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds until it is asked again, whatever it says: RFC 9773 §4.3.2.
const SOONEST: i64 = 60;
const LATEST: i64 = 86_400;
/// Where that failed: §4.3.3.
const AFTER_FAILURE: i64 = 6 * 3600;

/// What was said of a certificate, in the book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Which one.
    of: Box<str>,
    /// From when to when, in Unix seconds. None: nothing was said.
    span: Option<(i64, i64)>,
    /// Unix seconds.
    ask_again: i64,
}

/// Asks. What was said `before` stays where nothing can be learned. Whoever calls holds the store's lock.
pub async fn ask(
    settings: &AcmeSettings,
    store: &Store,
    exchange: &Exchange,
    id: &CertificateIdentifier<'_>,
    before: Option<&Window>,
    now: i64,
) -> Window {
    let said = async {
        let account = account::open(settings, store, exchange, &Told::default()).await?;
        match account.renewal_info(id).await {
            Ok((info, wait)) => Ok(Some((info, wait))),
            Err(Error::Unsupported(_)) => Ok(None),
            Err(e) => Err(Failure::from(e)),
        }
    };
    let of = id.to_string().into_boxed_str();
    let known = before.filter(|before| before.of == of);
    let (span, wait) = match said.await {
        Ok(Some((info, wait))) => {
            let window = info.suggested_window;
            let span = (window.start.unix_timestamp(), window.end.unix_timestamp());
            if known.is_some_and(|known| known.span != Some(span)) {
                let see = info.explanation_url.unwrap_or_default();
                tracing::info!(certificate = %of, see, "acme: the authority wants it renewed at another time");
            }
            (Some(span), bounded(wait))
        }
        Ok(None) => (None, LATEST),
        Err(Failure { why, .. }) => {
            tracing::debug!(certificate = %of, "acme: when to renew it can't be learned: {why}");
            (known.and_then(|known| known.span), AFTER_FAILURE)
        }
    };
    Window {
        of,
        span,
        ask_again: now + wait,
    }
}

fn bounded(wait: Duration) -> i64 {
    i64::try_from(wait.as_secs())
        .unwrap_or(LATEST)
        .clamp(SOONEST, LATEST)
}

impl Window {
    /// Where one was said of this certificate.
    pub fn span(&self, id: &CertificateIdentifier<'_>) -> Option<(i64, i64)> {
        self.span.filter(|_| *self.of == *id.to_string())
    }

    pub fn is_due(&self, id: &CertificateIdentifier<'_>, now: i64) -> bool {
        self.ask_again <= now || *self.of != *id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_one_certificate() {
        let id = |serial: &'static str| CertificateIdentifier {
            authority_key_identifier: "aki".into(),
            serial: serial.into(),
        };
        let window = Window {
            of: "aki.one".into(),
            span: Some((1, 2)),
            ask_again: 10,
        };
        assert_eq!(window.span(&id("one")), Some((1, 2)));
        assert_eq!(window.span(&id("two")), None);
        assert!(!window.is_due(&id("one"), 9) && window.is_due(&id("one"), 10));
        assert!(window.is_due(&id("two"), 0));
    }

    #[test]
    fn nobody_is_asked_all_the_time_or_never_again() {
        assert_eq!(bounded(Duration::ZERO), SOONEST);
        assert_eq!(bounded(Duration::from_secs(3600)), 3600);
        assert_eq!(bounded(Duration::MAX), LATEST);
    }
}
