//! Heavy work that nobody waits for, behind whatever answers somebody.

use super::Failure;
use std::thread;
use tokio::sync::oneshot;

/// A tenth of the processor where others want it, all of it where nobody does.
const NICENESS: i32 = 10;

/// On a thread of its own: a thread that has stepped back does not come forward again.
pub async fn behind<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().spawn(move || {
        // SAFETY: it takes a number and changes nothing in memory. On Linux it is for this thread alone.
        // Where it is refused the work competes with the rest.
        unsafe { libc::nice(NICENESS) };
        // Whoever wanted it may have lost the job meanwhile.
        let _ = done.send(work());
    })?;
    let broken = |_| Failure::Passing("the work broke off".into());
    outcome.await.map_err(broken)
}
