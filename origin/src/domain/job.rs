//! Work that is done later, and again when it failed.

use super::clock::Moment;
use super::words::words;
use std::time::Duration;

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
        Letter = "letter",
        Export = "export",
        /// Whether the chunks of a file are what was announced.
        FileCheck = "file-check",
        /// Bringing them to as many providers as are to have them.
        FileCopies = "file-copies",
        FileRemoval = "file-removal",
        /// Offering people places at events.
        Matching = "matching",
    }
}

words! {
    /// Jobs that wait for each other; those of another lane go by.
    pub enum Lane { Work = "work", Requests = "requests", Letters = "letters", Files = "files" }
}

impl Lane {
    /// After which a job is dead. A mail server may be away for an hour, and nobody waits for a letter; so may
    /// be who stores files.
    pub const fn most_attempts(self) -> i64 {
        match self {
            Self::Work | Self::Requests => 3,
            Self::Letters | Self::Files => 8,
        }
    }
}

impl Kind {
    pub const fn lane(self) -> Lane {
        match self {
            Self::Request => Lane::Requests,
            Self::Letter => Lane::Letters,
            Self::FileCheck | Self::FileCopies | Self::FileRemoval => Lane::Files,
            Self::Photo
            | Self::PaymentEvent
            | Self::Refund
            | Self::Drawing
            | Self::Export
            | Self::Matching => Lane::Work,
        }
    }

    /// Whatever takes longer waits for somebody who will not answer, and holds up what comes after it. A file of
    /// gigabytes goes over a network, and what was copied of it need not be copied again.
    pub const fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::FileCheck | Self::FileCopies | Self::FileRemoval => 14_400,
            _ => 900,
        })
    }
}

/// How many workers a process has for requests, of which so many wait.
pub fn workers_for(waiting: i64) -> usize {
    let busy = usize::try_from(waiting / 5).unwrap_or(0);
    busy.clamp(3, MOST_REQUEST_WORKERS)
}

/// What becomes of a job that failed in that attempt, the first of which is 1: when it is due again,
/// or None when it is dead. Waits one second, then four times as long each time.
pub fn after_failure(lane: Lane, attempt: i64, now: Moment) -> Option<Moment> {
    (attempt < lane.most_attempts()).then(|| {
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
    fn three_attempts_with_growing_waits_and_more_for_letters() {
        let waits = |lane: Lane| {
            let failures = 1..=lane.most_attempts();
            let due = failures.map(|attempt| after_failure(lane, attempt, Moment(0)));
            due.map(|due| due.map(Moment::seconds)).collect::<Vec<_>>()
        };
        assert_eq!(waits(Lane::Work), [Some(1), Some(4), None]);
        let letters = [1, 4, 16, 64, 256, 1024, 4096].map(Some);
        assert_eq!(waits(Lane::Letters), [&letters[..], &[None]].concat());
    }
}
