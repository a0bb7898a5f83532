//! A client that sends no more: has it left, or does it wait for its answer? RFC 9112 §9.6.
//!
//! Both look the same until something is sent to it; a client that has left answers that with a reset. Most answers
//! come in a moment; after that it is sent an answer before the answer, which all of HTTP/1.1 read over (RFC 9110
//! §15.2.1), and then looked at.

use super::Conn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// For an answer to come, before its client is asked.
const MOMENT: Duration = Duration::from_millis(250);
/// Until the first look, and the longest from one to the next.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
/// As `tcp_info` has it. Linux, tcp_states.h.
const TCP_CLOSE: u8 = 7;

/// Of the present request.
#[derive(Default)]
pub(super) struct Farewell {
    /// Its client reads over what comes before an answer.
    pub can_be_asked: bool,
    /// Something of an answer was sent.
    pub has_begun: bool,
    /// Once its client has sent its last.
    looks: Option<Looks>,
}

struct Looks {
    timer: Pin<Box<Sleep>>,
    /// Until the next one. None: it was not asked yet.
    pause: Option<Duration>,
}

impl Farewell {
    fn look_after(&mut self, pause: Duration) {
        if let Some(looks) = &mut self.looks {
            looks.pause = Some(pause);
            looks.timer.as_mut().reset(Instant::now() + pause);
        }
    }
}

impl Conn {
    /// The client has sent its last. Ready: it is gone, as who leaves in the middle of an answer is.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.farewell.looks.is_none() && self.farewell.has_begun {
            return Poll::Ready(());
        }
        loop {
            if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                return Poll::Ready(());
            }
            let looks = self.farewell.looks.get_or_insert_with(|| Looks {
                timer: Box::pin(sleep(MOMENT)),
                pause: None,
            });
            ready!(looks.timer.as_mut().poll(cx));
            let asked = looks.pause;
            let pause = match asked {
                // What was sent since asks as well.
                None if self.farewell.has_begun => FIRST,
                None if self.farewell.can_be_asked => {
                    self.output.extend_from_slice(INTERIM);
                    FIRST
                }
                None => return Poll::Ready(()),
                Some(_) if self.is_closed() => return Poll::Ready(()),
                Some(pause) => (pause * 2).min(LONGEST),
            };
            self.farewell.look_after(pause);
        }
    }

    fn is_closed(&self) -> bool {
        let info = self.digest.tcp_info();
        info.is_some_and(|info| info.tcpi_state == TCP_CLOSE)
    }
}
