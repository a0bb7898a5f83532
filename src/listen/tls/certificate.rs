//! A certificate with its key: read from files, or issued by ACME.

use super::choice::Stapled;
use super::{provider, staple};
use crate::acme::Issued;
use crate::listen::settings::CertificateFiles;
use crate::pem::{self, Leaf};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Certificate {
    /// As the configuration names it; `acme:` and a name where it was issued.
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
        let leaf = pem::leaf(&chain[0]).map_err(|why| of_chain(pem::unusable(file, why)))?;
        let pair = pem::pair(file, chain, key, &provider()).map_err(of_chain)?;
        let staple = files.ocsp_file.as_deref().map(staple::read).transpose();
        let staple = staple.map_err(|why| (Part::Staple, why))?;
        Ok(Certificate::new(
            file.clone(),
            Stapled::new(pair, staple),
            &leaf,
        ))
    }

    /// It was looked at when it came.
    pub fn issued(issued: &Issued) -> Certificate {
        let file = PathBuf::from(format!("acme:{}", issued.name));
        Certificate::new(file, Stapled::new(issued.pair.clone(), None), &issued.leaf)
    }

    fn new(file: PathBuf, key: Stapled, leaf: &Leaf) -> Certificate {
        Certificate {
            file,
            key,
            names: leaf.names.clone(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        }
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
