//! Looking whether a name is theirs who say so, as the authority does.

use super::super::{Client, PATIENCE, get};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

#[derive(Clone, Copy)]
pub enum Method {
    Http,
    Tls,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Http => "http-01",
            Method::Tls => "tls-alpn-01",
        }
    }

    pub fn of(name: &str) -> Method {
        match name {
            "http-01" => Method::Http,
            _ => Method::Tls,
        }
    }
}

/// At each address that the name leads to. What is not right is looked at again for a while; where nobody
/// listens it is not.
pub fn look(
    method: Method,
    leads_to: impl Fn() -> Option<Vec<SocketAddr>>,
    name: &str,
    token: &str,
    said: &str,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let pause = || std::thread::park_timeout(Duration::from_millis(20));
    let addresses = loop {
        match leads_to() {
            Some(addresses) => break addresses,
            None if Instant::now() > deadline => return Err("no such name".into()),
            None => pause(),
        }
    };
    for address in addresses {
        loop {
            let found = match method {
                Method::Http => fetch(address, name, token, said),
                Method::Tls => shake(address, name, said),
            };
            match found {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::ConnectionRefused || Instant::now() > deadline => {
                    return Err(format!("{address}: {e}"));
                }
                Err(_) => pause(),
            }
        }
    }
    Ok(())
}

/// RFC 8555 §8.3.
fn fetch(address: SocketAddr, name: &str, token: &str, said: &str) -> io::Result<()> {
    let mut client = Client::try_connect(address, PATIENCE)?;
    let target = format!("/.well-known/acme-challenge/{token}");
    let reply = get(&target).host(name).try_on(&mut client)?;
    match reply.status == 200 && reply.body == said.as_bytes() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{} {}",
            reply.status,
            reply.text()
        ))),
    }
}

/// RFC 8737 §3.
fn shake(address: SocketAddr, name: &str, said: &str) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&TLS13]);
    let mut config = builder
        .expect("the provider has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let tls = ClientConnection::new(Arc::new(config), server).expect("a client");
    let client = Client::try_connect(address, PATIENCE)?.secure(tls)?;
    let tls = client.tls();
    if tls.alpn_protocol() != Some(b"acme-tls/1") {
        return Err(io::Error::other("another protocol was chosen"));
    }
    let shown = tls.peer_certificates().expect("a server shows one");
    let (_, shown) = X509Certificate::from_der(&shown[0]).map_err(io::Error::other)?;
    let names = shown.subject_alternative_name().map_err(io::Error::other)?;
    let names = names.map(|names| names.value.general_names.clone());
    if names != Some(vec![GeneralName::DNSName(name)]) {
        return Err(io::Error::other(format!("it is for {names:?}")));
    }
    let identifier = x509_parser::der_parser::oid!(1.3.6.1.5.5.7.1.31);
    let extension = shown
        .get_extension_unique(&identifier)
        .map_err(io::Error::other)?;
    let extension = extension.ok_or_else(|| io::Error::other("it does not say what it is"))?;
    // An OCTET STRING of 32 bytes.
    let digest = [&[4, 32][..], &Sha256::digest(said)].concat();
    match extension.critical && extension.value == digest {
        true => Ok(()),
        false => Err(io::Error::other("it is of another challenge")),
    }
}

/// Takes any certificate: it is looked at afterwards.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _staple: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 is spoken alone")
    }

    /// By the key alone: what verifies certificates takes none with a critical extension that it doesn't know.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let unread = |_| rustls::Error::General("the certificate can't be read".into());
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(unread)?;
        let key = SubjectPublicKeyInfoDer::from(leaf.public_key().raw);
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
