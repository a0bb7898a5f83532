//! A client that sends no more: has it left, or does it wait for its answer? RFC 9112 §9.6.
//!
//! Both look the same until something is sent to it; a client that has left answers that with a reset. So it is sent
//! an answer before the answer, which all of HTTP/1.1 read over (RFC 9110 §15.2.1), and then looked at.

use super::Conn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Until the first look, and the longest from one to the next.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
/// As `tcp_info` has it. Linux, tcp_states.h.
const TCP_CLOSE: u8 = 7;

/// Of the present request.
#[derive(Default)]
pub(super) struct Farewell {
    /// Nothing of an answer was sent, and its client would read over an interim one.
    pub can_ask: bool,
    /// Once it was asked.
    looks: Option<Looks>,
}

struct Looks {
    timer: Pin<Box<Sleep>>,
    pause: Duration,
}

impl Conn {
    /// The client has sent its last. Ready: it is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.farewell.looks.is_none() {
            if !self.farewell.can_ask {
                return Poll::Ready(());
            }
            self.output.extend_from_slice(INTERIM);
            self.farewell.looks = Some(Looks {
                timer: Box::pin(sleep(FIRST)),
                pause: FIRST,
            });
        }
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            return Poll::Ready(());
        }
        let Conn {
            farewell, digest, ..
        } = self;
        while let Some(looks) = &mut farewell.looks {
            ready!(looks.timer.as_mut().poll(cx));
            let info = digest.tcp_info();
            if info.is_some_and(|info| info.tcpi_state == TCP_CLOSE) {
                break;
            }
            looks.pause = (looks.pause * 2).min(LONGEST);
            looks.timer.as_mut().reset(Instant::now() + looks.pause);
        }
        Poll::Ready(())
    }
}
