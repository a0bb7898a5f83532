//! What a listener is, and what any client may cost.

use crate::endpoint::Endpoint;
use std::path::PathBuf;
use std::time::Duration;

/// One listening address.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    pub name: String,
    pub address: Endpoint,
    /// Who may connect, where that is a file.
    pub access: Access,
    /// HTTP/2: with prior knowledge (h2c), or chosen inside TLS.
    pub http2: bool,
    /// HTTP/3: at the same address, over UDP.
    pub http3: bool,
    /// Of HTTP/3: what returning clients send before the handshake is whole is taken. RFC 8470.
    pub early_data: bool,
    pub tls: Option<TlsSettings>,
    /// Set on a listener that sends all who come to HTTPS, on this port.
    pub to_https: Option<u16>,
    /// Connections come through a proxy that says who is behind it: the PROXY protocol, 1 or 2.
    pub proxy_protocol: bool,
    /// Open connections on this listener; None: as many as on all together.
    pub connections: Option<usize>,
}

/// Who may open a Unix socket's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Permissions, as chmod(1) has them.
    pub mode: u32,
    /// By name or number; None: as the file was made.
    pub owner: Option<Box<str>>,
    pub group: Option<Box<str>>,
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// At least one; the first is for clients that ask for no name, or for one that is nobody's.
    pub certificates: Vec<CertificateSource>,
    /// Nothing below TLS 1.3.
    pub only_1_3: bool,
    /// Set: clients are asked for certificates.
    pub clients: Option<ClientAuth>,
    /// None: keys of this process's own.
    pub ticket_key_file: Option<PathBuf>,
}

impl TlsSettings {
    /// Whether ACME is to bring a certificate.
    pub fn has_acme(&self) -> bool {
        let of_acme = |source: &_| matches!(source, CertificateSource::Acme(_));
        self.certificates.iter().any(of_acme)
    }
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    Files(CertificateFiles),
    /// For these names, in lower case; there is none before it is issued.
    Acme(Vec<Box<str>>),
}

/// A certificate with its chain, its key, and what its issuer says of it lately (RFC 6960).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub ocsp_file: Option<PathBuf>,
}

/// Whose certificates clients may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    pub ca_file: PathBuf,
    /// Who shows none is not let in.
    pub required: bool,
}

/// What any client may cost; each has a safe default.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// From a head's first byte to its last.
    pub header_timeout: Duration,
    /// Between two reads of a request's body.
    pub body_timeout: Duration,
    /// Bytes per second at which a request's body must come, once it has been waited for for five
    /// seconds, and at which the last of an answer must be taken; 0: at any.
    pub min_body_rate: u64,
    /// How long a client may take nothing of an answer, or less than `min_body_rate`.
    pub send_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// Bytes of a request's head: request line and fields.
    pub header_size: usize,
    /// Bytes of a request's body, unless its route says otherwise.
    pub body_size: u64,
    /// Open connections in all.
    pub connections: usize,
    pub connections_per_address: usize,
    /// TLS handshakes at once.
    pub handshakes: usize,
    pub handshakes_per_address: usize,
    /// Requests of one client address at once, whatever connections they come on; of IPv6 of a
    /// network of 64 bits. None: no bound of its own.
    pub requests_per_address: Option<usize>,
}

impl Limits {
    /// What of a head is decoded at all, counted as HTTP/2 and HTTP/3 do, with 32 bytes beside each field
    /// (RFC 9113 §10.5.1, RFC 9114 §4.2.2): room for more than a thousand of them beside `header_size`,
    /// which is checked within. A head without end costs no more than that.
    pub fn section_size(&self) -> u32 {
        u32::try_from(self.header_size + (64 << 10)).unwrap_or(u32::MAX)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 240,
            send_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            header_size: 32 << 10,
            body_size: 10 << 20,
            connections: 100_000,
            connections_per_address: 1000,
            handshakes: 20_000,
            handshakes_per_address: 200,
            requests_per_address: None,
        }
    }
}
