//! `tls` of a listener. The files are read here too, so that what is wrong with them is said with its
//! line before anything is changed.

use super::section::Section;
use super::values::{choice, file};
use crate::listen::tls::{Certificate, Part, client_authorities, ticket_secrets, unix_now};
use crate::listen::{CertificateFiles, ClientAuth, TlsSettings};
use std::path::{Path, PathBuf};

pub fn read(s: &mut Section<'_>) -> Option<TlsSettings> {
    let written = s.has("certificates") && !s.is_empty("certificates");
    let certificates = s.items("certificates", certificate);
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

fn certificate(s: &mut Section<'_>) -> Option<CertificateFiles> {
    let cert_file = s.required("cert_file", "certs/dev.crt", file);
    let key_file = s.required("key_file", "certs/dev.key", file);
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
