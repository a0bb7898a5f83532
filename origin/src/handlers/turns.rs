//! Bodies that are read in turns; whose turn it is, `domain::turns` says.

use crate::domain::turns::{PATIENCE, Standing, Turns as Rules};
use crate::handlers::machine::{Held, Machine};
use axum::body::{Body, Bytes};
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::time;

pub struct Turns {
    crowd: Mutex<Crowd>,
    machine: Machine,
}

struct Crowd {
    rules: Rules,
    /// By their numbers, those who are told that they have a turn.
    bells: HashMap<u64, Arc<Notify>>,
}

/// A body that is read. When it is dropped others have its turn.
struct Reading<'a> {
    turns: &'a Turns,
    number: u64,
    bell: Arc<Notify>,
    /// While it has a turn.
    held: Option<Held>,
    body: &'a mut Body,
}

impl Turns {
    /// So many of those who send fast are read at a time.
    pub fn of(most: usize, machine: Machine) -> Self {
        let crowd = Crowd {
            rules: Rules::of(most),
            bells: HashMap::new(),
        };
        Self {
            crowd: Mutex::new(crowd),
            machine,
        }
    }

    /// What comes of a body that has so many bytes at most.
    pub fn read<'a>(
        &'a self,
        body: &'a mut Body,
        most: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + 'a {
        let reading = Reading::begin(self, body, most);
        stream::unfold(reading, async |mut reading| {
            let chunk = reading.next().await?;
            Some((chunk, reading))
        })
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().expect("nothing panics while it is held")
    }
}

impl<'a> Reading<'a> {
    fn begin(turns: &'a Turns, body: &'a mut Body, most: u64) -> Self {
        let bell = Arc::new(Notify::new());
        let mut crowd = turns.crowd();
        let number = crowd.rules.enter(most, Instant::now());
        crowd.bells.insert(number, bell.clone());
        Self {
            turns,
            number,
            bell,
            held: None,
            body,
        }
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let standing = self.turns.crowd().rules.standing(self.number);
            let chunk = match standing {
                Standing::Waiting { .. } => {
                    self.bell.notified().await;
                    continue;
                }
                Standing::Slow => next_chunk(self.body).await,
                Standing::Fast { since, .. } if self.held.is_none() => {
                    let deadline = since + PATIENCE;
                    self.held = Some(self.turns.machine.acquire(deadline.into()).await);
                    self.turns.crowd().rules.begin(self.number, Instant::now());
                    continue;
                }
                Standing::Fast { until, .. } => {
                    let chunk = time::timeout_at(until.into(), next_chunk(self.body));
                    let Ok(chunk) = chunk.await else {
                        self.came(0);
                        continue;
                    };
                    chunk
                }
            };
            if let Some(Ok(chunk)) = &chunk {
                self.came(chunk.len() as u64);
            }
            return chunk;
        }
    }

    fn came(&mut self, bytes: u64) {
        let mut crowd = self.turns.crowd();
        let next = crowd.rules.came(self.number, bytes, Instant::now());
        if !matches!(crowd.rules.standing(self.number), Standing::Fast { .. }) {
            self.held = None;
        }
        crowd.call(next);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut crowd = self.turns.crowd();
        crowd.bells.remove(&self.number);
        let next = crowd.rules.leave(self.number, Instant::now());
        crowd.call(next);
    }
}

impl Crowd {
    fn call(&self, number: Option<u64>) {
        if let Some(bell) = number.and_then(|number| self.bells.get(&number)) {
            bell.notify_one();
        }
    }
}

/// Frames that are not data are trailers; they say nothing about a photo.
async fn next_chunk(body: &mut Body) -> Option<io::Result<Bytes>> {
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return Some(Err(io::Error::other(error))),
            Ok(frame) => {
                if let Ok(chunk) = frame.into_data() {
                    return Some(Ok(chunk));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::turns::{FAST, TRICKLE};
    use futures_util::{StreamExt, poll};
    use std::pin::pin;
    use std::time::Duration;

    /// On a machine that does much else.
    const LONG: Duration = Duration::from_secs(60);

    const LARGE: u64 = 10 * FAST;

    fn alone() -> (Turns, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine::open(folder.path()).expect("it opens");
        (Turns::of(1, machine), folder)
    }

    fn chunk() -> io::Result<Bytes> {
        Ok(Bytes::from_static(&[0; TRICKLE as usize + 1]))
    }

    /// Of so many chunks, after which it ends or nothing comes any more.
    fn body(chunks: usize, ends: bool) -> Body {
        let chunks = stream::iter((0..chunks).map(|_| chunk()));
        match ends {
            true => Body::from_stream(chunks),
            false => Body::from_stream(chunks.chain(stream::pending())),
        }
    }

    #[tokio::test]
    async fn who_has_a_turn_and_is_silent_holds_up_nobody_and_is_read_when_it_goes_on() {
        let (turns, _folder) = alone();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let receiver = stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        });
        let mut silent = Body::from_stream(receiver);
        let mut silent = pin!(turns.read(&mut silent, LARGE));
        sender.send(chunk()).await.expect("it is received");
        assert!(silent.next().await.is_some());

        let mut other = body(20, true);
        let other = pin!(turns.read(&mut other, LARGE));
        let (told, mut all) = tokio::sync::oneshot::channel();
        let counting = async {
            let count = other.count().await;
            told.send(count).expect("it is waited for");
        };
        // Both are at it, and nothing comes for the first one until the second one is done.
        let go_on = async {
            let count = (&mut all).await.expect("it is told");
            sender.send(chunk()).await.expect("it is received");
            count
        };
        let all = async { tokio::join!(counting, go_on, silent.next()) };
        let ((), count, next) = time::timeout(LONG, all).await.expect("nobody waits");
        assert_eq!(count, 20);
        assert!(next.is_some());
    }

    #[tokio::test]
    async fn a_turn_is_given_back_when_its_body_ends_breaks_off_or_is_dropped() {
        let (turns, _folder) = alone();
        for way in ["ends", "breaks off", "is dropped"] {
            let mut first = match way {
                "breaks off" => {
                    let broken = stream::iter([chunk(), Err(io::Error::other("gone"))]);
                    Body::from_stream(broken)
                }
                way => body(1, way == "ends"),
            };
            let mut second = body(2, true);
            let mut first = Box::pin(turns.read(&mut first, LARGE));
            let mut second = pin!(turns.read(&mut second, LARGE));
            assert!(first.next().await.is_some());
            assert!(second.next().await.is_some());
            let mut waiting = second.next();
            assert!(poll!(&mut waiting).is_pending());
            if way != "is dropped" {
                let last = first.next().await;
                assert_eq!(last.is_some_and(|last| last.is_err()), way == "breaks off");
            }
            drop(first);
            let next = time::timeout(LONG, waiting).await;
            assert!(next.expect("it has a turn").is_some());
        }
        assert!(turns.crowd().bells.is_empty());
    }

    #[tokio::test]
    async fn who_has_a_turn_in_another_process_is_waited_for() {
        let (turns, folder) = alone();
        let another = Machine::open(folder.path()).expect("it opens");
        let held = another.acquire((Instant::now() + LONG).into()).await;
        let mut body = body(2, true);
        let mut chunks = pin!(turns.read(&mut body, LARGE));
        // It was read before it was known to be fast.
        assert!(chunks.next().await.is_some());
        let mut waiting = chunks.next();
        assert!(poll!(&mut waiting).is_pending());
        drop(held);
        let next = time::timeout(LONG, waiting).await;
        assert!(next.expect("it has a turn").is_some());
    }
}
