//! Which addresses are anybody's, and not this machine's or its network's own: who names a host may
//! not make the edge ask what only the edge can reach.

use super::settings::{NameSettings, ServerSettings, UpstreamSettings};
use super::transport::{Tls, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// From one look-up of a source's host to the next.
const LOOK_UP: Duration = Duration::from_secs(30);

impl UpstreamSettings {
    /// A host that pictures are fetched from: `cdn.example`, `cdn.example:8080`, and over TLS with
    /// `https://` before it.
    pub fn of_source(source: &str, private: bool) -> UpstreamSettings {
        let secured = source.strip_prefix("https://");
        let usual_port = if secured.is_some() { 443 } else { 80 };
        let (host, port) = host_and_port(secured.unwrap_or(source), usual_port);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let name = address.is_err().then(|| host.to_owned());
        let mut settings = UpstreamSettings {
            name: format!("images {source}"),
            transport: Transport {
                tls: secured.map(|_| Tls::new(name)),
                ..Transport::default()
            },
            ..UpstreamSettings::default()
        };
        match address {
            Ok(ip) if private || is_public(ip) => settings.servers.push(ServerSettings {
                address: SocketAddr::new(ip, port).into(),
                weight: 1,
                backup: false,
            }),
            Ok(_) => {}
            Err(_) => settings.names.push(NameSettings {
                host: host.to_owned(),
                port,
                every: LOOK_UP,
                weight: 1,
                backup: false,
                public: !private,
            }),
        }
        settings
    }
}

fn host_and_port(source: &str, usual_port: u16) -> (&str, u16) {
    match source.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            (host, port.parse().unwrap_or(usual_port))
        }
        _ => (source, usual_port),
    }
}

/// By the registries of special addresses: RFC 6890 and what came after it.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        // This network; multicast, what is reserved, and all.
        || a == 0
        || a >= 224
        // Shared by a provider's customers (RFC 6598), protocols' own, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(inner) = ip.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let segments = ip.segments();
    // Only these are given out: RFC 4291 §2.4. Of them, tunnels reach what they have inside.
    let is_unicast = segments[0] & 0xe000 == 0x2000;
    let is_tunnel = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x200);
    let is_documentation = segments[0] == 0x2001 && segments[1] == 0xdb8;
    is_unicast && !is_tunnel && !is_documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_everybody_is_not_public() {
        for own in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(own.parse().expect("an address")), "{own}");
        }
        for anybodys in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(
                is_public(anybodys.parse().expect("an address")),
                "{anybodys}"
            );
        }
    }

    #[test]
    fn a_source_is_an_upstream() {
        let source = |text, private| UpstreamSettings::of_source(text, private);
        let named = source("cdn.example:81", false);
        let name = &named.names[0];
        assert_eq!(
            (&*name.host, name.port, name.public),
            ("cdn.example", 81, true)
        );
        assert_eq!(source("cdn.example", true).names[0].port, 80);
        assert_eq!(
            source("[::1]:9", true).servers[0].address.to_string(),
            "[::1]:9"
        );
        assert!(source("127.0.0.1:9", false).servers.is_empty());
        assert_eq!(
            source("127.0.0.1", true).servers[0].address.port(),
            Some(80)
        );
        assert_eq!(source("[2606:4700::1]", false).servers.len(), 1);
    }
}
