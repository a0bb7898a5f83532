//! Clients that speak TLS with the edge.

use super::{Authority, Client, Edge, Identity};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use rustls::{SignatureScheme, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What a client trusts and offers. Its clones remember sessions together.
#[derive(Clone)]
pub struct Trust(pub Arc<ClientConfig>);

impl Trust {
    pub fn of(authority: &Authority) -> Trust {
        Trust::of_pem(&authority.pem)
    }

    /// An authority that others have made.
    pub fn of_pem(pem: &str) -> Trust {
        Trust::with(pem, rustls::ALL_VERSIONS, None)
    }

    pub fn showing(authority: &Authority, identity: &Identity) -> Trust {
        Trust::speaking(authority, rustls::ALL_VERSIONS, Some(identity))
    }

    pub fn speaking(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Trust {
        Trust::with(&authority.pem, versions, identity)
    }

    fn with(
        authority: &str,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Trust {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let mut roots = RootCertStore::empty();
        roots.add(der(authority)).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has them")
            .with_root_certificates(roots);
        Trust(Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                let chain = vec![der(&identity.certificate)];
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        }))
    }

    pub fn offering(&self, protocols: &[&str]) -> Trust {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Trust(Arc::new(config))
    }

    /// Says to nobody whom it has come for.
    pub fn naming_nobody(&self) -> Trust {
        let mut config = ClientConfig::clone(&self.0);
        config.enable_sni = false;
        Trust(Arc::new(config))
    }

    /// Nothing of before.
    pub fn forgetful(&self) -> Trust {
        let mut config = ClientConfig::clone(&self.0);
        config.resumption = rustls::client::Resumption::disabled();
        Trust(Arc::new(config))
    }

    #[track_caller]
    pub fn connect(&self, edge: &Edge, name: &str) -> Client {
        self.try_connect(edge.web, name).expect("a handshake")
    }

    pub fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<Client> {
        Client::connect(address).secure(self.begin(name))
    }

    /// For a connection that has begun otherwise.
    pub fn begin(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(self.0.clone(), name).expect("a client")
    }
}

/// What servers were said to be, last of all.
#[derive(Clone, Debug)]
pub struct Staples {
    verifier: Arc<WebPkiServerVerifier>,
    last: Arc<Mutex<Vec<u8>>>,
}

impl Staples {
    pub fn last(&self) -> Vec<u8> {
        self.last.lock().expect("no thread panics with it").clone()
    }
}

impl Trust {
    /// Trusts as before, and remembers what was stapled.
    pub fn noting_staples(&self, authority: &Authority) -> (Trust, Staples) {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM");
        roots.add(der).expect("an authority");
        let provider = self.0.crypto_provider().clone();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let staples = Staples {
            verifier: verifier.build().expect("a verifier"),
            last: Arc::default(),
        };
        let mut config = ClientConfig::clone(&self.0);
        let noting = Arc::new(staples.clone());
        config.dangerous().set_certificate_verifier(noting);
        (Trust(Arc::new(config)), staples)
    }
}

impl ServerCertVerifier for Staples {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.last.lock().expect("no thread panics with it") = staple.to_vec();
        self.verifier
            .verify_server_cert(leaf, others, name, &[], now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
