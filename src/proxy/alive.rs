//! Whether a side of a tunnel is still there: when it was last heard of, and when it was last asked.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// One of a tunnel's two sides. What reads from it, what writes to it, and what waits for its end look
/// at the same.
pub struct Side {
    begun: Instant,
    /// Milliseconds since, when something last came from it.
    heard: AtomicU64,
    /// When it was last asked whether it is there.
    asked: AtomicU64,
    /// Writes that wait and tell nothing about it: see `carried`.
    excuses: AtomicUsize,
}

/// While this is there a side can't be judged; afterwards it counts as just heard of.
struct Excused<'a>(&'a Side);

/// Carries something from one of `sides` to the other. While that waits, neither is asked nor taken for
/// gone: the one is not being read, and its Pong may wait in the kernel with all else that it sent; the
/// other gets its Ping only behind what it has not taken yet. Who takes nothing for ever ends with the
/// tunnel's silence.
pub async fn carried<T>(work: impl Future<Output = T>, sides: [&Side; 2]) -> T {
    let mut work = pin!(work);
    let mut excused = None;
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            excused.get_or_insert_with(|| sides.map(Side::excuse));
        }
        polled
    })
    .await
}

/// It was never asked.
const NEVER: u64 = u64::MAX;

/// What is to be done about a side that is asked whenever it has been silent for a while.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Ask,
    /// It was asked, and has said nothing for as long again.
    Gone,
    Nothing(Duration),
}

impl Side {
    pub fn new() -> Side {
        Side {
            begun: Instant::now(),
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(NEVER),
            excuses: AtomicUsize::new(0),
        }
    }

    fn excuse(&self) -> Excused<'_> {
        self.excuses.fetch_add(1, Relaxed);
        Excused(self)
    }

    /// Something came.
    pub fn heard(&self) {
        self.heard.store(self.now(), Relaxed);
    }

    /// It was asked whether it is there.
    pub fn asked(&self) {
        self.asked.store(self.now(), Relaxed);
    }

    /// Until it is to be asked, having been silent for `every`; for ever where it never is.
    pub async fn to_be_asked(&self, every: Option<Duration>) {
        self.until(every, Due::Ask).await;
    }

    /// Until it is known not to answer.
    pub async fn gone(&self, every: Option<Duration>) {
        self.until(every, Due::Gone).await;
    }

    async fn until(&self, every: Option<Duration>, wanted: Due) {
        let Some(every) = every else {
            return std::future::pending().await;
        };
        loop {
            match self.due(every) {
                due if due == wanted => return,
                Due::Nothing(wait) => sleep(wait).await,
                // That is for whoever waits for it.
                Due::Ask | Due::Gone => sleep(every).await,
            }
        }
    }

    fn due(&self, every: Duration) -> Due {
        if self.excuses.load(Relaxed) > 0 {
            return Due::Nothing(every);
        }
        let asked = Some(self.asked.load(Relaxed)).filter(|asked| *asked != NEVER);
        let heard = Duration::from_millis(self.heard.load(Relaxed));
        due(
            heard,
            asked.map(Duration::from_millis),
            every,
            self.begun.elapsed(),
        )
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// When it was last heard of.
    pub fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.heard.load(Relaxed))
    }
}

impl Drop for Excused<'_> {
    fn drop(&mut self) {
        self.0.heard();
        self.0.excuses.fetch_sub(1, Relaxed);
    }
}

/// By the times at which it was last heard of and last asked, all since one beginning.
fn due(heard: Duration, asked: Option<Duration>, every: Duration, now: Duration) -> Due {
    let unanswered = asked.filter(|asked| *asked > heard);
    let then = unanswered.unwrap_or(heard) + every;
    match (then.saturating_sub(now), unanswered) {
        (Duration::ZERO, None) => Due::Ask,
        (Duration::ZERO, Some(_)) => Due::Gone,
        (wait, _) => Due::Nothing(wait),
    }
}

/// Until nothing has come from either side for `silence`.
pub async fn silent_for(sides: [&Side; 2], silence: Duration) {
    loop {
        let last = sides.map(Side::last).into_iter().max();
        let last = last.expect("there are two");
        let left = (last + silence).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn while_a_write_between_them_waits_neither_can_be_judged() {
        let sides = [(); 2].map(|()| Side {
            begun: Instant::now() - Duration::from_secs(10),
            asked: AtomicU64::new(5000),
            ..Side::new()
        });
        let sides = sides.each_ref();
        let due = || sides.map(|side| side.due(Duration::ZERO));
        carried(std::future::ready(()), sides).await;
        assert_eq!(due(), [Due::Gone, Due::Gone], "it did not wait");

        let (taken, takes) = tokio::sync::oneshot::channel();
        let looked = async {
            let nothing = || Due::Nothing(Duration::ZERO);
            assert_eq!(due(), [nothing(), nothing()]);
            taken.send(()).expect("it waits");
        };
        let (done, ()) = tokio::join!(carried(takes, sides), looked);
        done.expect("it was sent");
        assert_eq!(due(), [Due::Ask, Due::Ask], "just heard of");
    }

    #[test]
    fn who_is_silent_is_asked_once_and_then_given_up() {
        let at = Duration::from_secs;
        let due = |heard, asked: Option<u64>, now| due(at(heard), asked.map(at), at(10), at(now));
        assert_eq!(due(0, None, 4), Due::Nothing(at(6)));
        assert_eq!(due(0, None, 10), Due::Ask);
        assert_eq!(due(0, Some(10), 10), Due::Nothing(at(10)));
        assert_eq!(due(0, Some(10), 19), Due::Nothing(at(1)));
        assert_eq!(due(0, Some(10), 20), Due::Gone);
        assert_eq!(
            due(11, Some(10), 20),
            Due::Nothing(at(1)),
            "it has answered"
        );
        assert_eq!(due(11, Some(10), 21), Due::Ask, "and is asked again");
        assert_eq!(
            due(10, Some(10), 25),
            Due::Ask,
            "an answer in the same moment"
        );
    }
}
