//! What is asked for, and what came of looking.

/// An order, as far as it has come.
pub struct Order {
    pub account: usize,
    pub names: Vec<String>,
    /// One for each of the names, and what came of looking.
    pub tokens: Vec<String>,
    pub looked: Vec<Option<Result<(), String>>>,
    pub certificate: Option<String>,
    /// A certificate, by what it is called in questions about it; null: none was named.
    pub replaces: serde_json::Value,
}

impl Order {
    pub fn status(&self) -> &'static str {
        let failed = |looked: &Option<Result<(), String>>| matches!(looked, Some(Err(_)));
        match () {
            () if self.certificate.is_some() => "valid",
            () if self.looked.iter().any(failed) => "invalid",
            () if self.looked.iter().all(Option::is_some) => "ready",
            () => "pending",
        }
    }
}

pub fn status(looked: &Option<Result<(), String>>) -> &'static str {
    match looked {
        None => "pending",
        Some(Ok(())) => "valid",
        Some(Err(_)) => "invalid",
    }
}
