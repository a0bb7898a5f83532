//! HTTP/3: QUIC's connections, and the requests on their streams. RFC 9000, RFC 9114.
//!
//! A request is a session of Pingora's here, as one over HTTP/2 is; so it goes the same way as all
//! others from there on.

mod connection;
mod exchange;
mod handshake;
mod pseudo;
mod socket;
mod streams;

pub use connection::{Connection, NoRequest, Stream};
pub use handshake::{Rest, Unshaken, shake};
pub use pseudo::check as check_pseudo_fields;
pub use quinn::Incoming;
pub use socket::Socket;

/// Requests that a connection may have open.
pub const STREAMS: u32 = 100;
