//! The PROXY protocol, versions 1 and 2, as servers are told it: whose connection this is, before its
//! first byte. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! A connection that says so is that client's alone, so it is made for one request and never kept.

use crate::endpoint::Endpoint;
use crate::unsent::{self, Most};
use async_trait::async_trait;
use pingora::ErrorType;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    V1,
    V2,
}

/// A client's connection to the edge, by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub edge: SocketAddr,
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and LOCAL or PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// TCP over IPv4, and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

impl ProxyProtocol {
    /// What a connection begins with. None: it is the edge's own, to see whether the server is well.
    pub fn header(self, ends: Option<&Ends>) -> Vec<u8> {
        match self {
            ProxyProtocol::V1 => version1(ends).into_bytes(),
            ProxyProtocol::V2 => version2(ends),
        }
    }
}

fn version1(ends: Option<&Ends>) -> String {
    let Some(Ends { client, edge }) = ends.map(Ends::of_one_family) else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), edge.ip());
    let (from_port, to_port) = (client.port(), edge.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n")
}

fn version2(ends: Option<&Ends>) -> Vec<u8> {
    let Some(Ends { client, edge }) = ends.map(Ends::of_one_family) else {
        return [V2, &[LOCAL, 0, 0, 0]].concat();
    };
    let mut said = Vec::with_capacity(36);
    for ip in [client.ip(), edge.ip()] {
        match ip {
            IpAddr::V4(v4) => said.extend(v4.octets()),
            IpAddr::V6(v6) => said.extend(v6.octets()),
        }
    }
    for port in [client.port(), edge.port()] {
        said.extend(port.to_be_bytes());
    }
    let family = if client.is_ipv4() { TCP4 } else { TCP6 };
    let length = said.len() as u8;
    [V2, &[PROXY, family, 0, length], &said].concat()
}

impl Ends {
    /// Both are told in one family: IPv4 beside IPv6 in its mapped form. RFC 4291 §2.5.5.2.
    fn of_one_family(&self) -> Ends {
        if self.client.is_ipv4() == self.edge.is_ipv4() {
            return *self;
        }
        let mapped = |address: SocketAddr| {
            let ip: Ipv6Addr = match address.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            SocketAddr::from((ip, address.port()))
        };
        Ends {
            client: mapped(self.client),
            edge: mapped(self.edge),
        }
    }
}

/// Connects, and says this before all else. TLS, where it is spoken, comes after.
pub async fn connect(to: &Endpoint, header: &[u8]) -> io::Result<Stream> {
    match to {
        Endpoint::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await?;
            unsent::hold_little(&stream, Most::ToServers);
            stream.write_all(header).await?;
            Ok(stream.into())
        }
        Endpoint::Unix(path) => {
            let mut stream = UnixStream::connect(&**path).await?;
            stream.write_all(header).await?;
            Ok(stream.into())
        }
    }
}

/// Pingora's way to connect to a server that is told.
#[derive(Debug)]
pub struct Announced {
    pub to: Endpoint,
    pub header: Vec<u8>,
}

#[async_trait]
impl L4Connect for Announced {
    async fn connect(&self, _: &PeerAddress) -> pingora::Result<Stream> {
        connect(&self.to, &self.header).await.map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            pingora::Error::because(kind, format!("connecting to {}", self.to), e)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, edge: &str) -> Ends {
        Ends {
            client: client.parse().expect("an address"),
            edge: edge.parse().expect("an address"),
        }
    }

    #[test]
    fn version_1_is_a_line() {
        let said =
            |ends: Option<&Ends>| String::from_utf8(ProxyProtocol::V1.header(ends)).expect("text");
        assert_eq!(said(None), "PROXY UNKNOWN\r\n");
        let v4 = ends("203.0.113.7:4660", "10.0.0.1:443");
        assert_eq!(
            said(Some(&v4)),
            "PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n"
        );
        let v6 = ends("[2001:db8::7]:4660", "[::1]:443");
        assert_eq!(said(Some(&v6)), "PROXY TCP6 2001:db8::7 ::1 4660 443\r\n");
        let mixed = ends("[2001:db8::7]:0", "10.0.0.1:443");
        assert_eq!(
            said(Some(&mixed)),
            "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 0 443\r\n"
        );
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        assert!(said(Some(&ends(longest, longest))).len() <= 107);
    }

    #[test]
    fn version_2_is_a_header_of_the_length_it_says() {
        let said = |ends: Option<&Ends>| {
            let header = ProxyProtocol::V2.header(ends);
            let (signature, rest) = header.split_at(12);
            assert_eq!(signature, b"\r\n\r\n\0\r\nQUIT\n");
            assert_eq!(
                usize::from(rest[2]) << 8 | usize::from(rest[3]),
                rest.len() - 4
            );
            rest.to_vec()
        };
        assert_eq!(said(None), [0x20, 0, 0, 0]);
        let v4 = ends("203.0.113.7:4660", "10.0.0.1:443");
        let told = [
            0x21, 0x11, 0, 12, 203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb,
        ];
        assert_eq!(said(Some(&v4)), told);
        let v6 = said(Some(&ends("[2001:db8::7]:4660", "10.0.0.1:443")));
        assert_eq!(v6[..4], [0x21, 0x21, 0, 36]);
        assert_eq!(v6[4..8], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(v6[20 + 10..20 + 16], [0xff, 0xff, 10, 0, 0, 1]);
    }
}
