//! A certificate with its key, as it is kept: one record in PEM, the key first, so that the two never part.

use super::plan::Term;
use super::window::Window;
use crate::pem::{self, Leaf};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::CertificateIdentifier;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Debug)]
pub struct Issued {
    /// The first of the names that it was ordered for.
    pub name: Box<str>,
    pub leaf: Leaf,
    pub pair: CertifiedKey,
    /// What its authority calls it. None: it does not say who that is.
    pub id: Option<CertificateIdentifier<'static>>,
}

impl Issued {
    /// An error where it can't be shown to anybody.
    pub fn read(name: &str, record: &[u8]) -> Result<Issued, String> {
        let chain = CertificateDer::pem_slice_iter(record).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|why| format!("its certificates can't be read: {why}"))?;
        let first = chain.first().ok_or("there is no certificate in it")?;
        let leaf = pem::leaf(first)?;
        let id = identifier(first);
        let key = PrivateKeyDer::from_pem_slice(record);
        let key = key.map_err(|why| format!("its key can't be read: {why}"))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        Ok(Issued {
            name: name.into(),
            leaf,
            id,
            pair: pair.map_err(|why| format!("certificate and key can't be used: {why}"))?,
        })
    }

    /// For all of these names. It may be for more: another edge of the fleet may want them already, or still.
    pub fn is_for(&self, domains: &[Box<str>]) -> bool {
        domains.iter().all(|name| self.leaf.names.contains(name))
    }

    /// Whether it is time to learn when it is to be renewed. Nobody says so once it has ended.
    pub fn is_to_be_asked_about(&self, window: Option<&Window>, now: i64) -> bool {
        let of_it = |id| window.is_none_or(|window| window.is_due(id, now));
        self.leaf.not_after > now && self.id.as_ref().is_some_and(of_it)
    }

    /// When it is to be renewed, in Unix seconds; all edges agree. `window`: what the authority has said of it, or
    /// of one before it.
    pub fn renewal(&self, window: Option<&Window>) -> i64 {
        let hash = xxh3_64(&self.pair.cert[0]);
        let term = Term {
            not_before: self.leaf.not_before,
            not_after: self.leaf.not_after,
        };
        let chance = hash as f64 / u64::MAX as f64;
        match self.id.as_ref().and_then(|id| window?.span(id)) {
            Some(span) => term.suggested(span, chance),
            None => term.renewal(chance),
        }
    }
}

/// RFC 9773 §4.1.
fn identifier(certificate: &CertificateDer<'_>) -> Option<CertificateIdentifier<'static>> {
    let (_, leaf) = X509Certificate::from_der(certificate).ok()?;
    let authority =
        leaf.iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(authority) => {
                    authority.key_identifier.as_ref()
                }
                _ => None,
            })?;
    Some(CertificateIdentifier {
        authority_key_identifier: URL_SAFE_NO_PAD.encode(authority.0).into(),
        serial: URL_SAFE_NO_PAD.encode(leaf.raw_serial()).into(),
    })
}
