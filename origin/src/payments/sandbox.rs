//! A provider that moves no money: whoever pays says what becomes of the payment. It tells so as a real
//! one does, in signed events.

use super::signature::{is_signed, sign};
use super::{Answer, Begun, Provider, Unbelievable};
use crate::domain::clock::Moment;
use crate::domain::payment::Event;
use crate::domain::random::in_hex;
use crate::store::Store;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::Arc;

pub struct Sandbox {
    secret: Vec<u8>,
    store: Arc<Store>,
}

impl Sandbox {
    pub fn new(secret: Vec<u8>, store: Arc<Store>) -> Self {
        Self { secret, store }
    }

    /// What it would send, with the signature.
    pub fn webhook(&self, event: &Event, now: Moment) -> (String, String) {
        let body = serde_json::to_string(event).expect("an event has only text keys");
        let signature = sign(&self.secret, body.as_bytes(), now);
        (body, signature)
    }
}

impl Provider for Sandbox {
    /// The name follows from the key, so that the same intention is the same payment.
    fn begin<'a>(&'a self, key: &'a str, _amount_cents: i64) -> Answer<'a, Begun> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("keys may have any length");
        mac.update(key.as_bytes());
        let reference = in_hex(&mac.finalize().into_bytes()[..16]);
        let checkout = format!("/sandbox/payments/{reference}");
        let begun = Begun {
            reference,
            checkout,
        };
        Box::pin(async { Ok(begun) })
    }

    fn refund<'a>(&'a self, reference: &'a str) -> Answer<'a, ()> {
        let event = Event {
            id: format!("refund-{reference}"),
            kind: "payment.refunded".into(),
            payment: reference.into(),
        };
        Box::pin(async move {
            let told = self.store.hear_event(&event, Moment::now()).await;
            told.map_err(|error| super::ProviderError(error.to_string()))
        })
    }

    fn read(&self, signature: &str, body: &[u8], now: Moment) -> Result<Event, Unbelievable> {
        if !is_signed(&self.secret, signature, body, now) {
            return Err(Unbelievable::Unsigned);
        }
        serde_json::from_slice(body)
            .ok()
            .filter(Event::is_well_formed)
            .ok_or(Unbelievable::NoEvent)
    }
}
