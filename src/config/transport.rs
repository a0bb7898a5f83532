//! An upstream's `protocol` and `tls`: how its servers are spoken to.

use super::section::Section;
use super::values::{choice, file, switch};
use crate::pem::private_key;
use crate::upstream::{NameSettings, Protocol, ProxyProtocol, ServerSettings, Tls, Transport};
use rustls_pki_types::ServerName;
use std::path::{Path, PathBuf};

pub fn read(s: &mut Section<'_>, servers: &[ServerSettings], names: &[NameSettings]) -> Transport {
    let known = [
        ("http1", Protocol::Http1),
        ("http2", Protocol::Http2),
        ("h2c", Protocol::H2c),
    ];
    let protocol = s.or("protocol", Protocol::default(), choice(&known));
    let has_tls = s.has("tls");
    let common = common_name(servers, names);
    let tls = s.section("tls", |s| tls(s, common));
    match protocol {
        Protocol::Http2 if !has_tls => s.error(
            "protocol",
            "`http2` is chosen inside TLS; write tls: {} beside it, or h2c for HTTP/2 without TLS",
        ),
        Protocol::H2c if has_tls => s.error(
            "protocol",
            "`h2c` is HTTP/2 without TLS; write http2, or remove tls",
        ),
        _ => {}
    }
    let versions = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
    let proxy_protocol = s.optional("proxy_protocol", choice(&versions));
    if proxy_protocol.is_some() && protocol != Protocol::Http1 {
        s.error(
            "proxy_protocol",
            "a connection of HTTP/2 is for many clients, and this says whose it is; write protocol: http1",
        );
    }
    Transport {
        protocol,
        tls,
        proxy_protocol,
    }
}

/// What all servers' certificates are for, where that goes without saying.
enum Common {
    Name(String),
    /// Each is for its server's own address.
    Address,
    /// They are of Unix sockets, which have no names.
    Files,
    Nothing,
}

fn common_name(servers: &[ServerSettings], names: &[NameSettings]) -> Common {
    match names {
        _ if servers.iter().any(|server| server.address.tcp().is_none()) => Common::Files,
        [] => Common::Address,
        [first, others @ ..]
            if servers.is_empty() && others.iter().all(|name| name.host == first.host) =>
        {
            Common::Name(first.host.clone())
        }
        _ => Common::Nothing,
    }
}

fn tls(s: &mut Section<'_>, common: Common) -> Option<Tls> {
    let verify = s.or("verify", true, switch);
    let name = s.optional("server_name", server_name);
    let authorities = s.optional("ca_file", |file| {
        Tls::new(None)
            .trusting(Path::new(file))
            .map(|_| PathBuf::from(file))
    });
    let name = match (name, common) {
        (Some(name), _) | (None, Common::Name(name)) => Some(name),
        (None, Common::Address) => None,
        (None, Common::Nothing) => {
            nameless(
                s,
                "is for servers of several names; write server_name: NAME, which all their \
                 certificates are for, or make an upstream of each name",
            );
            None
        }
        (None, Common::Files) => {
            nameless(
                s,
                "is for Unix sockets, which have no name; write server_name: NAME, which their \
                 certificates are for",
            );
            None
        }
    };
    if !verify && s.has("ca_file") {
        let message = "with `verify: false` nothing is held against it; remove one of the two";
        s.error_at(s.key_span("ca_file"), "ca_file", message);
    }
    if !verify {
        let message = "verify: false lets whoever is on the way to the servers read and change \
                       everything; better name their CA with ca_file";
        s.warn(s.value_span("verify"), message);
    }
    let tls = Tls::new(name);
    let tls = match (verify, authorities) {
        (false, _) => tls.without_verification(),
        (true, None) => tls,
        (true, Some(file)) => tls.trusting(&file).ok()?,
    };
    identity(s, tls)
}

/// One that is written is wrong already.
fn nameless(s: &mut Section<'_>, problem: &str) {
    if !s.has("server_name") {
        s.error_here(problem);
    }
}

/// What the edge shows of itself.
fn identity(s: &mut Section<'_>, tls: Tls) -> Option<Tls> {
    let certificate = s.optional("certificate_file", file);
    let key = s.optional("key_file", |file| private_key(Path::new(file)));
    match (certificate, key) {
        (Some(certificate), Some(key)) => tls
            .showing(&certificate, &key)
            .map_err(|why| s.error("certificate_file", why))
            .ok(),
        (Some(_), None) if !s.has("key_file") => {
            s.error(
                "certificate_file",
                "it has no key; write key_file: FILE beside it",
            );
            None
        }
        (None, Some(_)) => {
            s.error(
                "key_file",
                "it is the key of nothing; write certificate_file: FILE beside it",
            );
            None
        }
        _ => Some(tls),
    }
}

fn server_name(text: &str) -> Result<String, String> {
    ServerName::try_from(text)
        .map(|_| text.to_owned())
        .map_err(|_| {
            format!("`{text}` is no name that a certificate can be for; write it like app.internal")
        })
}
