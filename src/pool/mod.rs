//! Threads for work that would hold up a server's: a few, with a bounded queue before them.
//!
//! Jobs wait in lanes, which take turns: a lane with many jobs doesn't hold up one with few. When no
//! more may wait, the longest lane gives up its last for a lane that is shorter by two or more.
//!
//! Jobs run in short slices, so that who shares a core with them does not wait for long (`slices`).
//!
//! Called by async code, which waits for its answer without blocking. A job whose caller has gone
//! before it starts is never run; one that has started runs to its end. A job that panics costs
//! its caller an error, and nobody else anything.

mod slices;

use slices::Slices;
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Dropping it lets the threads finish what they are at, then end; it doesn't wait for them.
pub struct Pool {
    shared: Arc<Shared>,
    /// Jobs running and waiting, at most.
    capacity: usize,
}

/// A job on the queue or a thread. Dropping it before it runs takes it off the queue.
pub struct Started<T>(oneshot::Receiver<Result<T, PoolError>>);

impl<T> Started<T> {
    pub async fn answer(mut self) -> Result<T, PoolError> {
        self.answer_mut().await
    }

    /// As `answer`, for who may stop waiting and wait again. It has one answer.
    pub async fn answer_mut(&mut self) -> Result<T, PoolError> {
        (&mut self.0).await.unwrap_or(Err(PoolError::Cancelled))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As much waits as may wait: try again later.
    #[error("the queue is full")]
    Full,
    #[error("the job panicked")]
    Panicked,
    /// The pool went away before the job ran.
    #[error("the pool was shut down")]
    Cancelled,
}

impl Pool {
    /// At least one thread is started; `what` is in their names. Panics when the system won't give
    /// a thread: at start-up, where that is the right answer.
    pub fn new(what: &str, workers: usize, queue: usize) -> Self {
        Self::nice(what, workers, queue, 0)
    }

    /// As `new`, with threads that give way to those of a lower niceness: see `give_way`.
    pub fn nice(what: &str, workers: usize, queue: usize, niceness: i32) -> Self {
        let workers = workers.max(1);
        let shared = Arc::new(Shared::default());
        for number in 0..workers {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("lakh-{what}-{number}"))
                .spawn(move || {
                    give_way(niceness);
                    shared.work();
                })
                .expect("the system starts a handful of threads");
        }
        Self {
            shared,
            capacity: workers.saturating_add(queue),
        }
    }

    /// Runs `job` on one of the threads. Dropping the future before then takes it off the queue.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        self.start(job)?.answer().await
    }

    /// As `run`, but the job is on the queue, or refused, when this returns.
    pub fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Started<T>, PoolError> {
        self.start_in("", job)
    }

    /// As `start`, in a lane of its own.
    pub fn start_in<T: Send + 'static>(
        &self,
        lane: &str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Started<T>, PoolError> {
        let (caller, answer) = oneshot::channel();
        self.enqueue(lane, Box::new(Ticket { job, caller }))?;
        Ok(Started(answer))
    }

    /// Jobs that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.lock().lanes.waiting()
    }

    /// Jobs on a thread.
    pub fn running(&self) -> usize {
        self.shared.lock().running
    }

    fn enqueue(&self, lane: &str, job: Box<dyn Job>) -> Result<(), PoolError> {
        let mut state = self.shared.lock();
        if state.jobs() >= self.capacity {
            // The dead hold no place that a living one wants.
            state.lanes.sweep();
        }
        if state.jobs() >= self.capacity {
            let given_up = state.lanes.give_up_for(lane).ok_or(PoolError::Full)?;
            given_up.refuse();
        }
        state.lanes.push(lane, job);
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// Between the pool and its threads.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A job came, or the pool closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    running: usize,
    closed: bool,
}

/// What waits: only lanes with something in them, the one whose turn it is first.
#[derive(Default)]
struct Lanes(VecDeque<(Box<str>, VecDeque<Box<dyn Job>>)>);

impl Lanes {
    fn waiting(&self) -> usize {
        self.0.iter().map(|(_, jobs)| jobs.len()).sum()
    }

    fn push(&mut self, lane: &str, job: Box<dyn Job>) {
        match self.0.iter_mut().find(|(name, _)| **name == *lane) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((lane.into(), VecDeque::from([job]))),
        }
    }

    fn pop(&mut self) -> Option<Box<dyn Job>> {
        let (name, mut jobs) = self.0.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.0.push_back((name, jobs));
        }
        job
    }

    /// Takes out what nobody waits for.
    fn sweep(&mut self) {
        for (_, jobs) in &mut self.0 {
            jobs.retain(|job| !job.is_abandoned());
        }
        self.0.retain(|(_, jobs)| !jobs.is_empty());
    }

    /// The last job of the longest lane, if `lane` stays shorter than that one with one more.
    fn give_up_for(&mut self, lane: &str) -> Option<Box<dyn Job>> {
        let known = self.0.iter().find(|(name, _)| **name == *lane);
        let own = known.map_or(0, |(_, jobs)| jobs.len());
        let (_, longest) = self.0.iter_mut().max_by_key(|(_, jobs)| jobs.len())?;
        (longest.len() > own + 1)
            .then(|| longest.pop_back())
            .flatten()
    }
}

impl State {
    fn jobs(&self) -> usize {
        self.running + self.lanes.waiting()
    }
}

impl Shared {
    /// A thread's life.
    fn work(&self) {
        let slices = Slices::new();
        while let Some(job) = self.next() {
            slices.cut(|| job.run(&|| self.lock().running -= 1));
        }
    }

    /// The next job that someone still waits for, counted as running; `None` when all is over.
    fn next(&self) -> Option<Box<dyn Job>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                // Whoever still waits learns of it by the dropped channel.
                state.lanes.0.clear();
                return None;
            }
            match state.lanes.pop() {
                Some(job) if job.is_abandoned() => {}
                Some(job) => {
                    state.running += 1;
                    return Some(job);
                }
                None => {
                    let woken = self.changed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// No job runs under this lock, so that a poisoned one still guards a whole state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this thread wants of the processor at once, in nanoseconds: more than others, so that who wakes and wants less,
/// as everybody else does, has it first (since Linux 6.12; before that it has no effect). Not much more: each yield
/// (`slices`) gives up all of it, and where others want all of the processor a picture would take ten times as long.
const LONG: u64 = 2_000_000;

/// Sets this thread's niceness, which is how much it gets, and that it may wait for it. A system that doesn't let us
/// has it as it was.
fn give_way(niceness: i32) {
    if niceness == 0 {
        return;
    }
    // SAFETY: all zeros are a valid sched_attr: the usual policy, and no flags.
    let mut wish: libc::sched_attr = unsafe { mem::zeroed() };
    wish.size = size_of_val(&wish) as u32;
    wish.sched_nice = niceness;
    wish.sched_runtime = LONG;
    // SAFETY: 0 means the thread that calls; `wish` is there, has the size that it tells, and is only read.
    let failed = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
    if failed != 0 {
        // SAFETY: the call takes no memory of ours; on Linux, 0 means the thread that calls.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
    }
}

/// Any ticket: what hides the type of a job's answer from the queue.
trait Job: Send {
    fn is_abandoned(&self) -> bool;

    /// Tells the caller that it will not be run.
    fn refuse(self: Box<Self>);

    /// `done` comes before the caller's answer: a caller that asks again at once finds the place
    /// it has just left.
    fn run(self: Box<Self>, done: &dyn Fn());
}

struct Ticket<F, T> {
    job: F,
    caller: oneshot::Sender<Result<T, PoolError>>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Ticket<F, T> {
    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn refuse(self: Box<Self>) {
        // An error is a caller that left meanwhile.
        let _ = self.caller.send(Err(PoolError::Full));
    }

    fn run(self: Box<Self>, done: &dyn Fn()) {
        let Self { job, caller } = *self;
        // The job is gone after a panic, and with it all that it may have left half done.
        let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(|_| PoolError::Panicked);
        done();
        // An error is a caller that left meanwhile.
        let _ = caller.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    /// A job that says when it has started and stays until it is told to end.
    fn held() -> (
        impl FnOnce() -> u8 + Send + 'static,
        mpsc::Receiver<()>,
        mpsc::Sender<()>,
    ) {
        let (started, has_started) = mpsc::channel();
        let (end, may_end) = mpsc::channel::<()>();
        let job = move || {
            started.send(()).expect("the test waits for it");
            may_end.recv().expect("the test ends it");
            7
        };
        (job, has_started, end)
    }

    /// The first poll is what puts a job on the queue.
    fn start<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn answers() {
        let pool = Pool::new("test", 2, 1);
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
        assert_eq!((pool.running(), pool.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn threads_have_names() {
        let pool = Pool::new("test", 1, 1);
        let name = pool
            .run(|| std::thread::current().name().map(str::to_owned))
            .await;
        assert_eq!(name, Ok(Some("lakh-test-0".to_owned())));
    }

    #[tokio::test]
    async fn refuses_what_exceeds_workers_and_queue() {
        let pool = Pool::new("test", 1, 1);
        let (job, has_started, end) = held();
        let mut first = pin!(pool.run(job));
        assert!(start(first.as_mut()).is_pending());
        has_started.recv().expect("it starts");
        let mut second = pin!(pool.run(|| 8));
        assert!(start(second.as_mut()).is_pending());

        assert_eq!((pool.running(), pool.waiting()), (1, 1));
        assert_eq!(pool.run(|| 9).await, Err(PoolError::Full));

        end.send(()).expect("it is held");
        assert_eq!(first.await, Ok(7));
        assert_eq!(second.await, Ok(8));
        assert_eq!(pool.run(|| 9).await, Ok(9), "the places are free again");
    }

    #[tokio::test]
    async fn a_job_whose_caller_has_gone_is_skipped_and_leaves_its_place() {
        let pool = Pool::new("test", 1, 1);
        let (job, has_started, end) = held();
        let mut first = pin!(pool.run(job));
        assert!(start(first.as_mut()).is_pending());
        has_started.recv().expect("it starts");
        {
            let mut gone = pin!(pool.run(|| panic!("nobody waits for this")));
            assert!(start(gone.as_mut()).is_pending());
            assert_eq!(pool.run(|| 1).await, Err(PoolError::Full));
        }
        let mut second = pin!(pool.run(|| 8));
        assert!(
            start(second.as_mut()).is_pending(),
            "the dead one's place is taken"
        );

        end.send(()).expect("it is held");
        assert_eq!((first.await, second.await), (Ok(7), Ok(8)));
    }

    #[tokio::test]
    async fn lanes_take_turns_and_the_longest_gives_way() {
        let pool = Pool::new("test", 1, 4);
        let (job, has_started, end) = held();
        let mut first = pin!(pool.run(job));
        assert!(start(first.as_mut()).is_pending());
        has_started.recv().expect("it starts");
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |lane: &'static str, number: u8| {
            let order = order.clone();
            let job = move || order.lock().expect("no panic").push((lane, number));
            pool.start_in(lane, job)
        };
        let many: Vec<_> = (0..4).map(|n| note("many", n).expect("a place")).collect();
        assert_eq!(note("many", 4).err(), Some(PoolError::Full));
        let few = [note("few", 0), note("few", 1)].map(|few| few.expect("many gives way"));
        assert_eq!(note("few", 2).err(), Some(PoolError::Full), "both have two");
        assert_eq!(pool.waiting(), 4);

        end.send(()).expect("it is held");
        assert_eq!(first.await, Ok(7));
        let mut refused = 0;
        for started in many.into_iter().chain(few) {
            refused += usize::from(started.answer().await == Err(PoolError::Full));
        }
        assert_eq!(refused, 2);
        let order = order.lock().expect("no panic").clone();
        assert_eq!(order, [("many", 0), ("few", 0), ("many", 1), ("few", 1)]);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let pool = Pool::new("test", 1, 0);
        let panicked: Result<(), _> = pool.run(|| panic!("as a test of the pool")).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }

    #[test]
    fn threads_end_with_the_pool() {
        let pool = Pool::new("test", 3, 1);
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
