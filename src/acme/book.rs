//! What edges tell each other beside certificates and account: a record that who holds the lock writes, and
//! all read again and again.

use super::settings::Challenge;
use super::window::Window;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Another one where certificates have changed.
    pub generation: u64,
    /// Of the order that is under way, for whichever edge the authority comes to.
    pub challenges: Vec<Proof>,
    /// By what certificates are called.
    pub attempts: BTreeMap<Box<str>, Attempt>,
    /// By the same: when they are to be renewed.
    #[serde(default)]
    pub windows: BTreeMap<Box<str>, Window>,
}

/// What has become of the last order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// In a row. One that has begun counts, until it has not failed.
    pub failures: u32,
    /// Unix seconds.
    pub rest_until: i64,
    pub why: Option<String>,
}

/// What is shown to who looks whether a name is ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    pub challenge: Challenge,
    pub domain: Box<str>,
    pub token: Box<str>,
    /// Token and account: RFC 8555 §8.1.
    pub authorization: Box<str>,
}
