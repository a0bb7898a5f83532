//! Who asks, as far as limits can tell.

use super::claims::Claims;
use super::settings::{Condition, KeyPart};
use http::header::COOKIE;
use http::{HeaderMap, Method};
use std::net::IpAddr;

/// What limits know of a request.
pub struct Asker<'a> {
    pub address: IpAddr,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// Of a verified token, where the request has one.
    pub claims: Option<&'a Claims>,
    /// The route's name.
    pub route: &'a str,
}

impl Asker<'_> {
    /// Feeds what tells this asker from others, each part apart from the next. False: the request
    /// has none of them.
    pub fn tell(&self, parts: &[KeyPart], mut sink: impl FnMut(&[u8])) -> bool {
        let mut has_any = false;
        for part in parts {
            let mut room = [0; 8];
            let found = self.read(part, &mut room);
            has_any |= found.is_some();
            // No value is as long as this.
            let length = found.map_or(u64::MAX, |value| value.len() as u64);
            sink(&length.to_le_bytes());
            found.into_iter().for_each(&mut sink);
        }
        has_any
    }

    /// Claims hold as they do for a route's `match` and `require`.
    pub fn fits(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|c| match &c.of {
            KeyPart::Claim(name) => self.claims.is_some_and(|claims| claims.holds(name, &c.is)),
            of => self.read(of, &mut [0; 8]) == Some(c.is.as_bytes()),
        })
    }

    /// `room`: for what has no bytes of its own.
    fn read<'a>(&'a self, part: &KeyPart, room: &'a mut [u8; 8]) -> Option<&'a [u8]> {
        match part {
            KeyPart::Route => Some(self.route.as_bytes()),
            KeyPart::Header(name) => Some(self.headers.get(name)?.as_bytes()),
            KeyPart::Cookie(name) => cookie(self.headers, name),
            KeyPart::Claim(name) => Some(self.claims?.get(name)?.as_bytes()),
            KeyPart::ClientAddress => {
                let length = match self.address {
                    IpAddr::V4(v4) => {
                        room[..4].copy_from_slice(&v4.octets());
                        4
                    }
                    // One customer usually has a whole /64; its addresses share a bucket.
                    IpAddr::V6(v6) => {
                        room.copy_from_slice(&v6.octets()[..8]);
                        8
                    }
                };
                Some(&room[..length])
            }
        }
    }
}

/// The value of the first cookie of this name. RFC 6265 §5.4.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).iter().map(|v| v.as_bytes());
    let pairs = fields.flat_map(|field| field.split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    values.next()
}
