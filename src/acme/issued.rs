//! A certificate with its key, as it is kept: one record in PEM, the key first, so that the two never part.

use super::plan::Term;
use crate::pem::{self, Leaf};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Debug)]
pub struct Issued {
    /// The first of the names that it was ordered for.
    pub name: Box<str>,
    pub leaf: Leaf,
    pub pair: CertifiedKey,
}

impl Issued {
    /// An error where it can't be shown to anybody.
    pub fn read(name: &str, record: &[u8]) -> Result<Issued, String> {
        let chain = CertificateDer::pem_slice_iter(record).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|why| format!("its certificates can't be read: {why}"))?;
        let first = chain.first().ok_or("there is no certificate in it")?;
        let leaf = pem::leaf(first)?;
        let key = PrivateKeyDer::from_pem_slice(record);
        let key = key.map_err(|why| format!("its key can't be read: {why}"))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        Ok(Issued {
            name: name.into(),
            leaf,
            pair: pair.map_err(|why| format!("certificate and key can't be used: {why}"))?,
        })
    }

    /// For all of these names. It may be for more: another edge of the fleet may want them already, or still.
    pub fn is_for(&self, domains: &[Box<str>]) -> bool {
        domains.iter().all(|name| self.leaf.names.contains(name))
    }

    /// When it is to be renewed, in Unix seconds; all edges agree.
    pub fn renewal(&self) -> i64 {
        let hash = xxh3_64(&self.pair.cert[0]);
        let term = Term {
            not_before: self.leaf.not_before,
            not_after: self.leaf.not_after,
        };
        term.renewal(hash as f64 / u64::MAX as f64)
    }
}
