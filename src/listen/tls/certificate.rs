//! A certificate with its key, read from files.

use super::choice::Stapled;
use super::{provider, staple};
use crate::listen::settings::CertificateFiles;
use crate::pem;
use std::path::PathBuf;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

#[derive(Debug)]
pub struct Certificate {
    /// As the configuration names it.
    pub file: PathBuf,
    pub key: Stapled,
    /// Whom it is for, in lower case: its dNSNames, `*.` at the begin of some.
    pub names: Vec<Box<str>>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
}

/// Which of the files can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    Staple,
}

impl Certificate {
    pub fn read(files: &CertificateFiles) -> Result<Certificate, (Part, String)> {
        let file = &files.cert_file;
        let of_chain = |why| (Part::Certificate, why);
        let chain = pem::certificates(file).map_err(of_chain)?;
        let key = pem::private_key(&files.key_file).map_err(|why| (Part::Key, why))?;
        let (_, leaf) = X509Certificate::from_der(&chain[0])
            .map_err(|why| of_chain(pem::unusable(file, why)))?;
        let (names, validity) = (names(&leaf), leaf.validity().clone());
        let pair = pem::pair(file, chain, key, &provider()).map_err(of_chain)?;
        let staple = files.ocsp_file.as_deref().map(staple::read).transpose();
        let staple = staple.map_err(|why| (Part::Staple, why))?;
        Ok(Certificate {
            file: file.clone(),
            key: Stapled::new(pair, staple),
            names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Why clients will not take it at `now`, in Unix seconds.
    pub fn untimely(&self, now: i64) -> Option<&'static str> {
        match () {
            () if now > self.not_after => Some("its time is over; renew it"),
            () if now < self.not_before => Some("its time has not begun; look at the clock"),
            () => None,
        }
    }
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
