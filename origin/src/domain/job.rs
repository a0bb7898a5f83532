//! Work that is done later, and again when it failed.

use super::clock::Moment;
use super::words::words;

pub const MOST_ATTEMPTS: i64 = 3;

pub const MOST_REQUEST_WORKERS: usize = 10;

/// Jobs that wait. An upload that would bring one more is told to come back.
pub const MOST_WAITING: i64 = 10_000;

words! {
    pub enum State {
        Waiting = "waiting",
        Running = "running",
        Done = "done",
        /// Tried often enough; waits for somebody to look at it, and can be replayed.
        Dead = "dead",
    }
}

words! {
    pub enum Kind {
        Photo = "photo",
        PaymentEvent = "payment-event",
        Refund = "refund",
        /// What a device has asked.
        Request = "request",
        /// A photo of the demonstration.
        Drawing = "drawing",
    }
}

words! {
    /// Jobs that wait for each other; those of another lane go by.
    pub enum Lane { Work = "work", Requests = "requests" }
}

impl Kind {
    pub const fn lane(self) -> Lane {
        match self {
            Self::Request => Lane::Requests,
            Self::Photo | Self::PaymentEvent | Self::Refund | Self::Drawing => Lane::Work,
        }
    }
}

/// How many workers a process has for requests, of which so many wait.
pub fn workers_for(waiting: i64) -> usize {
    let busy = usize::try_from(waiting / 5).unwrap_or(0);
    busy.clamp(3, MOST_REQUEST_WORKERS)
}

/// What becomes of a job that failed in that attempt, the first of which is 1: when it is due again,
/// or None when it is dead. Waits one second, then four.
pub fn after_failure(attempt: i64, now: Moment) -> Option<Moment> {
    (attempt < MOST_ATTEMPTS).then(|| {
        let doublings = u32::try_from(2 * (attempt - 1)).unwrap_or(0);
        now.plus_seconds(2i64.saturating_pow(doublings))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_ten_workers_as_requests_pile_up() {
        let workers = [0, 15, 20, 49, 50, 10_000].map(workers_for);
        assert_eq!(workers, [3, 3, 4, 9, 10, 10]);
    }

    #[test]
    fn three_attempts_with_growing_waits() {
        let now = Moment(0);
        let waits = [1, 2, 3].map(|attempt| after_failure(attempt, now).map(Moment::seconds));
        assert_eq!(waits, [Some(1), Some(4), None]);
    }
}
