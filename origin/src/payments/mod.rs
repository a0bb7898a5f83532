//! The way to a payment provider, which may be any that can begin a payment, pay it back, and sign what it
//! tells. Nothing here changes a booking: that follows from what the provider tells.

mod sandbox;
mod signature;

pub use sandbox::Sandbox;
pub use signature::SIGNATURE;

use crate::domain::clock::Moment;
use crate::domain::payment::Event;
use std::{fmt, future::Future, pin::Pin};

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

pub trait Provider: Send + Sync {
    /// `key` names the intention: the same one twice is one payment.
    fn begin<'a>(&'a self, key: &'a str, amount_cents: i64) -> Answer<'a, Begun>;

    /// Asking again changes nothing. That it is paid back, an event will tell.
    fn refund<'a>(&'a self, reference: &'a str) -> Answer<'a, ()>;

    /// What the provider tells, if it is the provider, and lately.
    fn read(&self, signature: &str, body: &[u8], now: Moment) -> Result<Event, Unbelievable>;
}

pub struct Begun {
    /// The provider's name for the payment.
    pub reference: String,
    /// Where the payer goes.
    pub checkout: String,
}

#[derive(Debug)]
pub struct ProviderError(pub String);

#[derive(Debug, PartialEq)]
pub enum Unbelievable {
    /// Signed by somebody else, or not at all, or too long ago.
    Unsigned,
    /// Signed, and still not an event.
    NoEvent,
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the payment provider: {}", self.0)
    }
}
