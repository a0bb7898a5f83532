//! Certificates and private keys in PEM files, what they say, and what is wrong with those that can't
//! be used: said as `config` says it, with what to write.

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate says of itself.
#[derive(Debug)]
pub struct Leaf {
    /// Whom it is for, in lower case: its dNSNames, `*.` at the begin of some.
    pub names: Vec<Box<str>>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
}

pub fn leaf(certificate: &CertificateDer<'_>) -> Result<Leaf, String> {
    let (_, leaf) = X509Certificate::from_der(certificate).map_err(|why| why.to_string())?;
    let validity = leaf.validity();
    Ok(Leaf {
        names: names(&leaf),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// Of the subject alternative names alone: clients look at no others, RFC 9525 §2.
fn names(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let general = extension.value.general_names.iter();
    let names = general.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    });
    names.collect()
}

/// The first private key in the file.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(|why| not_pem(file, "private key", &why))
}

/// All certificates in the file, which has one at least.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|why| not_pem(file, "certificate", &why))?;
    match found.is_empty() {
        true => Err(not_pem(file, "certificate", &pem::Error::NoItemsFound)),
        false => Ok(found),
    }
}

/// A chain with the key of its first certificate. An error where the two don't belong together, or
/// can't be used.
pub fn pair(
    file: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, provider).map_err(|why| match why {
        rustls::Error::InconsistentKeys(_) => format!(
            "`{}` is not for the key in key_file; name the one it was made with",
            file.display()
        ),
        why => format!("`{}` and its key cannot be used: {why}", file.display()),
    })
}

pub fn unusable(file: &Path, why: impl fmt::Display) -> String {
    let file = file.display();
    format!("`{file}` has a certificate that cannot be used: {why}")
}

fn not_pem(file: &Path, what: &str, why: &pem::Error) -> String {
    let file = file.display();
    match why {
        pem::Error::Io(why) => format!("`{file}` cannot be read: {why}; write a file's path"),
        pem::Error::NoItemsFound => {
            format!("`{file}` has no {what} in it; write the path of a PEM file")
        }
        why => format!("`{file}` is damaged: {why}; write the path of a PEM file"),
    }
}
