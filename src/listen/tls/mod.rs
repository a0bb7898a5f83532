//! TLS on listeners: certificates chosen by name, sessions that are resumed, and files that may
//! change at any time. What is spoken on a connection is `conn`'s.

mod certificate;
mod choice;
mod client;
mod files;
mod secure;
mod staple;
mod tickets;
mod turns;

pub use certificate::{Certificate, Part};
pub use choice::unix_now;
pub use client::{ClientCertificate, Secured};
pub use secure::{Listening, Secure, client_authorities};
pub use tickets::{OwnSecrets, ticket_secrets};
pub use turns::Turns;

use rustls::crypto::{CryptoProvider, ring};
use std::sync::{Arc, LazyLock};

/// `ring`, as towards servers. AES-128 first, RFC 8446 §9.1: it is as far out of reach as AES-256, and
/// costs a third less.
pub fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::*;
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384,
                TLS13_CHACHA20_POLY1305_SHA256,
                TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
            ..ring::default_provider()
        })
    });
    PROVIDER.clone()
}
