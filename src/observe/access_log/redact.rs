//! What a log must not show: values of fields and of queries' keys that may be secrets, and the last
//! part of addresses.

use http::HeaderName;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// In the place of a value.
pub const HIDDEN: &[u8] = b"***";

/// What one entry of `redact` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redact {
    Field(HeaderName),
    /// A key of a query.
    Query(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction(pub Vec<Redact>);

impl Default for Redaction {
    fn default() -> Redaction {
        let fields = [
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-api-key",
        ];
        let keys = ["token", "access_token", "api_key", "password", "signature"];
        let fields = fields.map(|name| Redact::Field(HeaderName::from_static(name)));
        let keys = keys.map(|key| Redact::Query(key.to_owned()));
        Redaction(fields.into_iter().chain(keys).collect())
    }
}

impl Redaction {
    pub fn hides(&self, name: &HeaderName) -> bool {
        let is_it = |redact: &Redact| matches!(redact, Redact::Field(field) if field == name);
        self.0.iter().any(is_it)
    }

    /// A query without what must not be seen. In whatever way a client writes a key, a server may read
    /// it.
    pub fn query<'a>(&self, query: &'a [u8]) -> Cow<'a, [u8]> {
        let hides = |pair: &[u8]| key_of(pair).is_some_and(|key| self.hides_key(&key));
        if !query.split(|b| *b == b'&').any(hides) {
            return Cow::Borrowed(query);
        }
        let pairs = query.split(|b| *b == b'&').map(|pair| {
            let key = pair.split(|b| *b == b'=').next().unwrap_or_default();
            match hides(pair) {
                true => [key, b"=", HIDDEN].concat(),
                false => pair.to_vec(),
            }
        });
        Cow::Owned(pairs.collect::<Vec<_>>().join(&b'&'))
    }

    /// A URL, as Referer has it: it may carry the query of another page.
    pub fn url<'a>(&self, url: &'a [u8], with_query: bool) -> Cow<'a, [u8]> {
        match memchr::memchr(b'?', url) {
            None => Cow::Borrowed(url),
            Some(mark) if !with_query => Cow::Borrowed(&url[..mark]),
            Some(mark) => match self.query(&url[mark + 1..]) {
                Cow::Borrowed(_) => Cow::Borrowed(url),
                Cow::Owned(query) => Cow::Owned([&url[..=mark], &query].concat()),
            },
        }
    }

    fn hides_key(&self, key: &[u8]) -> bool {
        let is_it = |redact: &Redact| matches!(redact, Redact::Query(k) if k.as_bytes().eq_ignore_ascii_case(key));
        self.0.iter().any(is_it)
    }
}

/// None: it has no value.
fn key_of(pair: &[u8]) -> Option<Cow<'_, [u8]>> {
    let key = &pair[..memchr::memchr(b'=', pair)?];
    if !key.contains(&b'%') {
        return Some(Cow::Borrowed(key));
    }
    let (mut plain, mut rest) = (Vec::with_capacity(key.len()), key);
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[2..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    Some(Cow::Owned(plain))
}

/// The network that an address is of: /24 in IPv4, /48 in IPv6.
pub fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(text: &str) -> String {
        let hidden = Redaction::default().query(text.as_bytes()).into_owned();
        String::from_utf8(hidden).expect("as it came")
    }

    #[test]
    fn values_of_named_keys_are_hidden_however_the_key_is_written() {
        assert_eq!(query("a=1&token=s3cret&b"), "a=1&token=***&b");
        assert_eq!(query("%74oken=s3cret"), "%74oken=***");
        assert_eq!(query("TOKEN=s3cret=x"), "TOKEN=***");
        assert_eq!(query("a=token&%zz=1&%"), "a=token&%zz=1&%");
        let url = |with_query| {
            let url = Redaction::default()
                .url(b"http://a/?token=1&b=2", with_query)
                .into_owned();
            String::from_utf8(url).expect("as it came")
        };
        assert_eq!(
            (&*url(true), &*url(false)),
            ("http://a/?token=***&b=2", "http://a/")
        );
    }

    #[test]
    fn of_an_address_its_network_is_left() {
        let text = |address: &str| truncated(address.parse().expect("one")).to_string();
        assert_eq!(text("203.0.113.77"), "203.0.113.0");
        assert_eq!(text("2001:db8:1:2:3::4"), "2001:db8:1::");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_wherever_it_stands(before in "[a-z=%&0-9]{0,20}", after in "[a-z=%&0-9]{0,20}") {
            let text = format!("{before}&token=SECRET&{after}");
            prop_assert!(!query(&text).contains("SECRET"));
        }
    }
}
