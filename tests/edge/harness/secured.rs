//! Origins behind TLS: an authority made for the test, and a terminator in front of a plain origin.

use super::Origin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Signs certificates; nobody trusts it who was not given its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Terminates TLS and passes all that is inside to an origin. Ends with the test.
pub struct Secured {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
    _runtime: Runtime,
}

/// What a client has said while it connected.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    pub server_name: Option<String>,
    pub alpn: Option<String>,
    pub has_certificate: bool,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        Authority {
            pem: own.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// For several names.
    pub fn sign_for(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign_all(CertificateParams::new(names).expect("good names"))
    }

    /// For whoever is called so: a client.
    pub fn sign_client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![format!("{name}.clients.test")]);
        let params = params.as_mut().expect("a good name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let (organization, common) = (rcgen::DnType::OrganizationName, rcgen::DnType::CommonName);
        params.distinguished_name.push(organization, "Acme");
        params.distinguished_name.push(common, name);
        self.sign_all(params.clone())
    }

    /// For a name or an IP address.
    pub fn sign(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a good name");
        self.sign_all(params)
    }

    /// As `sign`, but its time is over.
    pub fn sign_expired(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a good name");
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign_all(params)
    }

    fn sign_all(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: signed.pem(),
            key: key.serialize_pem(),
        }
    }

    /// As `ca.pem`, for the edge to trust.
    pub fn write(&self, dir: &Path) {
        std::fs::write(dir.join("ca.pem"), &self.pem).expect("the folder can be written");
    }
}

impl Identity {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")
    }

    /// As `NAME.pem` and `NAME.key`.
    pub fn write(&self, dir: &Path, name: &str) {
        let write = |ending: &str, text: &str| {
            std::fs::write(dir.join(format!("{name}.{ending}")), text)
                .expect("a folder to write in")
        };
        write("pem", &self.certificate);
        write("key", &self.key);
    }
}

impl Secured {
    /// Speaks HTTP/1.1 inside, whatever clients would rather.
    pub fn start(origin: SocketAddr, identity: &Identity) -> Secured {
        Secured::with(origin, identity, &["http/1.1"], None)
    }

    /// Chooses of these protocols, and lets in only whom `clients` has signed for.
    pub fn with(
        origin: SocketAddr,
        identity: &Identity,
        protocols: &[&str],
        clients: Option<&Authority>,
    ) -> Secured {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let config = Arc::new(config(identity, protocols, clients));
        let listener = runtime.block_on(async {
            TcpListener::from_std({
                let listener = super::ports::listen();
                listener
                    .set_nonblocking(true)
                    .expect("a socket has options");
                listener
            })
            .expect("a listener")
        });
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::default();
        runtime.spawn(serve(listener, config, origin, Arc::clone(&seen)));
        Secured {
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// Those that were finished.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.seen.lock().expect("no thread panics with it").clone()
    }
}

fn config(identity: &Identity, protocols: &[&str], clients: Option<&Authority>) -> ServerConfig {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has them");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(&authority.pem)).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let chain = vec![der(&identity.certificate)];
    let mut config = builder
        .with_single_cert(chain, key)
        .expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    origin: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(mut inside) = acceptor.accept(client).await else {
                return;
            };
            let handshake = {
                let (_, tls) = inside.get_ref();
                Handshake {
                    server_name: tls.server_name().map(str::to_owned),
                    alpn: tls
                        .alpn_protocol()
                        .map(|p| String::from_utf8_lossy(p).into_owned()),
                    has_certificate: tls.peer_certificates().is_some(),
                }
            };
            seen.lock()
                .expect("no thread panics with it")
                .push(handshake);
            if let Ok(mut outside) = TcpStream::connect(origin).await {
                // Either side may leave whenever it likes.
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            }
        });
    }
}

/// A terminator of its own for an origin: `$0` of a test's configuration cannot name it.
pub fn behind_tls(origin: &Origin, authority: &Authority, name: &str) -> Secured {
    Secured::start(origin.address, &authority.sign(name))
}
