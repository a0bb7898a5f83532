//! One at a time among all processes that share a data folder on a machine.

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::{io, thread};
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

/// Says who is the one. It is a thread's business, since whoever waits in the kernel is let in the moment another
/// goes, and the kernel lets nobody keep what they held when they end.
pub struct Machine(Sender<oneshot::Sender<Held>>);

/// Until it is dropped no other process has it; nothing, for who went without.
pub struct Held {
    _until_dropped: Option<Sender<Infallible>>,
}

struct Locks {
    /// Where the next one waits, so that nobody who goes is back in before that one.
    door: File,
    room: File,
}

impl Machine {
    pub fn open(data: &Path) -> io::Result<Self> {
        let locks = Locks::open(data)?;
        let (sender, asked) = mpsc::channel();
        thread::Builder::new()
            .name("machine".into())
            .spawn(move || locks.hand_out(asked))?;
        Ok(Self(sender))
    }

    /// Held, or gone without because it took until then.
    pub async fn acquire(&self, deadline: Instant) -> Held {
        let (sender, granted) = oneshot::channel();
        if Instant::now() >= deadline || self.0.send(sender).is_err() {
            return Held::without();
        }
        match time::timeout_at(deadline, granted).await {
            Ok(Ok(held)) => held,
            _ => Held::without(),
        }
    }
}

impl Held {
    fn without() -> Self {
        Self {
            _until_dropped: None,
        }
    }
}

impl Locks {
    fn open(data: &Path) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        Ok(Self {
            door: File::create(data.join("turn.door.lock"))?,
            room: File::create(data.join("turn.lock"))?,
        })
    }

    fn hand_out(&self, asked: Receiver<oneshot::Sender<Held>>) -> io::Result<()> {
        for one in asked {
            if one.is_closed() {
                continue;
            }
            self.door.lock()?;
            self.room.lock()?;
            self.door.unlock()?;
            let (held, dropped) = mpsc::channel();
            let held = Held {
                _until_dropped: Some(held),
            };
            if one.send(held).is_ok() {
                // Nothing is ever sent: it ends when the other side is dropped.
                _ = dropped.recv();
            }
            self.room.unlock()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use std::pin::pin;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn processes_go_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [(); 2].map(|()| Machine::open(folder.path()).expect("it opens"));
        for _ in 0..10 {
            let held = first.acquire(soon()).await;
            let mut other = pin!(second.acquire(soon()));
            assert!(poll!(&mut other).is_pending());
            drop(held);
            assert!(other.await._until_dropped.is_some());
        }
    }

    #[tokio::test]
    async fn who_waits_for_too_long_goes_without_and_keeps_nobody_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [(); 2].map(|()| Machine::open(folder.path()).expect("it opens"));
        let held = first.acquire(soon()).await;
        assert!(held._until_dropped.is_some());
        let shortly = Instant::now() + Duration::from_millis(5);
        assert!(second.acquire(shortly).await._until_dropped.is_none());
        assert!(
            second.acquire(shortly).await._until_dropped.is_none(),
            "it is past"
        );
        drop(held);
        assert!(first.acquire(soon()).await._until_dropped.is_some());
    }
}
