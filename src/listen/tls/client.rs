//! What is known of a connection inside TLS, and of who made it.

use super::choice::Choice;
use http::{HeaderName, HeaderValue};
use rustls::server::ServerConnection;
use rustls::{CipherSuite, ProtocolVersion};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// What handshakes agree on.
#[derive(Debug)]
pub struct Secured {
    pub version: &'static str,
    pub cipher: &'static str,
    /// HTTP/2 was agreed on, and nothing else is spoken: RFC 7301 §3.2.
    pub is_http2: bool,
    /// By SNI.
    pub server_name: Option<Box<str>>,
    /// Who has connected, where that was asked and proven.
    pub client: Option<ClientCertificate>,
    /// The port where the same is to be had over HTTP/3, for those who come otherwise.
    pub http3: Option<u16>,
    /// What the certificate that was shown was chosen from, where it was.
    pub choice: Option<Arc<Choice>>,
}

/// A client's certificate, in the fields that the origin is told it in.
#[derive(Debug)]
pub struct ClientCertificate {
    fields: Vec<(HeaderName, HeaderValue)>,
}

const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const NAMES: HeaderName = HeaderName::from_static("x-client-cert-san");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
/// Bytes of a field; what is longer is not passed on.
const FIELD: usize = 4 << 10;

impl Secured {
    /// Of a connection whose handshake is done.
    pub fn of(tls: &ServerConnection) -> Secured {
        let client = tls.peer_certificates().and_then(|chain| chain.first());
        Secured {
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: tls
                .negotiated_cipher_suite()
                .map_or("", |suite| cipher(suite.suite())),
            is_http2: tls.alpn_protocol() == Some(b"h2"),
            server_name: tls.server_name().map(Into::into),
            client: client.map(|der| ClientCertificate::of(der)),
            http3: None,
            choice: None,
        }
    }

    /// Of a connection over QUIC, which doesn't tell its cipher. `client`: its certificate.
    pub fn of_quic(server_name: Option<String>, client: Option<&[u8]>) -> Secured {
        Secured {
            version: "TLSv1.3",
            cipher: "",
            is_http2: false,
            server_name: server_name.map(Into::into),
            client: client.map(ClientCertificate::of),
            http3: None,
            choice: None,
        }
    }

    /// Whether a request for this host belongs on another connection: the certificate that was shown here is
    /// not for it, and one that another connection is shown is. RFC 9110 §15.5.20.
    pub fn is_misdirected(&self, host: &str) -> bool {
        let (Some(asked), Some(choice)) = (&self.server_name, &self.choice) else {
            // Who names nobody is shown the same on every connection.
            return false;
        };
        !asked.eq_ignore_ascii_case(host) && choice.has_better(asked, host)
    }
}

/// As IANA has registered it.
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite.as_str().unwrap_or(""),
    }
}

impl ClientCertificate {
    /// The handshake has verified it.
    fn of(der: &[u8]) -> ClientCertificate {
        let mut fields = vec![(FINGERPRINT, field(&hex(&Sha256::digest(der))))];
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            fields.push((SUBJECT, field(&distinguished(certificate.subject()))));
            fields.push((NAMES, field(&alternative(&certificate))));
        }
        fields.retain(|(_, value)| !value.is_empty() && value.len() <= FIELD);
        ClientCertificate { fields }
    }

    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }
}

/// Of text that is printable ASCII by now.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `CN=…,O=…`: RFC 4514, where no name can pass for another one.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (n, part) in parts.iter().rev().enumerate() {
        for (m, attribute) in part.iter().enumerate() {
            out.push_str(match (n, m) {
                (0, 0) => "",
                (_, 0) => ",",
                (..) => "+",
            });
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => out.push_str(short),
                Err(_) => out.push_str(&attribute.attr_type().to_id_string()),
            }
            out.push('=');
            match attribute.as_str() {
                Ok(text) => escape(&mut out, text),
                Err(_) => {
                    out.push('#');
                    out.push_str(&hex(attribute.attr_value().data));
                }
            }
        }
    }
    out
}

/// RFC 4514 §2.4; and what is not printable ASCII by its bytes, because this goes into a field.
fn escape(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                out.push('\\');
                out.push(byte.into());
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(byte.into()),
            byte => {
                let _ = write!(out, "\\{byte:02x}");
            }
        }
    }
}

/// `DNS:a.test,URI:spiffe://x,email:a@b.test`, what is not plain as `%XX`.
fn alternative(certificate: &X509Certificate<'_>) -> String {
    let mut out = String::new();
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        let (kind, text) = match name {
            GeneralName::DNSName(text) => ("DNS:", *text),
            GeneralName::URI(text) => ("URI:", *text),
            GeneralName::RFC822Name(text) => ("email:", *text),
            _ => continue,
        };
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(kind);
        for byte in text.bytes() {
            match byte {
                b',' | b'%' => drop(write!(out, "%{byte:02X}")),
                byte if byte.is_ascii_graphic() => out.push(byte.into()),
                byte => drop(write!(out, "%{byte:02X}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn shown(name: &[(DnType, &str)], also: &[&str]) -> Vec<(String, String)> {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
        params.subject_alt_names = also.iter().map(uri).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            (name.to_string(), value.to_str().expect("ASCII").to_owned())
        };
        let client = ClientCertificate::of(certificate.der());
        client.fields().iter().map(text).collect()
    }

    #[test]
    fn a_subject_is_written_so_that_it_cannot_pass_for_another() {
        let name = [
            (DnType::OrganizationName, "Acme, Inc"),
            (DnType::CommonName, " é,O=admin\r\nx: y"),
        ];
        let fields = shown(&name, &["spiffe://a/b,DNS:c"]);
        assert_eq!(fields[0].0, "x-client-cert-fingerprint");
        assert_eq!(fields[0].1.len(), 64);
        assert_eq!(fields[1].0, "x-client-cert-subject");
        assert_eq!(
            fields[1].1,
            "CN=\\ \\c3\\a9\\,O\\=admin\\0d\\0ax: y,O=Acme\\, Inc"
        );
        assert_eq!(fields[2].0, "x-client-cert-san");
        assert_eq!(fields[2].1, "URI:spiffe://a/b%2CDNS:c");
    }

    #[test]
    fn what_a_certificate_does_not_say_is_not_told() {
        let fields = shown(&[], &[]);
        assert_eq!(fields.len(), 1, "{fields:?}");
    }
}
