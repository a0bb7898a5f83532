//! TLS on one listener, from files that may change: what is in force is swapped whole, and what can't
//! be used changes nothing.

use super::choice::{Choice, unix_now};
use super::files::Watched;
use super::tickets::{OwnSecrets, Secret, Tickets, ticket_secrets};
use super::{Certificate, provider};
use crate::acme::{Held, PROTOCOL};
use crate::listen::settings::{CertificateSource, ClientAuth, ListenerSettings, TlsSettings};
use crate::listen::{Entry, Manner};
use crate::observe::TlsMetrics;
use crate::pem;
use arc_swap::ArcSwap;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A listener, ready to serve.
pub struct Listening {
    pub settings: ListenerSettings,
    /// How connections come in, until they are inside TLS.
    pub entry: Arc<Entry>,
    pub tls: Option<Secure>,
}

impl Listening {
    /// An error where a file of its TLS can't be used.
    pub fn new(
        settings: &ListenerSettings,
        own: &OwnSecrets,
        held: &Arc<Held>,
        metrics: impl FnOnce(&str) -> TlsMetrics,
    ) -> Result<Listening, String> {
        let tls = settings.tls.as_ref();
        let secure = |tls| Secure::new(settings, tls, own, held, metrics(&settings.name));
        let manner = settings.to_https.map_or(Manner::Plain, Manner::ToHttps);
        Ok(Listening {
            entry: Arc::new(Entry {
                listener: settings.name.as_str().into(),
                manner,
            }),
            tls: tls.map(secure).transpose()?,
            settings: settings.clone(),
        })
    }
}

pub struct Secure {
    listener: String,
    settings: TlsSettings,
    spoken: Spoken,
    /// HTTP/3 is spoken, but the process before this one still has its address.
    is_late: AtomicBool,
    current: ArcSwap<InForce>,
    tickets: Arc<Tickets>,
    /// Those that ACME brings.
    held: Arc<Held>,
    /// Of what is held, when it was read last.
    generation: AtomicU64,
    watched: Mutex<Watched>,
    /// The files can't be used as they are now.
    stale: AtomicBool,
    pub metrics: TlsMetrics,
}

/// Beside HTTP/1.1.
#[derive(Clone, Copy)]
struct Spoken {
    http2: bool,
    http3: Option<u16>,
    early_data: bool,
}

/// What was read, and can be used.
struct InForce {
    config: Arc<ServerConfig>,
    /// Of its certificates.
    choice: Arc<Choice>,
    /// None where HTTP/3 is not spoken.
    quic: Option<Arc<QuicServerConfig>>,
    certificates: Vec<Certificate>,
    /// None: this process's own.
    secrets: Option<Vec<Secret>>,
    /// What tickets are good for.
    scope: [u8; 32],
    /// How many staples operators know to have expired.
    expired: AtomicUsize,
}

impl Secure {
    /// An error where a file can't be used.
    pub fn new(
        listener: &ListenerSettings,
        settings: &TlsSettings,
        own: &OwnSecrets,
        held: &Arc<Held>,
        metrics: TlsMetrics,
    ) -> Result<Secure, String> {
        let generation = held.generation();
        let watched = Watched::new(files(settings));
        let tickets = Arc::new(Tickets::default());
        let spoken = Spoken {
            http2: listener.http2,
            http3: listener.address.port().filter(|_| listener.http3),
            early_data: listener.early_data,
        };
        let in_force = read(settings, spoken, &tickets, held)
            .map_err(|why| format!("listeners.{}.tls: {why}", listener.name))?;
        let secure = Secure {
            listener: listener.name.clone(),
            settings: settings.clone(),
            spoken,
            is_late: AtomicBool::new(false),
            current: ArcSwap::from_pointee(in_force),
            tickets,
            held: held.clone(),
            generation: AtomicU64::new(generation),
            watched: Mutex::new(watched),
            stale: AtomicBool::new(false),
            metrics,
        };
        secure.renew_tickets(own);
        Ok(secure)
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// What that chooses a certificate from.
    pub fn choice(&self) -> Arc<Choice> {
        self.current.load().choice.clone()
    }

    /// The port where HTTP/3 is spoken too.
    pub fn http3(&self) -> Option<u16> {
        self.spoken.http3.filter(|_| !self.is_late.load(Relaxed))
    }

    /// Whether HTTP/3 is to be spoken only later, so that nobody is told of it yet.
    pub fn set_late(&self, is_late: bool) {
        self.is_late.store(is_late, Relaxed);
    }

    /// Whether requests may be answered before the handshake is whole.
    pub fn early_data(&self) -> bool {
        self.spoken.early_data
    }

    /// The same over QUIC.
    pub fn quic(&self) -> Option<Arc<QuicServerConfig>> {
        self.current.load().quic.clone()
    }

    /// Reads what has changed. To be called every second or so, by who may block.
    pub fn look(&self, own: &OwnSecrets) {
        let changed = {
            let mut watched = self.watched.lock().expect("no code panics with it");
            watched.have_changed()
        };
        if self.has_news() || changed {
            self.read_again(own);
        }
        self.warn_of_staples();
        self.renew_tickets(own);
    }

    /// Whether ACME has brought something since the last look.
    fn has_news(&self) -> bool {
        let now = self.held.generation();
        self.generation.swap(now, Relaxed) != now && self.settings.has_acme()
    }

    /// Once, when its time is over.
    fn warn_of_staples(&self) {
        let in_force = self.current.load();
        let expired = in_force.expired_staples(unix_now());
        let before = in_force.expired.swap(expired.len(), Relaxed);
        if expired.len() <= before {
            return;
        }
        for certificate in expired {
            let (listener, file) = (&self.listener, certificate.file.display());
            tracing::warn!(
                listener,
                "what the issuer of {file} says in its ocsp_file has expired, and is not sent; fetch a new one"
            );
        }
    }

    fn read_again(&self, own: &OwnSecrets) {
        let listener = &self.listener;
        match read(&self.settings, self.spoken, &self.tickets, &self.held) {
            Ok(in_force) => {
                in_force.warn_of_untimely(listener);
                self.current.store(Arc::new(in_force));
                // Before it is told: by then all of it is in force.
                self.renew_tickets(own);
                self.stale.store(false, Relaxed);
                self.metrics.loads.inc();
                tracing::info!(listener, "certificates and keys were read again");
            }
            Err(why) => {
                self.stale.store(true, Relaxed);
                self.metrics.load_failures.inc();
                tracing::error!(
                    listener,
                    "files of TLS have changed and can't be used; those of before stay in force: {why}"
                );
            }
        }
    }

    fn renew_tickets(&self, own: &OwnSecrets) {
        let in_force = self.current.load();
        match &in_force.secrets {
            Some(secrets) => self.tickets.set(secrets, &in_force.scope),
            None => self.tickets.set(&own.at(Instant::now()), &in_force.scope),
        }
    }

    /// For the admin API.
    pub fn shown(&self) -> Vec<Shown> {
        let stale = self.stale.load(Relaxed);
        let in_force = self.current.load();
        let shown = in_force.certificates.iter().map(|certificate| Shown {
            file: certificate.file.display().to_string(),
            names: certificate.names.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            staple_until: certificate.key.staple_until(),
            stale,
        });
        shown.collect()
    }

    /// Sets what is read rather than counted.
    pub fn report(&self) {
        self.metrics.is_stale(self.stale.load(Relaxed));
        for certificate in &self.current.load().certificates {
            let file = certificate.file.display().to_string();
            self.metrics.expires(&file, certificate.not_after);
            if let Some(until) = certificate.key.staple_until() {
                self.metrics.staple_expires(&file, until);
            }
        }
    }
}

/// A certificate that a listener shows.
pub struct Shown {
    pub file: String,
    pub names: Vec<Box<str>>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
    /// Until when what its issuer says of it is sent; None where that is nothing, or without end.
    pub staple_until: Option<i64>,
    /// Files of its listener have changed, and can't be used as they are.
    pub stale: bool,
}

impl InForce {
    fn expired_staples(&self, now: i64) -> Vec<&Certificate> {
        let expired = |c: &&Certificate| c.key.staple_until().is_some_and(|until| until < now);
        self.certificates.iter().filter(expired).collect()
    }

    fn warn_of_untimely(&self, listener: &str) {
        let now = unix_now();
        for certificate in &self.certificates {
            if let Some(why) = certificate.untimely(now) {
                let file = certificate.file.display();
                tracing::warn!(listener, "clients will not take certificate {file}: {why}");
            }
        }
    }
}

fn files(settings: &TlsSettings) -> Vec<PathBuf> {
    let in_files = settings
        .certificates
        .iter()
        .filter_map(|source| match source {
            CertificateSource::Files(files) => Some(files),
            CertificateSource::Acme(_) => None,
        });
    let of_certificates = in_files.flat_map(|files| {
        let both = [&files.cert_file, &files.key_file];
        both.into_iter().chain(&files.ocsp_file)
    });
    let authority = settings.clients.iter().map(|clients| &clients.ca_file);
    let others = authority.chain(&settings.ticket_key_file);
    of_certificates.chain(others).cloned().collect()
}

fn read(
    settings: &TlsSettings,
    spoken: Spoken,
    tickets: &Arc<Tickets>,
    held: &Arc<Held>,
) -> Result<InForce, String> {
    let certificates = certificates(settings, held)?;
    let secrets = settings.ticket_key_file.as_deref().map(ticket_secrets);
    let (verifier, scope) = verifier(settings.clients.as_ref())?;
    let choices = certificates
        .iter()
        .map(|c| (c.key.clone(), c.names.clone()));
    let held = settings.has_acme().then(|| held.clone());
    let choice = Arc::new(Choice::new(choices.collect(), held));
    let versions: &[_] = match settings.only_1_3 {
        true => &[&TLS13],
        false => &[&TLS13, &TLS12],
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the provider has suites of both versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(choice.clone());
    config.ignore_client_order = true;
    config.ticketer = tickets.clone();
    // Tickets do the same, and are kept by clients.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = match spoken.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    if settings.has_acme() {
        config.alpn_protocols.push(PROTOCOL.to_vec());
    }
    Ok(InForce {
        quic: spoken.http3.map(|_| quic(&config, spoken.early_data)),
        config: Arc::new(config),
        choice,
        expired: AtomicUsize::new(0),
        secrets: secrets.transpose()?,
        certificates,
        scope,
    })
}

/// Those that there are; one that ACME has not brought yet is left out.
fn certificates(settings: &TlsSettings, held: &Held) -> Result<Vec<Certificate>, String> {
    let read = |source: &CertificateSource| match source {
        CertificateSource::Files(files) => Some(Certificate::read(files).map_err(|(_, why)| why)),
        CertificateSource::Acme(domains) => {
            let issued = held.certificate(&domains[0])?;
            Some(Ok(Certificate::issued(&issued)))
        }
    };
    settings.certificates.iter().filter_map(read).collect()
}

/// Sessions that are remembered for those who come back, some hundred bytes each.
const SESSIONS: usize = 20_000;

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What comes before the handshake is whole could be somebody's who repeats it. So it is taken on sessions that this
/// process remembers, each of which is good for one connection: RFC 8446 §8.1. On tickets it is not.
fn quic(config: &ServerConfig, early_data: bool) -> Arc<QuicServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.max_early_data_size = 0;
    if early_data {
        config.ticketer = Arc::new(NoTickets);
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        // All or nothing: RFC 9001 §4.6.1.
        config.max_early_data_size = u32::MAX;
    }
    let quic = QuicServerConfig::try_from(config);
    Arc::new(quic.expect("the provider has the suite that all first packets are in"))
}

/// Who may come, and what tells that rule from others.
fn verifier(
    clients: Option<&ClientAuth>,
) -> Result<(Arc<dyn ClientCertVerifier>, [u8; 32]), String> {
    let Some(ClientAuth { ca_file, required }) = clients else {
        return Ok((WebPkiClientVerifier::no_client_auth(), [0; 32]));
    };
    let mut scope = Sha256::new_with_prefix([u8::from(*required)]);
    let authorities = client_authorities(ca_file)?;
    authorities
        .iter()
        .for_each(|authority| scope.update(authority));
    let mut roots = RootCertStore::empty();
    // They could be added before.
    roots.add_parsable_certificates(authorities);
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let builder = match required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|why| pem::unusable(ca_file, why))?;
    Ok((verifier, scope.finalize().into()))
}

/// Those whose certificates clients may show.
pub fn client_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let authorities = pem::certificates(file)?;
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        let added = roots.add(authority.clone());
        added.map_err(|why| pem::unusable(file, why))?;
    }
    Ok(authorities)
}
