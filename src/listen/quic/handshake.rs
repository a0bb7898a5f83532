//! The begin of a QUIC connection.

use super::connection::Whole;
use super::{Connection, Socket};
use crate::listen::Limits;
use crate::listen::tls::{Secure, Secured};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Incoming, ZeroRttAccepted};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug)]
pub enum Unshaken {
    Failed(Box<dyn std::error::Error + Send + Sync>),
    TimedOut,
    /// HTTP/3 is not spoken here any more.
    Refused,
}

/// What is left of a handshake.
pub struct Rest {
    quic: quinn::Connection,
    done: ZeroRttAccepted,
    tell: watch::Sender<bool>,
}

impl Rest {
    /// Waits for it, and closes a connection that does not get there. Whether it did.
    pub async fn done(self, limit: Duration) -> bool {
        let whole = timeout(limit, self.done).await.is_ok() && self.quic.close_reason().is_none();
        match whole {
            // Nobody may be waiting.
            true => drop(self.tell.send(true)),
            false => self.quic.close(0u32.into(), b"no handshake"),
        }
        whole
    }
}

/// Shakes hands, and says what was agreed on; where early data is taken, without waiting for the last of it.
pub async fn shake(
    incoming: Incoming,
    socket: &Arc<Socket>,
    tls: &Secure,
    limits: &Limits,
) -> Result<(Connection, Secured, Option<Rest>), Unshaken> {
    let Some(crypto) = tls.quic() else {
        incoming.refuse();
        return Err(Unshaken::Refused);
    };
    let config = socket.config(crypto, limits);
    let shaking = async {
        let connecting = incoming.accept_with(config).map_err(failed)?;
        let (quic, whole, rest) = match tls.early_data() {
            true => begin_early(connecting).await?,
            false => (
                connecting.await.map_err(failed)?,
                watch::channel(true).1,
                None,
            ),
        };
        let mut secured = secured(&quic);
        secured.choice = Some(tls.choice());
        let connection = Connection::begin(quic, whole, socket.clone(), limits).await;
        Ok((connection.map_err(failed)?, secured, rest))
    };
    let shaken = timeout(limits.header_timeout, shaking).await;
    shaken.unwrap_or(Err(Unshaken::TimedOut))
}

/// As soon as it is known for whom the client has come.
async fn begin_early(
    mut connecting: Connecting,
) -> Result<(quinn::Connection, Whole, Option<Rest>), Unshaken> {
    connecting.handshake_data().await.map_err(failed)?;
    match connecting.into_0rtt() {
        Ok((quic, done)) => {
            let (tell, whole) = watch::channel(false);
            let rest = Rest {
                quic: quic.clone(),
                done,
                tell,
            };
            Ok((quic, whole, Some(rest)))
        }
        // A server always can; but it can wait as well.
        Err(connecting) => {
            let quic = connecting.await.map_err(failed)?;
            Ok((quic, watch::channel(true).1, None))
        }
    }
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
