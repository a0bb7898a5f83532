//! Scalars that more than one section has: counts, switches, choices, addresses, fields, files.

use super::closest::did_you_mean;
use super::refusal::{Refusal, Wanted};
use super::units::one_of;
use crate::endpoint::{Endpoint, UNIX};
use crate::guard::is_proof_field;
use http::HeaderName;
use ipnet::IpNet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// A whole number within `range`.
pub fn count<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, Refusal>
where
    T: FromStr + PartialOrd + Display,
{
    move |text| {
        let (least, most) = (range.start(), range.end());
        let is_digits = text.bytes().all(|b| b.is_ascii_digit());
        let why = match text.parse::<T>() {
            Ok(number) if is_digits && range.contains(&number) => return Ok(number),
            _ if is_digits && !text.is_empty() => {
                format!("`{text}` is out of range; write a number from {least} to {most}")
            }
            _ => format!("`{text}` is not a whole number; write one from {least} to {most}"),
        };
        let bound = |bound: &T| bound.to_string().parse();
        let bounds = bound(least).ok().zip(bound(most).ok());
        let number = bounds.map(|(least, most)| Wanted::Number { least, most });
        Err(Refusal::new(why, number))
    }
}

/// `auto` is one per core.
pub fn threads(text: &str) -> Result<usize, Refusal> {
    match text {
        "auto" => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        _ => count(1..=1024)(text).map_err(|refusal| refusal.or("auto")),
    }
}

pub fn switch(text: &str) -> Result<bool, Refusal> {
    let why = match text {
        "true" => return Ok(true),
        "false" => return Ok(false),
        _ => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" | "y" | "true" => {
                format!("`{text}` is neither true nor false; write true")
            }
            "no" | "off" | "0" | "n" | "false" => {
                format!("`{text}` is neither true nor false; write false")
            }
            _ => format!("`{text}` is neither true nor false; write one of them"),
        },
    };
    Err(Refusal::new(why, [Wanted::Switch]))
}

/// One of a few words.
pub fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&str) -> Result<T, Refusal> {
    move |text| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let advice = did_you_mean(text, words.iter().copied(), || {
                format!("; write {}", one_of(&words))
            });
            let wanted = words.iter().map(|word| Wanted::Word((*word).to_owned()));
            Refusal::new(format!("`{text}` is not known{advice}"), wanted)
        })
    }
}

/// `IP:PORT`, or `unix:` and a file.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text.strip_prefix(UNIX) {
        Some(path) => Endpoint::unix(path),
        None => address(text).map(Endpoint::Tcp),
    }
}

/// Of a file, as chmod(1) has them: `0660`.
pub fn permissions(text: &str) -> Result<u32, String> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| {
        format!("`{text}` is no file's permissions; write them like \"0660\" for owner and group")
    })
}

/// A user or a group, by name or number. Whether there is one is for the machine that it is meant for to say.
pub fn account(text: &str) -> Result<Box<str>, String> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name =
        (1..=32).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_of_a_name);
    is_name.then(|| text.into()).ok_or_else(|| {
        format!("`{text}` is no name of a user or a group; write one like www-data, or a number")
    })
}

/// `IP:PORT`. Names aren't resolved by this version.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err(format!("`{text}` has port 0; write a port from 1 to 65535"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(no_address(text)),
    }
}

fn no_address(text: &str) -> String {
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return format!("`{text}` is a URL; write only the address and port, like {rest}");
    }
    if let Some((host, port)) = bare_ip_v6(text) {
        return format!("`{text}` needs brackets; write [{host}]:{port}");
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return format!("`{text}` has no port; write {}", SocketAddr::new(ip, 8080));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.parse::<u16>() {
            Ok(port) => format!("`{text}` has no IP address; write 127.0.0.1:{port}"),
            Err(_) => no_ip(text, text, "8080"),
        };
    };
    if let Some(name) = port.strip_prefix('$').filter(|name| !name.is_empty()) {
        return format!("`{text}`: the environment is read with braces; write {host}:${{{name}}}");
    }
    if port.parse::<u16>().is_err() {
        return format!(
            "`{text}` has no valid port; write {host}:PORT with a port from 1 to 65535"
        );
    }
    match host {
        "" | "*" => format!("`{text}` has no IP address; write 0.0.0.0:{port} for all of IPv4"),
        _ => no_ip(text, host, port),
    }
}

/// `::1:8080` is an address by itself, but hardly the one that is meant.
fn bare_ip_v6(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port >= 80)?;
    Some((host.parse().ok()?, port))
}

fn no_ip(text: &str, host: &str, port: &str) -> String {
    let is_name = host.contains(|c: char| c.is_ascii_alphabetic());
    match (host, is_name) {
        ("localhost", _) => {
            format!(
                "`{text}` is a name, and this version of Lakh takes IP addresses only; write 127.0.0.1:{port}"
            )
        }
        (_, true) => {
            format!(
                "`{text}` is a name, and this version of Lakh takes IP addresses only; write the address behind it, like 10.0.0.5:{port}"
            )
        }
        (_, false) => {
            format!("`{text}` is not an IP address and port; write it like 10.0.0.5:{port}")
        }
    }
}

/// `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(network),
        Ok(network) => Err(format!(
            "`{text}` is an address within a network; write {} for the network or {} for the address",
            network.trunc(),
            network.addr()
        )),
        Err(_) => Err(format!(
            "`{text}` is not a network; write it like 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3"
        )),
    }
}

/// A field's name, in lower case whatever was written.
pub fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not a header name; write letters, digits and `-`, like x-from")
    })
}

/// Of a request as it came, so none that the edge itself adds.
pub fn request_field(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    match is_proof_field(&name) {
        true => Err(format!(
            "`{text}`: clients' own x-claim-* and x-client-cert-* fields are taken away before this; a \
             claim is not a field here"
        )),
        false => Ok(name),
    }
}

/// A token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 asks of a cookie's name.
pub fn cookie_name(text: &str) -> Result<String, String> {
    match header_name(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is not a cookie name; write letters, digits, `_` and `-`"
        )),
    }
}

/// Printable ASCII, without spaces around it.
pub fn header_text(text: &str) -> Result<String, String> {
    let is_plain = text
        .bytes()
        .all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    match is_plain && text.trim() == text {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not a header value; write printable ASCII on one line, without spaces around it"
        )),
    }
}

/// `/health`, with a query if it has one.
pub fn request_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(no_slash(text));
    }
    if let Some((before, _)) = text.split_once('#') {
        return Err(format!(
            "`{text}` has a fragment, which is never sent; write {before}"
        ));
    }
    percent_encoded(text)?;
    Ok(text.to_owned())
}

/// What RFC 3986 doesn't allow in a path must be written as `%XX`.
pub fn percent_encoded(text: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b);
    if text.bytes().all(is_plain) {
        return Ok(());
    }
    let encoded: String = text
        .bytes()
        .map(|b| match is_plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect();
    Err(format!(
        "`{text}` has characters that no path has; write {encoded}"
    ))
}

pub fn no_slash(text: &str) -> String {
    format!("`{text}` does not begin with `/`; write /{text}")
}

/// Whether there is such a file, and what is in it, is looked at with what else must fit to it.
pub fn file(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// As written.
pub fn any_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub fn readable_file(text: &str) -> Result<PathBuf, String> {
    match std::fs::read(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(error) => Err(format!(
            "`{text}` cannot be read: {error}; write a file's path"
        )),
    }
}

pub fn some_text(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("`` says nothing; write a text, or remove it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A file with something in it: an empty secret would protect nothing.
pub fn secret_file(text: &str) -> Result<PathBuf, String> {
    let contents = std::fs::read(text)
        .map_err(|error| format!("`{text}` cannot be read: {error}; write a file's path"))?;
    match contents.trim_ascii().is_empty() {
        true => Err(format!("`{text}` is empty; put the secret into it")),
        false => Ok(PathBuf::from(text)),
    }
}
