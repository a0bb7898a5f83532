//! How the servers of an upstream are spoken to: in which HTTP, and inside TLS or not.
//!
//! `config` reads the files of a `Tls` and says where they are wrong, so that whatever gets here
//! can be used. The same transport carries requests, probes and fills.

use super::announce::{Announced, Ends, ProxyProtocol};
use crate::endpoint::Endpoint;
use crate::pem::{self, certificates, unusable};
use crate::unsent::{self, Most};
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, Peer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::TcpSocket;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Requests at once on an HTTP/2 connection to a server.
const STREAMS: usize = 100;

/// Bytes of an answer that a server may send before its client takes them, so that is held here at most.
const WINDOW: u32 = 256 << 10;
/// Of all answers on a connection: those that nobody takes leave room for the others.
const WINDOWS: u32 = WINDOW * STREAMS as u32;

/// Kept connections are found by what leads to them, and not by what is spoken on them: so these
/// bits of a peer's `group_key` say it. The lowest is `proxy`'s, for connections that must be new.
const H2: u64 = 1 << 1;
const SPOKEN: u64 = 0b11;

/// What is done with a socket before it connects.
type Preparation = Arc<dyn Fn(&TcpSocket) -> pingora::Result<()> + Send + Sync>;

/// One for all: peers are made for each request.
static PREPARATION: LazyLock<Preparation> = LazyLock::new(|| {
    Arc::new(|socket| {
        unsent::hold_little(socket, Most::ToServers);
        Ok(())
    })
});

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    pub protocol: Protocol,
    pub tls: Option<Tls>,
    /// Servers are told whose connection each is; spoken to in HTTP/1.1.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What servers are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge. RFC 9113 §3.3.
    H2c,
    /// Over TLS: HTTP/2 with servers that choose it, HTTP/1.1 with the others. RFC 7301.
    Http2,
}

/// TLS with servers: what they must prove, and what is proved to them.
#[derive(Clone)]
pub struct Tls {
    /// What their certificates must be for, and what is asked for by SNI. None: their address.
    pub server_name: Option<String>,
    verify: bool,
    /// Who signed for them; None: whom the system trusts.
    authorities: Option<Arc<CaType>>,
    /// What the edge shows of itself, where servers ask for it.
    identity: Option<Arc<CertKey>>,
    /// Of all that is above, so that a changed one gets connections of its own.
    fingerprint: u64,
}

impl Transport {
    /// How Pingora is to reach an address for a client; None: for the edge itself.
    pub fn peer(&self, address: &Endpoint, ends: Option<&Ends>) -> HttpPeer {
        let mut peer = match address {
            Endpoint::Tcp(address) => HttpPeer::new(address, false, String::new()),
            Endpoint::Unix(path) => HttpPeer::new_uds(path, false, String::new())
                .expect("an endpoint's path is one that a socket may have"),
        };
        peer.options.upstream_tcp_sock_tweak_hook = Some(PREPARATION.clone());
        match self.protocol {
            Protocol::Http1 => {}
            Protocol::H2c => peer.options.set_http_version(2, 2),
            Protocol::Http2 => peer.options.set_http_version(2, 1),
        }
        if self.protocol != Protocol::Http1 {
            peer.options.max_h2_streams = STREAMS;
            peer.options.h2_stream_window_size = Some(WINDOW);
            peer.options.h2_connection_window_size = Some(WINDOWS);
            peer.group_key = H2;
        }
        if let Some(tls) = &self.tls {
            tls.secure(&mut peer);
        }
        if let Some(version) = self.proxy_protocol {
            let (to, header) = (address.clone(), version.header(ends));
            peer.options.custom_l4 = Some(Arc::new(Announced { to, header }));
            peer.options.idle_timeout = Some(Duration::ZERO);
            if ends.is_some() {
                // Nobody is to find it again, not even in the moment before it is closed.
                peer.group_key = fastrand::u64(..) & !SPOKEN;
            }
        }
        peer
    }
}

/// HTTP/1.1 alone switches protocols.
pub fn speak_http1(peer: &mut HttpPeer) {
    peer.options.set_http_version(1, 1);
    peer.group_key &= !H2;
}

/// Whether the certificates that the system trusts can be read. Pingora reads them whether they
/// are needed or not, and ends the process if it can't.
pub fn check_system_trust() -> Result<(), String> {
    let advice = "name a good PEM file in SSL_CERT_FILE, or install the system's CA certificates";
    let failed = |why: &dyn fmt::Display| {
        format!("the system's trusted certificates can't be read: {why}; {advice}")
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().map_err(|why| failed(&why))? {
        roots.add(certificate).map_err(|why| failed(&why))?;
    }
    Ok(())
}

impl Tls {
    /// Servers must show a certificate for `server_name` that the system trusts.
    pub fn new(server_name: Option<String>) -> Tls {
        Tls {
            server_name,
            verify: true,
            authorities: None,
            identity: None,
            fingerprint: 0,
        }
        .marked(b"verified")
    }

    /// Any certificate will do. Whoever is on the way can read and change everything.
    pub fn without_verification(mut self) -> Tls {
        self.verify = false;
        self.marked(b"any")
    }

    /// Only these authorities are trusted: a PEM file of one or more certificates.
    pub fn trusting(mut self, file: &Path) -> Result<Tls, String> {
        let found = certificates(file)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &found {
            let added = roots.add(certificate.clone());
            added.map_err(|why| unusable(file, why))?;
        }
        let wrapped: Result<Vec<_>, String> = found.iter().map(|c| wrap(file, c)).collect();
        self.authorities = Some(wrapped?.into());
        let tls = self.marked(b"trusts");
        Ok(found.iter().fold(tls, |tls, c| tls.marked(c)))
    }

    /// What servers are shown that ask for a client's certificate: a PEM file of its chain, and
    /// its key.
    pub fn showing(
        mut self,
        certificate: &Path,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Tls, String> {
        let chain = certificates(certificate)?;
        let provider = rustls::crypto::ring::default_provider();
        pem::pair(certificate, chain.clone(), key.clone_key(), &provider)?;
        for one in &chain {
            wrap(certificate, one)?;
        }
        let raw = chain.iter().map(|c| c.to_vec()).collect();
        self.identity = Some(Arc::new(CertKey::new(raw, key.secret_der().to_vec())));
        let tls = self.marked(b"shows");
        Ok(chain.iter().fold(tls, |tls, c| tls.marked(c)))
    }

    /// The same for a server of this name.
    pub fn named(&self, server_name: &str) -> Tls {
        Tls {
            server_name: Some(server_name.to_owned()),
            ..self.clone()
        }
    }

    fn secure(&self, peer: &mut HttpPeer) {
        peer.scheme = Scheme::HTTPS;
        peer.sni = match &self.server_name {
            Some(name) => name.clone(),
            None => peer
                .address()
                .as_inet()
                .map_or_else(String::new, |a| a.ip().to_string()),
        };
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        peer.options.ca.clone_from(&self.authorities);
        peer.client_cert_key.clone_from(&self.identity);
        peer.group_key |= self.fingerprint & !SPOKEN;
    }

    fn marked(mut self, with: &[u8]) -> Tls {
        let mut digest = Sha256::new();
        digest.update(self.fingerprint.to_be_bytes());
        digest.update(with);
        let digest = digest.finalize();
        let first = digest.first_chunk().expect("a SHA-256 digest has 32 bytes");
        self.fingerprint = u64::from_be_bytes(*first);
        self
    }
}

/// For Pingora, which trusts that it can be read.
fn wrap(file: &Path, certificate: &CertificateDer<'_>) -> Result<WrappedX509, String> {
    X509Certificate::from_der(certificate).map_err(|why| unusable(file, why))?;
    Ok(WrappedX509::new(certificate.to_vec(), parse_x509))
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        (self.fingerprint, &self.server_name) == (other.fingerprint, &other.server_name)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("verify", &self.verify)
            .field("own_authorities", &self.authorities.is_some())
            .field("shows_itself", &self.identity.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::PathBuf;

    /// A certificate that signed itself, and its key, as files that go with the test.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Files {
            let dir = std::env::temp_dir().join(format!("lakh-tls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).expect("a folder");
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let own = params.self_signed(&key).expect("a certificate");
            std::fs::write(dir.join("own.pem"), own.pem()).expect("a file");
            std::fs::write(dir.join("own.key"), key.serialize_pem()).expect("a file");
            Files(dir)
        }

        fn certificate(&self) -> PathBuf {
            self.0.join("own.pem")
        }

        fn key(&self) -> PrivateKeyDer<'static> {
            pem::private_key(&self.0.join("own.key")).expect("a key")
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn tls() -> Tls {
        Tls::new(Some("app.internal".into()))
    }

    fn local() -> Endpoint {
        Endpoint::Tcp(([127, 0, 0, 1], 443).into())
    }

    fn key_of(tls: Option<Tls>) -> u64 {
        let transport = Transport {
            tls,
            ..Transport::default()
        };
        transport.peer(&local(), None).reuse_hash()
    }

    /// A connection must not be used by whoever would not have made it.
    #[test]
    fn connections_are_shared_by_equal_transports_alone() {
        let (one, other) = (Files::new("one"), Files::new("other"));
        let trusting = |files: &Files| tls().trusting(&files.certificate()).expect("an authority");
        let showing = |files: &Files| {
            let shown = tls().showing(&files.certificate(), &files.key());
            shown.expect("an identity")
        };
        let all = [
            None,
            Some(tls()),
            Some(Tls::new(None)),
            Some(tls().without_verification()),
            Some(trusting(&one)),
            Some(trusting(&other)),
            Some(showing(&one)),
            Some(showing(&other)),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                let same = key_of(a.clone()) == key_of(b.clone());
                assert_eq!(same, i == j, "{a:?} and {b:?}");
                assert_eq!(a == b, i == j, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn a_connection_that_is_one_clients_is_found_by_nobody() {
        let transport = Transport {
            proxy_protocol: Some(ProxyProtocol::V2),
            ..Transport::default()
        };
        let client = ([203, 0, 113, 7], 4660).into();
        let edge = ([10, 0, 0, 1], 80).into();
        let key = || {
            let peer = transport.peer(&local(), Some(&Ends { client, edge }));
            assert_eq!(peer.options.idle_timeout, Some(Duration::ZERO));
            peer.reuse_hash()
        };
        assert_ne!(key(), key());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (Files::new("mine"), Files::new("not-mine"));
        let why = tls()
            .showing(&one.certificate(), &other.key())
            .expect_err("no pair");
        assert!(
            why.ends_with("is not for the key in key_file; name the one it was made with"),
            "{why}"
        );
    }

    #[test]
    fn what_speaks_http1_is_told_apart_from_http2() {
        let transport = Transport {
            protocol: Protocol::Http2,
            tls: Some(tls()),
            ..Transport::default()
        };
        let mut peer = transport.peer(&local(), None);
        let before = peer.reuse_hash();
        speak_http1(&mut peer);
        assert_ne!(peer.reuse_hash(), before);
        assert_eq!(peer.options.alpn.get_max_http_version(), 1);
    }
}
