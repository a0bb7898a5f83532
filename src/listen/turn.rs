//! How long a connection keeps a worker that always has more to read.
//!
//! Most connections send a request and wait. Who sends without a pause, because it has much to ask or
//! wants to do harm, would have its worker read and answer until a buffer of the kernel's is empty, and
//! all others on that worker wait for it. So after a turn whatever else is ready goes first.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::yield_now;

/// As long as a few dozen hits take.
const TURN: Duration = Duration::from_micros(250);

#[derive(Default)]
pub struct Turn {
    begun: Option<Instant>,
}

impl Turn {
    /// Pending when the turn is over; the task is woken once others have run. To be asked before each
    /// of the things that make up a turn.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.begun {
            Some(begun) if begun.elapsed() >= TURN => {
                self.begun = None;
                pin!(yield_now()).poll(cx)
            }
            Some(_) => Poll::Ready(()),
            None => {
                self.begun = Some(Instant::now());
                Poll::Ready(())
            }
        }
    }

    /// The connection waits for its client: others run anyhow.
    pub fn pause(&mut self) {
        self.begun = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// On one thread.
    #[tokio::test]
    async fn who_never_pauses_lets_others_run() {
        let ran = Arc::new(AtomicBool::new(false));
        let other = tokio::spawn({
            let ran = ran.clone();
            async move { ran.store(true, Ordering::Relaxed) }
        });
        let mut turn = Turn::default();
        while !ran.load(Ordering::Relaxed) {
            poll_fn(|cx| turn.poll(cx)).await;
        }
        other.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_pause_begins_another_turn() {
        let mut turn = Turn::default();
        poll_fn(|cx| {
            for _ in 0..3 {
                assert_eq!(turn.poll(cx), Poll::Ready(()));
                let begun = Instant::now();
                while begun.elapsed() < TURN {
                    std::hint::spin_loop();
                }
                turn.pause();
            }
            assert_eq!(turn.poll(cx), Poll::Ready(()));
            Poll::Ready(())
        })
        .await;
    }
}
