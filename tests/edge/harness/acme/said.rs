//! What is said to those who ask.

use serde_json::{Value, json};

/// Status, kind, detail.
pub struct Problem(pub u16, pub &'static str, pub String);

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// A kind of problem, with its status, and seconds for Retry-After.
    Problem(u16, &'static str, Option<u32>),
    /// What a proxy says whose server is away.
    BadGateway,
}

/// An answer, but for its nonce.
pub struct Said {
    pub status: u16,
    pub kind: &'static str,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Said {
    pub fn of(status: u16, json: Value) -> Said {
        Said {
            status,
            kind: "application/json",
            fields: Vec::new(),
            body: if json.is_null() {
                String::new()
            } else {
                json.to_string()
            },
        }
    }

    pub fn problem(Problem(status, kind, detail): Problem) -> Said {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let problem = json!({"type": kind, "detail": detail, "status": status});
        Said {
            kind: "application/problem+json",
            ..Said::of(status, problem)
        }
    }

    pub fn at(mut self, location: String) -> Said {
        self.fields.push(("location".into(), location));
        self
    }
}
