//! `tls` of a listener. The files are read here too, so that what is wrong with them is said with its
//! line before anything is changed.

use super::section::Section;
use super::values::{choice, file};
use crate::listen::tls::{Certificate, Part, client_authorities, ticket_secrets, unix_now};
use crate::listen::{CertificateFiles, CertificateSource, ClientAuth, TlsSettings};
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The names of one certificate, for an authority.
const MOST_NAMES: usize = 100;

/// The names of certificates that are to be ordered, in all listeners.
#[derive(Default)]
pub struct Orders(Vec<Vec<Box<str>>>);

impl Orders {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// False where another certificate begins with the same name, and goes on otherwise.
    fn claim(&mut self, names: &[Box<str>]) -> bool {
        let other = self.0.iter().find(|other| other.first() == names.first());
        let is_good = other.is_none_or(|other| other == names);
        if other.is_none() {
            self.0.push(names.to_vec());
        }
        is_good
    }
}

pub fn read(s: &mut Section<'_>, orders: &mut Orders) -> Option<TlsSettings> {
    let written = s.has("certificates") && !s.is_empty("certificates");
    let certificates = s.items("certificates", |s| certificate(s, orders));
    s.at_least_one(
        "certificates",
        "[{cert_file: certs/dev.crt, key_file: certs/dev.key}], which `lakh cert dev` makes",
    );
    let versions = [("1.2", false), ("1.3", true)];
    let settings = TlsSettings {
        only_1_3: s.or("min_version", false, choice(&versions)),
        clients: clients(s),
        ticket_key_file: s.optional("ticket_key_file", |text| {
            ticket_secrets(Path::new(text)).map(|_| PathBuf::from(text))
        }),
        certificates,
    };
    written.then_some(settings)
}

fn certificate(s: &mut Section<'_>, orders: &mut Orders) -> Option<CertificateSource> {
    let names = s.list("acme", domain);
    if s.has("acme") {
        return ordered(s, names, orders);
    }
    in_files(s).map(CertificateSource::Files)
}

fn ordered(
    s: &mut Section<'_>,
    names: Vec<Box<str>>,
    orders: &mut Orders,
) -> Option<CertificateSource> {
    for key in ["cert_file", "key_file", "ocsp_file"] {
        if s.has(key) {
            let message = "a certificate that is ordered has no files; make two of them, or remove one of the keys";
            s.refuse(key, message);
        } else {
            // `null` is known too.
            s.optional(key, file);
        }
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    if s.is_empty("acme") {
        s.error(
            "acme",
            "it is for nobody; write the names of hosts, like [shop.example]",
        );
    } else if sorted.len() < names.len() {
        s.error("acme", "a name is there twice; remove one of them");
    } else if names.len() > MOST_NAMES {
        let message = format!(
            "no authority signs for more than {MOST_NAMES} names; make several certificates of them"
        );
        s.error("acme", message);
    } else if !names.is_empty() && !orders.claim(&names) {
        let message = format!(
            "another certificate begins with `{}`, and what is kept of both would be called so; let one begin with another name",
            names[0]
        );
        s.error("acme", message);
    }
    (!names.is_empty()).then_some(CertificateSource::Acme(names))
}

/// In lower case.
fn domain(text: &str) -> Result<Box<str>, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "`{text}` is an address, and what is ordered is for names; write one that leads to it, like shop.example"
        ));
    }
    if let Some(parent) = text.strip_prefix("*.") {
        return Err(format!(
            "`{text}`: neither http-01 nor tls-alpn-01 can show that all names under {parent} are yours; write each of them, or cert_file and key_file"
        ));
    }
    match ServerName::try_from(text) {
        Ok(ServerName::DnsName(name)) if !text.ends_with('.') => {
            Ok(name.as_ref().to_ascii_lowercase().into())
        }
        _ => Err(format!(
            "`{text}` is no host's name; write it like shop.example, and as xn--... where it has other letters"
        )),
    }
}

fn in_files(s: &mut Section<'_>) -> Option<CertificateFiles> {
    let cert_file = s.optional("cert_file", file);
    let key_file = s.optional("key_file", file);
    s.needed("cert_file", "certs/dev.crt");
    s.needed("key_file", "certs/dev.key");
    let files = CertificateFiles {
        ocsp_file: s.optional("ocsp_file", file),
        cert_file: cert_file?,
        key_file: key_file?,
    };
    match Certificate::read(&files) {
        Ok(certificate) => warn_of_useless(s, &certificate),
        Err((Part::Certificate, why)) => s.error("cert_file", why),
        Err((Part::Key, why)) => s.error("key_file", why),
        Err((Part::Staple, why)) => s.error("ocsp_file", why),
    }
    Some(files)
}

fn warn_of_useless(s: &Section<'_>, certificate: &Certificate) {
    let file = certificate.file.display();
    if let Some(why) = certificate.untimely(unix_now()) {
        let message = format!("clients will not take `{file}`: {why}");
        s.warn(s.value_span("cert_file"), &message);
    }
    if certificate
        .key
        .staple_until()
        .is_some_and(|until| until < unix_now())
    {
        let message = "what it says has expired, so it is not sent; fetch a new one from the certificate's issuer";
        s.warn(s.value_span("ocsp_file"), message);
    }
    if certificate.names.is_empty() {
        let message = format!(
            "`{file}` is for no host's name: it has none among its subject's alternative names, and \
             clients look at no others"
        );
        s.warn(s.value_span("cert_file"), &message);
    }
}

fn clients(s: &mut Section<'_>) -> Option<ClientAuth> {
    let ca_file = s.optional("client_ca_file", |text| {
        client_authorities(Path::new(text)).map(|_| PathBuf::from(text))
    });
    let known = [("required", true), ("optional", false)];
    let required = s.or("client_auth", true, choice(&known));
    if s.has("client_auth") && !s.has("client_ca_file") {
        let message = "nobody's certificates are trusted; write client_ca_file: FILE beside it";
        s.error("client_auth", message);
    }
    Some(ClientAuth {
        ca_file: ca_file?,
        required,
    })
}
