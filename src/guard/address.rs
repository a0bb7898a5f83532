//! Where a request comes from, and whether that place may come in.

use ipnet::IpNet;
use std::net::IpAddr;

/// A set of networks. Sorted and merged once, so that a look-up in thousands costs a binary search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks {
    /// Disjoint ranges of addresses as IPv6 numbers, in order.
    ranges: Vec<(u128, u128)>,
}

impl Networks {
    pub fn new(nets: &[IpNet]) -> Networks {
        let mut ranges: Vec<_> = nets
            .iter()
            .map(|n| (number(n.network()), number(n.broadcast())))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1 => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Networks { ranges: merged }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.ranges.partition_point(|(low, _)| *low <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }
}

/// IPv4 in its mapped form, so that `::ffff:10.0.0.1` and `10.0.0.1` are one place.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// A route's `allow` and `deny`. Deny wins; an empty allow list admits all.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allow: Networks,
    deny: Networks,
}

impl AddressRules {
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> AddressRules {
        AddressRules {
            allow: Networks::new(allow),
            deny: Networks::new(deny),
        }
    }

    pub fn admit(&self, address: IpAddr) -> bool {
        !self.deny.contains(address) && (self.allow.is_empty() || self.allow.contains(address))
    }
}

/// The client's address: the rightmost hop that is not a trusted proxy's, believed only from a
/// trusted peer. `hops` are those that proxies have told of, the first one first; None is one that
/// is no address. It ends the search, for nothing left of it can be trusted.
pub fn client_address(
    peer: IpAddr,
    trusted: &Networks,
    hops: impl DoubleEndedIterator<Item = Option<IpAddr>>,
) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in hops.rev() {
        if !trusted.contains(client) {
            break;
        }
        match hop {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// The hops of an X-Forwarded-For line.
pub fn x_forwarded_for(line: &[u8]) -> impl DoubleEndedIterator<Item = Option<IpAddr>> + '_ {
    line.split(|b| *b == b',').map(parse_entry)
}

/// The hops of a Forwarded line, RFC 7239: what each element's `for` says.
pub fn forwarded(line: &[u8]) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
    let hops: Vec<_> = split_unquoted(line, b',').map(forwarded_hop).collect();
    hops.into_iter()
}

fn forwarded_hop(element: &[u8]) -> Option<IpAddr> {
    parse_entry(parameter(element, "for")?)
}

/// What the first element of a Forwarded line says under this name: that is of the proxy which the client
/// came to.
pub fn first_forwarded<'l>(line: &'l [u8], name: &str) -> Option<&'l [u8]> {
    parameter(split_unquoted(line, b',').next()?, name)
}

fn parameter<'e>(element: &'e [u8], name: &str) -> Option<&'e [u8]> {
    let value = split_unquoted(element, b';').find_map(|pair| {
        let (own, value) = pair.trim_ascii().split_at_checked(name.len())?;
        let is_it = own.eq_ignore_ascii_case(name.as_bytes());
        is_it.then(|| value.strip_prefix(b"=")).flatten()
    })?;
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    Some(bare.unwrap_or(value))
}

/// A separator within quotes is none. Addresses have no backslashes, so none are undone.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |b| {
        quoted ^= *b == b'"';
        *b == separator && !quoted
    })
}

/// An address, with or without a port: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().expect("a network")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn deny_wins_and_an_empty_allow_list_admits_all() {
        let rules = AddressRules::new(&nets(&["10.0.0.0/8"]), &nets(&["10.1.0.0/16"]));
        assert!(rules.admit(ip("10.2.0.1")));
        assert!(!rules.admit(ip("10.1.0.1")));
        assert!(!rules.admit(ip("11.0.0.1")));
        assert!(rules.admit(ip("::ffff:10.2.0.1")));
        assert!(AddressRules::default().admit(ip("::1")));
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_hop() {
        let trusted = Networks::new(&nets(&["127.0.0.0/8", "10.0.0.0/8"]));
        let ask = |peer: &str, lines: &[&'static str]| {
            let hops = lines.iter().flat_map(|l| x_forwarded_for(l.as_bytes()));
            client_address(ip(peer), &trusted, hops)
        };
        assert_eq!(ask("127.0.0.1", &[]), ip("127.0.0.1"));
        assert_eq!(
            ask("9.9.9.9", &["1.1.1.1"]),
            ip("9.9.9.9"),
            "an untrusted peer is itself"
        );
        assert_eq!(
            ask("127.0.0.1", &["1.1.1.1, 2.2.2.2, 10.0.0.7"]),
            ip("2.2.2.2")
        );
        assert_eq!(ask("127.0.0.1", &["1.1.1.1", "2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(
            ask("127.0.0.1", &["1.1.1.1, nonsense, 10.0.0.7"]),
            ip("10.0.0.7")
        );
        assert_eq!(ask("127.0.0.1", &["[2001:db8::1]:80"]), ip("2001:db8::1"));
        assert_eq!(ask("127.0.0.1", &["1.2.3.4:80"]), ip("1.2.3.4"));
    }

    #[test]
    fn forwarded_tells_the_same_in_more_words() {
        let hops = |line: &'static str| forwarded(line.as_bytes()).collect::<Vec<_>>();
        assert_eq!(
            hops(r#"for=1.2.3.4;proto=http;by=10.0.0.1, For="[2001:db8::1]:4711""#),
            [Some(ip("1.2.3.4")), Some(ip("2001:db8::1"))]
        );
        assert_eq!(
            hops(r#"host="a,b;c";FOR="1.2.3.4:80" , proto=https"#),
            [Some(ip("1.2.3.4")), None]
        );
        assert_eq!(hops("for=unknown, for=_hidden"), [None, None]);
        let first = |line: &'static str, name| first_forwarded(line.as_bytes(), name);
        let line = r#"for=1.2.3.4;Proto=HTTPS;host="a,b:80", proto=http;host=c;by=d"#;
        assert_eq!(first(line, "proto"), Some(&b"HTTPS"[..]));
        assert_eq!(first(line, "host"), Some(&b"a,b:80"[..]));
        assert_eq!(first(line, "by"), None);
        assert_eq!(first("protocol=https", "proto"), None);
        assert_eq!(first("", "proto"), None);
    }

    proptest! {
        #[test]
        fn a_set_contains_what_any_of_its_networks_contains(
            list in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..40),
            asked in any::<u32>(),
        ) {
            let nets: Vec<IpNet> = list
                .iter()
                .map(|(a, len)| IpNet::new(IpAddr::V4((*a).into()), *len).expect("at most 32"))
                .collect();
            let asked = IpAddr::V4(asked.into());
            prop_assert_eq!(
                Networks::new(&nets).contains(asked),
                nets.iter().any(|n| n.contains(&asked))
            );
        }

        #[test]
        fn no_forwarded_line_panics(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let trusted = Networks::new(&nets(&["127.0.0.0/8"]));
            client_address(ip("127.0.0.1"), &trusted, x_forwarded_for(&line));
            client_address(ip("127.0.0.1"), &trusted, forwarded(&line));
            first_forwarded(&line, "host");
        }
    }
}
