//! Payments, as far as a provider tells: events that may come twice, late, and in any order.

use super::words::words;
use serde::{Deserialize, Serialize};

words! {
    /// In the order in which they may follow each other. A payer whose card was refused may try again, so
    /// `paid` follows `failed`; what has come further never goes back.
    pub enum State {
        Pending = "pending",
        Failed = "failed",
        Paid = "paid",
        Refunded = "refunded",
    }
}

#[derive(Serialize)]
pub struct Payment {
    pub id: i64,
    pub booking: i64,
    pub amount_cents: i64,
    /// Where it is paid.
    pub checkout: String,
    pub state: State,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip)]
    pub reference: String,
}

/// What a provider tells of a payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The provider's, the same however often it is told.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The provider's name for the payment.
    pub payment: String,
}

impl Event {
    /// What the payment is in, once this has happened; None for what is no news about payments.
    pub fn state(&self) -> Option<State> {
        match self.kind.as_str() {
            "payment.failed" => Some(State::Failed),
            "payment.paid" => Some(State::Paid),
            "payment.refunded" => Some(State::Refunded),
            _ => None,
        }
    }

    pub fn is_well_formed(&self) -> bool {
        let fits = |text: &str| {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        fits(&self.id) && fits(&self.kind) && fits(&self.payment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_late_changes_nothing() {
        assert!(State::Failed < State::Paid && State::Paid < State::Refunded);
        let told = |kind: &str| Event {
            id: "e".into(),
            kind: kind.into(),
            payment: "p".into(),
        };
        assert_eq!(told("payment.paid").state(), Some(State::Paid));
        assert_eq!(told("customer.created").state(), None);
        assert!(told("payment.paid").is_well_formed());
        assert!(!told("a b").is_well_formed());
    }
}
