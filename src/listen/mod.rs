//! Where clients come in: addresses, connections, caps.
//!
//! Pingora's own accept loop is not used: listeners must come and go with a reload, a busy address
//! must be a clear error at start, and every connection must be counted, capped and read head
//! first, with a deadline (`Conn`).

mod accept;
mod caps;
mod chunks;
mod conn;
mod entry;
mod head;
pub mod http2;
mod pace;
mod proxied;
pub mod quic;
mod session;
mod settings;
mod socket;
pub mod tls;
mod turn;
mod unix;
mod unread;

pub use accept::{Address, Arrival, Given, Heirloom, Listener, Port, share, udp};
pub use caps::{Caps, Place, Places};
pub use chunks::Chunks;
pub use conn::{Begun, Conn, ConnLimits, Unsecured};
pub use entry::{Entry, Manner};
pub use head::{Checked, Framing, Head, Malformed, check, may_switch, to_origin_form};
pub use proxied::{Proxied, read as read_proxied};
pub use session::Waits;
pub use settings::{
    Access, CertificateFiles, CertificateSource, ClientAuth, Limits, ListenerSettings, TlsSettings,
};
pub use socket::Socket;
pub use unix::SocketFile;
