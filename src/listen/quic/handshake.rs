//! The begin of a QUIC connection.

use super::{Connection, Socket};
use crate::listen::Limits;
use crate::listen::tls::{Secure, Secured};
use quinn::Incoming;
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// Why there is no connection.
#[derive(Debug)]
pub enum Unshaken {
    Failed(Box<dyn std::error::Error + Send + Sync>),
    TimedOut,
    /// HTTP/3 is not spoken here any more.
    Refused,
}

/// Shakes hands, and says what was agreed on.
pub async fn shake(
    incoming: Incoming,
    socket: &Arc<Socket>,
    tls: &Secure,
    limits: &Limits,
) -> Result<(Connection, Secured), Unshaken> {
    let Some(crypto) = tls.quic() else {
        incoming.refuse();
        return Err(Unshaken::Refused);
    };
    let config = socket.config(crypto, limits);
    let shaking = async {
        let quic = incoming.accept_with(config).map_err(failed)?.await;
        let quic = quic.map_err(failed)?;
        let mut secured = secured(&quic);
        secured.choice = Some(tls.choice());
        let connection = Connection::begin(quic, socket.clone(), limits).await;
        Ok((connection.map_err(failed)?, secured))
    };
    let shaken = tokio::time::timeout(limits.header_timeout, shaking).await;
    shaken.unwrap_or(Err(Unshaken::TimedOut))
}

fn failed(e: impl std::error::Error + Send + Sync + 'static) -> Unshaken {
    Unshaken::Failed(Box::new(e))
}

fn secured(quic: &quinn::Connection) -> Secured {
    let agreed = quic
        .handshake_data()
        .and_then(|d| d.downcast::<HandshakeData>().ok());
    let shown = quic
        .peer_identity()
        .and_then(|i| i.downcast::<Vec<CertificateDer<'static>>>().ok());
    let client = shown.as_ref().and_then(|chain| chain.first());
    Secured::of_quic(
        agreed.and_then(|agreed| agreed.server_name),
        client.map(|der| &**der),
    )
}
