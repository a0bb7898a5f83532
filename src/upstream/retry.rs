//! Trying again: when that is safe, when it may help, and when it would do harm.
//!
//! Safe: nothing was sent, or the request can be repeated and its answer has not begun. Helpful:
//! the failure is one of those that the operator names, and there is another server. Harmful: when
//! many requests fail, trying each of them again is what takes the rest down; so the tries under
//! way are bounded to a share of the requests in flight.

use super::Time;
use super::group::Group;
use super::health::Outcome;
use super::pool::{Pool, Tried};
use super::random::jittered;
use super::server::Lease;
use super::settings::{BackoffSettings, RetryOn, RetrySettings};
use std::sync::Arc;
use std::time::Duration;

/// So many requests may be tried again at once however few are in flight: a share of little is
/// nothing.
const ALWAYS: usize = 3;

/// How long a request waits for a place in the budget.
const PLACE_PATIENCE: Duration = Duration::from_millis(500);

/// One request's tries.
#[derive(Default)]
pub struct Tries {
    pub tried: Tried,
    failures: u32,
    /// Held from the first retry to the request's end.
    retrying: Option<Retrying>,
    pause: Option<Duration>,
}

/// A place in the upstream's budget.
struct Retrying(Arc<Group>);

impl Tries {
    /// Waits as long as another try must: its pause, and for a place in the budget where there was
    /// none. False when there still is none; then the request has failed.
    ///
    /// One server of three that dies takes a third of the requests in flight with it. Letting them
    /// on one after the other keeps the budget, and fails nobody.
    pub async fn ready(&mut self, pool: &Pool) -> bool {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        if self.failures == 0 {
            return true;
        }
        let waiting = async {
            loop {
                let freed = pool.group.retry_freed.notified();
                if self.takes_place(pool) {
                    return;
                }
                freed.await;
            }
        };
        let ready = tokio::time::timeout(PLACE_PATIENCE, waiting).await.is_ok();
        if !ready {
            pool.group.metrics.retries_denied.inc();
        }
        ready
    }

    /// Counts a failed try; whether there is another. `repeatable`: the whole request can be sent
    /// again and may be (RFC 9110 §9.2.2), and no answer has begun.
    pub fn again(&mut self, pool: &Pool, outcome: Outcome, repeatable: bool, now: Time) -> bool {
        self.failures += 1;
        let retry = &pool.retry;
        let may = self.failures < retry.attempts
            && may_help(retry, outcome)
            && (repeatable || sent_nothing(outcome))
            && pool.has_untried(&self.tried, now);
        if !may {
            return false;
        }
        if !self.takes_place(pool) && !may_wait(outcome) {
            pool.group.metrics.retries_denied.inc();
            return false;
        }
        pool.group.metrics.retries.inc();
        self.pause = Some(pause(&retry.backoff, self.failures));
        true
    }

    pub fn add(&mut self, lease: &Lease) {
        self.tried.add(lease);
    }

    /// The last server had nothing to do with the failure: it may be tried again.
    pub fn forgive(&mut self) {
        self.tried.forget_last();
    }

    /// Whether a try failed before.
    pub fn failed(&self) -> bool {
        self.failures > 0
    }

    /// How long to wait before the next try.
    pub fn take_pause(&mut self) -> Option<Duration> {
        self.pause.take()
    }

    /// Takes a place in the budget, to be kept to the request's end; false when there is none.
    pub fn takes_place(&mut self, pool: &Pool) -> bool {
        if self.retrying.is_none() {
            self.retrying = Retrying::begin(&pool.group, pool.retry.budget);
        }
        self.retrying.is_some()
    }
}

impl Retrying {
    fn begin(group: &Arc<Group>, share: f64) -> Option<Retrying> {
        let most = budget(group.in_flight(), share);
        group.begin_retry(most).then(|| Retrying(group.clone()))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.end_retry();
        self.0.retry_freed.notify_one();
    }
}

/// How many requests may be in another try at once.
pub fn budget(in_flight: usize, share: f64) -> usize {
    ((in_flight as f64 * share) as usize).max(ALWAYS)
}

fn may_help(retry: &RetrySettings, outcome: Outcome) -> bool {
    let named = |wanted| retry.on.contains(&wanted);
    match outcome {
        Outcome::Refused | Outcome::NoConnection => named(RetryOn::Connect),
        Outcome::TimedOut => named(RetryOn::Timeout),
        Outcome::Broken => named(RetryOn::Broken),
        Outcome::Answered(status) => named(RetryOn::Status(status)),
    }
}

/// With an answer in hand, it is passed on instead of waiting for a place in the budget.
fn may_wait(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Answered(_))
}

fn sent_nothing(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused | Outcome::NoConnection)
}

/// Doubles with each failure, and is drawn from its upper half, so that requests which failed
/// together don't come back together.
fn pause(backoff: &BackoffSettings, failures: u32) -> Duration {
    let doubled = backoff.base.saturating_mul(1 << (failures - 1).min(16));
    jittered(doubled.min(backoff.max), 0.5, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> RetrySettings {
        RetrySettings::default()
    }

    #[test]
    fn the_budget_is_a_share_but_never_nothing() {
        assert_eq!(
            [0, 1, 15, 20, 1000].map(|n| budget(n, 0.2)),
            [3, 3, 3, 4, 200]
        );
    }

    #[test]
    fn only_what_is_named_is_tried_again() {
        let on = vec![RetryOn::Connect, RetryOn::Status(503)];
        let retry = RetrySettings { on, ..settings() };
        let helps = |outcome| may_help(&retry, outcome);
        assert!(helps(Outcome::Refused) && helps(Outcome::NoConnection));
        assert!(helps(Outcome::Answered(503)));
        assert!(!helps(Outcome::Answered(502)) && !helps(Outcome::Answered(200)));
        assert!(!helps(Outcome::TimedOut) && !helps(Outcome::Broken));
    }

    proptest! {
        #[test]
        fn a_pause_doubles_within_its_bounds(failures in 1..40u32) {
            let backoff = BackoffSettings::default();
            let whole = backoff.base.as_secs_f64() * 2f64.powi(failures as i32 - 1);
            let whole = whole.min(backoff.max.as_secs_f64());
            let pause = pause(&backoff, failures).as_secs_f64();
            prop_assert!(whole / 2.0 <= pause && pause <= whole, "{pause} of {whole}");
        }
    }
}
