//! Where something listens: clients come by one, servers are reached at one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// An address of TCP, or a Unix socket's file. Written as `127.0.0.1:9001` and `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    Tcp(SocketAddr),
    /// An absolute path, no longer than the kernel takes.
    Unix(Arc<str>),
}

/// What a path is told apart from an address by, as nginx and curl's proxies have it.
pub const UNIX: &str = "unix:";

/// Of `sockaddr_un`, less the byte that ends it; unix(7).
const LONGEST: usize = 107;

impl Endpoint {
    /// What comes after `unix:`. An error says what to write.
    pub fn unix(path: &str) -> Result<Endpoint, String> {
        if !Path::new(path).is_absolute() || path.ends_with('/') || path.contains('\0') {
            return Err(format!(
                "`{UNIX}{path}` has no absolute path of a file; write it like unix:/run/app.sock"
            ));
        }
        match path.len() <= LONGEST {
            true => Ok(Endpoint::Unix(path.into())),
            false => Err(format!(
                "`{UNIX}{path}` is longer than the {LONGEST} bytes that a socket's path may have; \
                 choose a shorter one"
            )),
        }
    }

    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        }
    }

    pub fn port(&self) -> Option<u16> {
        self.tcp().map(|address| address.port())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        match text.strip_prefix(UNIX) {
            Some(path) => Endpoint::unix(path),
            None => text.parse().map(Endpoint::Tcp).map_err(|_| {
                format!("`{text}` is no address; write it like 10.0.0.5:8080 or unix:/run/app.sock")
            }),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint::Tcp(address)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Endpoint, String> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/app.sock"] {
            let read: Endpoint = text.parse().expect("an endpoint");
            assert_eq!(read.to_string(), text);
        }
        let longest = format!("unix:/{}", "a".repeat(LONGEST - 1));
        assert!(longest.parse::<Endpoint>().is_ok());
        let longer = format!("{longest}a");
        for text in [
            "unix:run/app.sock",
            "unix:",
            "unix:/run/",
            "/run/app.sock",
            &longer,
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
