//! What is in hand: certificates for those who show them, and what an authority looks for. One for the
//! process, so that a reload finds it; asking it waits for nobody.

use super::book::Proof;
use super::issued::Issued;
use super::settings::Challenge;
use crate::observe::AcmeMetrics;
use arc_swap::ArcSwap;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// What an authority offers that comes to look by TLS, and nobody else does: RFC 8737 §6.2.
pub const PROTOCOL: &[u8] = b"acme-tls/1";

pub struct Held {
    certificates: ArcSwap<HashMap<Box<str>, Arc<Issued>>>,
    answers: ArcSwap<Answers>,
    /// How often certificates have changed.
    generation: watch::Sender<u64>,
    metrics: AcmeMetrics,
}

#[derive(Default)]
struct Answers {
    to: Vec<Proof>,
    /// By their tokens.
    http: HashMap<Box<str>, Bytes>,
    /// By the names that are asked for.
    tls: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl Held {
    pub fn new(metrics: AcmeMetrics) -> Held {
        Held {
            certificates: ArcSwap::default(),
            answers: ArcSwap::default(),
            generation: watch::Sender::new(0),
            metrics,
        }
    }

    /// By what it is called.
    pub fn certificate(&self, name: &str) -> Option<Arc<Issued>> {
        self.certificates.load().get(name).cloned()
    }

    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Until certificates are others than they were.
    pub async fn changed(&self) {
        // The sender is ours, so it is there.
        let _ = self.generation.subscribe().changed().await;
    }

    /// What is to be found at this token's path. `looking`: it is not told to anybody.
    pub fn http(&self, token: &str, looking: bool) -> Option<Bytes> {
        let found = self.answers.load().http.get(token).cloned()?;
        if !looking {
            self.metrics.asked("http-01");
        }
        Some(found)
    }

    /// What is shown to who looks whether this name is ours.
    pub fn tls(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let found = self.answers.load().tls.get(name).cloned()?;
        self.metrics.asked("tls-alpn-01");
        Some(found)
    }

    /// One more, or another one of the same name.
    pub(super) fn put(&self, issued: Issued) {
        let mut certificates = HashMap::clone(&self.certificates.load());
        certificates.insert(issued.name.clone(), Arc::new(issued));
        self.certificates.store(Arc::new(certificates));
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// These, and no others.
    pub(super) fn prove(&self, proofs: &[Proof]) {
        if self.answers.load().to != proofs {
            self.answers.store(Arc::new(Answers::new(proofs)));
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Answers {
    fn new(proofs: &[Proof]) -> Answers {
        let mut answers = Answers {
            to: proofs.to_vec(),
            ..Answers::default()
        };
        for proof in proofs {
            match proof.challenge {
                Challenge::Http01 => {
                    let said = Bytes::copy_from_slice(proof.authorization.as_bytes());
                    answers.http.insert(proof.token.clone(), said);
                }
                Challenge::TlsAlpn01 => match shown(proof) {
                    Ok(shown) => drop(answers.tls.insert(proof.domain.clone(), Arc::new(shown))),
                    Err(why) => {
                        tracing::error!(domain = %proof.domain, "acme: nothing to show: {why}");
                    }
                },
            }
        }
        answers
    }
}

/// A certificate that has signed itself, and says what it is for: RFC 8737 §3.
fn shown(proof: &Proof) -> Result<CertifiedKey, String> {
    let failed = |why: rcgen::Error| why.to_string();
    let mut params = CertificateParams::new([proof.domain.to_string()]).map_err(failed)?;
    let digest = Sha256::digest(proof.authorization.as_bytes());
    let says = CustomExtension::new_acme_identifier(&digest);
    params.custom_extensions.push(says);
    let key = KeyPair::generate().map_err(failed)?;
    let own = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not by `from_der`: what verifies certificates takes none with a critical extension that it doesn't know.
    let key = ring::sign::any_supported_type(&key).map_err(|why| why.to_string())?;
    Ok(CertifiedKey::new(vec![own.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    fn proof(challenge: Challenge) -> Proof {
        Proof {
            challenge,
            domain: "a.test".into(),
            token: "token".into(),
            authorization: "token.key".into(),
        }
    }

    #[test]
    fn only_what_is_to_be_shown_is_shown() {
        let held = Held::new(Metrics::new().acme);
        assert!(held.http("token", false).is_none() && held.tls("a.test").is_none());
        held.prove(&[proof(Challenge::Http01)]);
        assert_eq!(
            held.http("token", false).as_deref(),
            Some(&b"token.key"[..])
        );
        assert!(held.http("other", false).is_none() && held.tls("a.test").is_none());
        held.prove(&[proof(Challenge::TlsAlpn01)]);
        assert!(held.http("token", false).is_none() && held.tls("b.test").is_none());
        assert!(held.tls("a.test").is_some());
        held.prove(&[]);
        assert!(held.tls("a.test").is_none());
    }
}
