//! Who is to hear that a client wants no answer any more, whatever is being waited for at the time.
//!
//! `h2` says so only to who asks it for the stream. Nobody does while a part of the request's body waits for a
//! server, so it is seen where the client's frames pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// By stream.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<HashMap<u32, oneshot::Sender<()>>>>);

/// Of one stream, for as long as its request is answered.
pub struct Cancelled {
    stream: u32,
    watched: Watched,
    told: oneshot::Receiver<()>,
}

impl Watched {
    pub fn watch(&self, stream: u32) -> Cancelled {
        let (tell, told) = oneshot::channel();
        self.lock().insert(stream, tell);
        Cancelled {
            stream,
            watched: self.clone(),
            told,
        }
    }

    /// What is dropped is told too.
    pub fn cancel(&self, stream: u32) {
        self.lock().remove(&stream);
    }

    /// The connection is over.
    pub fn cancel_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<()>>> {
        self.0.lock().expect("no code panics while it holds this")
    }
}

impl Cancelled {
    pub async fn wait(&mut self) {
        // However it is told.
        let _ = (&mut self.told).await;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.watched.cancel(self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_watched_is_told_and_forgotten() {
        let watched = Watched::default();
        let (mut first, mut second) = (watched.watch(1), watched.watch(3));
        drop(watched.watch(5));
        assert_eq!(watched.lock().len(), 2);
        watched.cancel(7);
        watched.cancel(1);
        first.wait().await;
        assert!(second.told.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        watched.cancel_all();
        second.wait().await;
    }
}
