//! The PROXY protocol, versions 1 and 2: what a proxy in front says of a connection before its
//! first byte. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use super::Malformed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 1, its line end included.
const V1_MOST: usize = 107;
/// Of version 2, what comes after the length: addresses take 36 bytes of it, or 216; the rest is
/// more than anybody says.
const V2_MOST: usize = 4096;
const WRONG: Malformed = Malformed("a PROXY protocol header that is none");

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Of the header, in bytes.
    pub length: usize,
    /// Who has connected to the proxy. None: the proxy itself, to see whether we are well.
    pub client: Option<SocketAddr>,
}

/// None: more of it must come.
pub fn read(input: &[u8]) -> Result<Option<Proxied>, Malformed> {
    let begins = |with: &[u8]| {
        let seen = input.len().min(with.len());
        input[..seen] == with[..seen]
    };
    match input.len() {
        _ if begins(V2) && input.len() < V2.len() => Ok(None),
        _ if begins(V2) => version2(input),
        _ if begins(V1) && input.len() < V1.len() => Ok(None),
        _ if begins(V1) => version1(input),
        _ => Err(WRONG),
    }
}

fn version1(input: &[u8]) -> Result<Option<Proxied>, Malformed> {
    let seen = &input[..input.len().min(V1_MOST)];
    let Some(end) = memchr::memmem::find(seen, b"\r\n") else {
        return match seen.len() < V1_MOST {
            true => Ok(None),
            false => Err(WRONG),
        };
    };
    let line = std::str::from_utf8(&seen[V1.len()..end]).map_err(|_| WRONG)?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] => {
            let _: (Ipv4Addr, u16) = (parse(to)?, port(to_port)?);
            let from: Ipv4Addr = parse(from)?;
            Some((from, port(from_port)?).into())
        }
        ["TCP6", from, to, from_port, to_port] => {
            let _: (Ipv6Addr, u16) = (parse(to)?, port(to_port)?);
            let from: Ipv6Addr = parse(from)?;
            Some((from, port(from_port)?).into())
        }
        _ => return Err(WRONG),
    };
    Ok(Some(Proxied {
        length: end + 2,
        client,
    }))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| WRONG)
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| parse(text)).ok_or(WRONG)?
}

fn version2(input: &[u8]) -> Result<Option<Proxied>, Malformed> {
    let Some(&[version_and_command, family, high, low]) = input[V2.len()..].first_chunk() else {
        return Ok(None);
    };
    let begin = V2.len() + 4;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_MOST {
        return Err(WRONG);
    }
    // 2 is the version; 0 is LOCAL, 1 is PROXY.
    let local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(WRONG),
    };
    let Some(said) = input.get(begin..begin + length) else {
        return Ok(None);
    };
    let client = match family {
        _ if local => None,
        // TCP over IPv4 and over IPv6: two addresses, two ports.
        0x11 => Some(address::<4>(said, 8)?),
        0x21 => Some(address::<16>(said, 32)?),
        // Unspecified, and a Unix socket: there is no address to take over.
        0x00 | 0x31 => None,
        _ => return Err(WRONG),
    };
    Ok(Some(Proxied {
        length: begin + length,
        client,
    }))
}

fn address<const N: usize>(said: &[u8], ports: usize) -> Result<SocketAddr, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let ip: [u8; N] = *said.first_chunk().ok_or(WRONG)?;
    let rest = said.get(ports..).ok_or(WRONG)?;
    let [high, low, _, _] = *rest.first_chunk().ok_or(WRONG)?;
    Ok((IpAddr::from(ip), u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let length = (said.len() as u16).to_be_bytes();
        [V2, &[command, family], &length, said].concat()
    }

    /// Whatever follows is not its affair, and of every part of it more is wanted.
    fn check(header: &[u8], client: Option<&str>) {
        let client = client.map(|c| c.parse().expect("an address"));
        let length = header.len();
        let all = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&all), Ok(Some(Proxied { length, client })));
        for end in 0..length {
            assert_eq!(read(&header[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn version_1() {
        check(b"PROXY TCP4 1.2.3.4 10.0.0.1 5 80\r\n", Some("1.2.3.4:5"));
        check(
            b"PROXY TCP6 2001:db8::1 ::1 65535 443\r\n",
            Some("[2001:db8::1]:65535"),
        );
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None);
    }

    #[test]
    fn version_2() {
        let said = [1, 2, 3, 4, 10, 0, 0, 1, 0, 5, 0, 80];
        check(&v2(0x21, 0x11, &said), Some("1.2.3.4:5"));
        let more = [&said[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        check(&v2(0x21, 0x11, &more), Some("1.2.3.4:5"));
        let mut said = [0; 36];
        (said[15], said[33]) = (1, 9);
        check(&v2(0x21, 0x21, &said), Some("[::1]:9"));
        check(&v2(0x20, 0x00, &[]), None);
        check(&v2(0x20, 0x11, &[1; 12]), None);
        check(&v2(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn what_is_none() {
        for header in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 1.2.3.4 10.0.0.1 5\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 5 80 \r\n",
            b"PROXY TCP4  1.2.3.4 10.0.0.1 5 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 05 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 +5 80\r\n",
            b"PROXY TCP4 ::1 ::1 5 80\r\n",
            b"PROXY UDP4 1.2.3.4 10.0.0.1 5 80\r\n",
            b"proxy TCP4 1.2.3.4 10.0.0.1 5 80\r\n",
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x11, &[0; 5000]),
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat(),
        ] {
            assert_eq!(read(header), Err(WRONG), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_header_is_longer_than_what_came(
            kind in 0..3,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let begin = [&b""[..], V1, V2][kind as usize];
            let input = [begin, &rest].concat();
            if let Ok(Some(proxied)) = read(&input) {
                prop_assert!(proxied.length <= input.len());
            }
        }
    }
}
