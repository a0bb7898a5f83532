//! Whose handshake is computed next.
//!
//! A handshake keeps a worker for as long as twenty hits do. Were thousands of them ready at once, and
//! each run as soon as it can be, a request would wait for all that came before it. So they take turns,
//! as many at once as there are workers, and between two of them whatever else is ready goes first.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

pub struct Turns {
    places: Semaphore,
}

impl Turns {
    pub fn new(workers: usize) -> Turns {
        Turns {
            places: Semaphore::new(workers.max(1)),
        }
    }

    /// Does `work` when its turn has come.
    pub async fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let place = self.places.acquire().await.expect("nobody closes it");
        let done = work();
        // The place is kept meanwhile: that is what has the next one wait until all others have run.
        yield_now().await;
        drop(place);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// On one thread: a task that is ready all the time runs between any two turns.
    #[tokio::test]
    async fn others_run_between_two_turns() {
        let (turns, log) = (Arc::new(Turns::new(1)), Arc::new(Mutex::new(String::new())));
        let note = |what: char, log: &Mutex<String>| log.lock().expect("a log").push(what);
        let handshakes = (0..20).map(|_| {
            let (turns, log) = (turns.clone(), log.clone());
            tokio::spawn(async move { turns.take(|| note('h', &log)).await })
        });
        let handshakes: Vec<_> = handshakes.collect();
        let other = tokio::spawn({
            let log = log.clone();
            async move {
                while log.lock().expect("a log").matches('h').count() < 20 {
                    note('.', &log);
                    yield_now().await;
                }
            }
        });
        for task in handshakes {
            task.await.expect("no task panics");
        }
        other.await.expect("no task panics");
        let log = log.lock().expect("a log").clone();
        assert!(!log.contains("hh"), "{log}");
    }
}
