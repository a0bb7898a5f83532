//! Renditions of one source that wait at the same time are made of one decoding.
//!
//! Each has a place of its own in the pool's queue, so that the queue's bound and the turns of its
//! lanes hold for all. Whoever comes first makes what waits then, and the others find nothing to do.

use super::{is_slow, lock};
use bytes::Bytes;
use lakh_image::{Plan, Rendition, TransformError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// As many are made in one turn: lanes take turns, and memory has to be enough for all.
const MOST: usize = 8;

#[derive(Clone, Default)]
pub struct Together(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    next: AtomicU64,
    /// In the order in which they came.
    by_source: Mutex<HashMap<Source, Vec<Ticket>>>,
}

/// The same bytes at the same place, for one of the pools. Every ticket holds them, so that nothing
/// else can come to lie there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Source {
    at: usize,
    length: usize,
    slow: bool,
}

/// A rendition that waits to be made. Dropped, it is not.
pub struct Ticket {
    number: u64,
    source: Bytes,
    pub plan: Plan,
    pub asked: Instant,
    /// Asked when its turn has come.
    pub is_wanted: Wanted,
    /// None: it was not wanted any more.
    pub answer: oneshot::Sender<Option<Done>>,
}

pub type Wanted = Box<dyn Fn() -> bool + Send>;

pub struct Done {
    pub made: Result<Rendition, TransformError>,
    pub waited: Duration,
    pub took: Duration,
}

/// Goes with the job that makes a ticket's rendition, unless another does before it. With it goes the
/// ticket.
pub struct Stub {
    waiting: Arc<Waiting>,
    source: Source,
    number: u64,
}

impl Together {
    /// From here on, another job for the same source may make it.
    pub fn join(
        &self,
        source: &Bytes,
        plan: &Plan,
        is_wanted: Wanted,
    ) -> (Stub, oneshot::Receiver<Option<Done>>) {
        let (answer, answered) = oneshot::channel();
        let stub = Stub {
            waiting: self.0.clone(),
            source: Source {
                at: source.as_ptr() as usize,
                length: source.len(),
                slow: is_slow(plan),
            },
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
        };
        let ticket = Ticket {
            number: stub.number,
            source: source.clone(),
            plan: plan.clone(),
            asked: Instant::now(),
            is_wanted,
            answer,
        };
        let mut waiting = lock(&self.0.by_source);
        waiting.entry(stub.source).or_default().push(ticket);
        drop(waiting);
        (stub, answered)
    }
}

impl Stub {
    /// Its own ticket and what waits beside it; nothing, if another took it.
    pub fn take(&self) -> (Bytes, Vec<Ticket>) {
        let mut waiting = lock(&self.waiting.by_source);
        let Some(tickets) = waiting.get_mut(&self.source) else {
            return Default::default();
        };
        let Some(own) = tickets
            .iter()
            .position(|ticket| ticket.number == self.number)
        else {
            return Default::default();
        };
        let mut taken = vec![tickets.remove(own)];
        taken.extend(tickets.drain(..tickets.len().min(MOST - 1)));
        if tickets.is_empty() {
            waiting.remove(&self.source);
        }
        (taken[0].source.clone(), taken)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting.by_source);
        let Some(tickets) = waiting.get_mut(&self.source) else {
            return;
        };
        tickets.retain(|ticket| ticket.number != self.number);
        if tickets.is_empty() {
            waiting.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakh_image::ImageSettings;

    fn plan(width: usize) -> Plan {
        let query = format!("w={width}");
        let plan = Plan::from_request(Some(&query), None, &ImageSettings::default());
        plan.expect("good").expect("a plan")
    }

    fn join(
        together: &Together,
        source: &Bytes,
        width: usize,
    ) -> (Stub, oneshot::Receiver<Option<Done>>) {
        together.join(source, &plan(width), Box::new(|| true))
    }

    fn widths(tickets: &[Ticket]) -> Vec<Option<u32>> {
        tickets.iter().map(|ticket| ticket.plan.width()).collect()
    }

    #[test]
    fn whoever_comes_first_makes_what_waits_then() {
        let (together, source) = (Together::default(), Bytes::from(vec![7; 9]));
        let other = Bytes::from(vec![7; 9]);
        let (first, _answered) = join(&together, &source, 1);
        let (second, _answered) = join(&together, &source, 2);
        let (third, _answered) = join(&together, &source.clone(), 3);
        let (alone, _answered) = join(&together, &other, 4);
        let (bytes, tickets) = second.take();
        assert_eq!(bytes.as_ptr(), source.as_ptr());
        assert_eq!(widths(&tickets), [Some(2), Some(1), Some(3)]);
        for stub in [first, second, third] {
            assert!(stub.take().1.is_empty());
        }
        assert_eq!(widths(&alone.take().1), [Some(4)]);
        assert!(lock(&together.0.by_source).is_empty());
    }

    #[test]
    fn no_more_are_made_in_one_turn_than_there_is_memory_for() {
        let (together, source) = (Together::default(), Bytes::from(vec![7; 9]));
        let joined: Vec<_> = (1..=2 * MOST + 1)
            .map(|n| join(&together, &source, n))
            .collect();
        let taken = joined.iter().map(|(stub, _)| stub.take().1.len());
        let taken: Vec<_> = taken.filter(|taken| *taken > 0).collect();
        assert_eq!(taken, [MOST, MOST, 1]);
    }

    #[test]
    fn what_is_given_up_is_not_made_and_leaves_nothing() {
        let (together, source) = (Together::default(), Bytes::from(vec![7; 9]));
        let (first, mut answered) = join(&together, &source, 1);
        let (second, _answered) = join(&together, &source, 2);
        drop(first);
        assert!(answered.try_recv().is_err());
        assert_eq!(widths(&second.take().1), [Some(2)]);
        drop(second);
        assert!(lock(&together.0.by_source).is_empty());
    }
}
