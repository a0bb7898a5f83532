//! What can go wrong with a request.
//!
//! Rooms return these; only `proxy/answer.rs` turns one into an HTTP answer.

use std::fmt;

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// For the log; never shown to a client.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No server of the upstream could be picked.
    NoServer,
    /// The upstream has as many requests as it may have, and as many wait.
    Busy,
    /// No connection to the server.
    Connect,
    /// The server did not answer in time.
    Timeout,
    /// The server answered something that is not HTTP, or broke off.
    BadAnswer,
    /// The answer ended before its framing said so. RFC 9112 §8.
    Truncated,
    /// No more pictures can be made at the moment.
    Full,
    /// What the server has is no picture that can be worked on.
    NotAPicture,
    /// What the server has is larger than what is read to work on.
    TooLarge,
}

impl Error {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Error {
        Error {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::NoServer => "no server is usable",
            Kind::Busy => "the upstream is busy",
            Kind::Connect => "no connection to the server",
            Kind::Timeout => "the server did not answer in time",
            Kind::BadAnswer => "the server's answer is not valid",
            Kind::Truncated => "the server's answer broke off",
            Kind::Full => "no more pictures can be made at the moment",
            Kind::NotAPicture => "not a picture that can be worked on",
            Kind::TooLarge => "larger than what is read to work on",
        };
        write!(f, "{what}: {}", self.detail)
    }
}

impl std::error::Error for Error {}
