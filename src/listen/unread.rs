//! How much of a body this machine's kernel takes before its server does. By itself it takes megabytes of each: their
//! clients have sent the last byte long before, and wait for an answer that nobody has begun to think about; and what
//! a crowd of them has sent is more than a small machine has.
//!
//! So a large body begins with a small buffer, that stays small until so much of it was taken as no server takes that
//! does not read. From there on the kernel finds out itself what the line needs.

use super::socket::Socket;
use std::io;
use std::os::fd::AsRawFd;

/// Bytes that may come unread; the kernel reserves as many again for its own use. With a round trip of 50 ms that is
/// 20 Mbit/s, for as long as `TAKEN` has not come.
const FEW: libc::c_int = 128 << 10;

/// More than what fits into all buffers from here to a server that reads nothing.
const TAKEN: u64 = 1 << 20;

/// From linux/net.h: the kernel does not change the size by itself.
const SOCK_RCVBUF_LOCK: libc::c_int = 2;

#[derive(Default)]
pub struct Unread {
    is_small: bool,
    /// Bytes of the present body, until the buffer may grow.
    left: u64,
}

impl Unread {
    /// A body begins, of `length` bytes or more.
    pub fn begins(&mut self, length: u64, socket: &Socket) {
        if length <= FEW as u64 {
            return;
        }
        self.left = TAKEN;
        if !self.is_small {
            self.is_small = make_small(socket).is_ok();
        }
    }

    /// So many bytes of a body were taken.
    pub fn came(&mut self, bytes: usize, socket: &Socket) {
        if !self.is_small {
            return;
        }
        self.left = self.left.saturating_sub(bytes as u64);
        if self.left == 0 {
            self.is_small = false;
            // What could be locked can be unlocked.
            let _ = set(socket, libc::SO_BUF_LOCK, 0);
        }
    }
}

/// For a socket of TCP. Locked first: a kernel that knows nothing of that (before 5.14) would keep it small for good.
fn make_small(socket: &Socket) -> io::Result<()> {
    let Socket::Tcp(_) = socket else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    set(socket, libc::SO_BUF_LOCK, SOCK_RCVBUF_LOCK)?;
    set(socket, libc::SO_RCVBUF, FEW)
}

fn set(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and the call reads one integer, which is there,
    // with its size.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    async fn socket() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("it came");
        (stream.into(), client)
    }

    /// Whether its size is fixed.
    fn is_locked(socket: &Socket) -> bool {
        let mut value: libc::c_int = 0;
        let mut length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: as `set`; what is written to has the size that is told.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_BUF_LOCK,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        assert_eq!(failed, 0);
        value & SOCK_RCVBUF_LOCK != 0
    }

    fn size(socket: &Socket) -> usize {
        let Socket::Tcp(stream) = socket else {
            unreachable!("it is one of TCP")
        };
        SockRef::from(stream)
            .recv_buffer_size()
            .expect("it has one")
    }

    #[tokio::test]
    async fn a_large_body_has_a_small_buffer_until_it_is_seen_to_be_taken() {
        let (socket, _client) = socket().await;
        let mut unread = Unread::default();
        unread.begins(FEW as u64, &socket);
        assert!(!is_locked(&socket), "there is nothing to hold back");
        for _ in 0..2 {
            unread.begins(u64::MAX, &socket);
            assert!(is_locked(&socket));
            assert_eq!(size(&socket), 2 * FEW as usize);
            unread.came(TAKEN as usize - 1, &socket);
            assert!(is_locked(&socket));
            unread.came(1, &socket);
            assert!(!is_locked(&socket));
            unread.came(1, &socket);
        }
    }

    #[tokio::test]
    async fn what_ended_before_does_not_count_for_the_next() {
        let (socket, _client) = socket().await;
        let mut unread = Unread::default();
        for _ in 0..3 {
            unread.begins(TAKEN / 2, &socket);
            unread.came((TAKEN / 2) as usize, &socket);
            assert!(is_locked(&socket));
        }
    }
}
