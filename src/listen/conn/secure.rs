//! The begin of a connection inside TLS.

use super::Conn;
use super::wire::not_tls;
use crate::acme::PROTOCOL;
use crate::listen::tls::{Secure, Secured, Turns};
use crate::listen::{Entry, Manner};
use crate::observe::Handshake;
use bytes::Buf;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use std::io;
use std::sync::Arc;

/// Of a record that is a handshake's: RFC 8446 §5.1.
const HANDSHAKE: u8 = 22;

/// Why there is no TLS.
#[derive(Debug)]
pub enum Unsecured {
    /// A request without it has come; it is still there to be answered.
    Plain,
    /// An authority has looked whether a name is ours, and nothing is said on such a connection.
    Challenge,
    Failed(io::Error),
}

impl From<io::Error> for Unsecured {
    fn from(e: io::Error) -> Unsecured {
        Unsecured::Failed(e)
    }
}

impl Conn {
    /// Shakes hands; requests are read from inside TLS from here on. What is computed waits for its
    /// turn.
    pub async fn secure(&mut self, with: &Secure, turns: &Turns) -> Result<Handshake, Unsecured> {
        if self.input.is_empty() {
            self.fill().await?;
        }
        match self.input.first() {
            Some(&HANDSHAKE) => {}
            Some(b'A'..=b'Z') => return Err(Unsecured::Plain),
            Some(_) => return Err(io::Error::other("what came is no TLS").into()),
            None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
        let mut tls = Box::new(ServerConnection::new(with.config()).map_err(not_tls)?);
        // To the last byte: what is left here would be taken for what came inside.
        while tls.is_handshaking() || !self.input.is_empty() {
            self.feed(&mut tls).await?;
            let opened = turns.take(|| tls.process_new_packets()).await;
            if tls.is_handshaking() || opened.is_err() {
                self.tell(&mut tls).await?;
            }
            opened.map_err(not_tls)?;
        }
        if tls.alpn_protocol() == Some(PROTOCOL) {
            tls.send_close_notify();
            self.tell(&mut tls).await?;
            return Err(Unsecured::Challenge);
        }
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let how = match (tls.protocol_version(), resumed) {
            (Some(ProtocolVersion::TLSv1_2), false) => Handshake::Full12,
            (Some(ProtocolVersion::TLSv1_2), true) => Handshake::Resumed12,
            (_, false) => Handshake::Full13,
            (_, true) => Handshake::Resumed13,
        };
        let mut secured = Secured::of(&tls);
        (secured.http3, secured.choice) = (with.http3(), Some(with.choice()));
        self.entry = Arc::new(Entry {
            listener: self.entry.listener.clone(),
            manner: Manner::Secured(secured),
        });
        // What is left to be said, tickets for example, goes with the first answer, or before the wait
        // for the first request: whoever reads sees to that.
        self.wire.secure(tls);
        Ok(how)
    }

    /// Hands on what has come, and waits for something if nothing has.
    async fn feed(&mut self, tls: &mut ServerConnection) -> io::Result<()> {
        if self.input.is_empty() && self.fill().await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = tls.read_tls(&mut &self.input[..])?;
        self.input.advance(n);
        Ok(())
    }

    async fn tell(&mut self, tls: &mut ServerConnection) -> io::Result<()> {
        let mut said = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut said)?;
        }
        self.output.extend_from_slice(&said);
        self.sent().await
    }
}
