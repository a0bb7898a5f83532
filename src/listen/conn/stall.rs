//! Whether a client that nothing more can be written to still takes what it was sent before.
//!
//! The kernel says that there is room again only now and then, and a slow client may be long about that. What it has
//! acknowledged is seen at once. So that is looked at, first after a while, for who is that slow is rare.

use crate::listen::pace::Pace;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Default)]
pub struct Stall {
    /// Kept from one stall to the next, and moved when it fires.
    timer: Option<Pin<Box<Sleep>>>,
    /// While nothing can be written.
    next: Option<Look>,
}

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    /// The one before, and what the client had taken by then.
    before: Option<(Instant, u64)>,
}

impl Stall {
    /// Something could be written.
    pub fn is_over(&mut self) {
        self.next = None;
    }

    /// Nothing can be written. Ready: nothing could for as long as `patience`, and the client took what was sent
    /// before more slowly than `pace` has it. `taken`: bytes of the connection so far.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        patience: Duration,
        pace: &Pace,
        taken: impl Fn() -> u64,
    ) -> Poll<()> {
        let look = self.next.get_or_insert_with(|| Look {
            at: Instant::now() + patience / 4,
            before: None,
        });
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(look.at)));
        // Set by a configuration that waited longer.
        if timer.deadline() > look.at {
            timer.as_mut().reset(look.at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= look.at {
                let (now, taken) = (Instant::now(), taken());
                let until_next = match look.before {
                    None => patience - patience / 4,
                    Some((at, before)) if taken.saturating_sub(before) < pace.least(now - at) => {
                        return Poll::Ready(());
                    }
                    Some(_) => patience,
                };
                *look = Look {
                    at: now + until_next,
                    before: Some((now, taken)),
                };
            }
            timer.as_mut().reset(look.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::future::{Future, poll_fn};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// With a clock of its own, that goes on when all wait.
    fn in_time<T>(run: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(run)
    }

    /// Nothing can be written, while a client takes `bytes` every so often. How long until it is given up.
    async fn given_up(stall: &mut Stall, every: Duration, bytes: u64) -> Option<Duration> {
        let (begun, taken) = (Instant::now(), Cell::new(0));
        let pace = Pace::at_least(240);
        let takes = async {
            loop {
                tokio::time::sleep(every).await;
                taken.set(taken.get() + bytes);
            }
        };
        tokio::select! {
            biased;
            () = takes => unreachable!("it has no end"),
            () = poll_fn(|cx| stall.poll(cx, PATIENCE, &pace, || taken.get())) => {
                Some(begun.elapsed())
            }
            () = tokio::time::sleep(5 * PATIENCE) => None,
        }
    }

    #[test]
    fn who_takes_nothing_is_given_up_in_time() {
        let second = Duration::from_secs(1);
        in_time(async {
            let mut stall = Stall::default();
            for _ in 0..3 {
                let after = given_up(&mut stall, second, 0).await;
                let after = after.expect("it takes nothing");
                assert!(after.abs_diff(PATIENCE) < second, "{after:?}");
                stall.is_over();
            }
        });
    }

    proptest! {
        #[test]
        fn who_keeps_the_rate_never_is(every in 50..2000u64, more in 0..100u64) {
            // A whole time more than it must: looks are not taken at its steps.
            let bytes = (240 * every).div_ceil(1000) * 2 + more;
            let kept = in_time(async {
                given_up(&mut Stall::default(), Duration::from_millis(every), bytes).await
            });
            prop_assert_eq!(kept, None);
        }

        #[test]
        fn who_is_slower_always_is(every in 50..2000u64, bytes in 0..200u64) {
            let bytes = (bytes * every) / 1000;
            let kept = in_time(async {
                given_up(&mut Stall::default(), Duration::from_millis(every), bytes).await
            });
            prop_assert!(kept.is_some());
        }
    }
}
