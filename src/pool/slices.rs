//! A thread's work in short slices, between which it lets others run.
//!
//! Niceness says how much of a core a thread gets, and nothing of how long it may hold it at once: who
//! has work without a pause takes the core back at a tick of the kernel's, 4 ms where there are 250 in a
//! second. A request of 0.2 ms then waits for twenty times that. So while a job runs a timer interrupts
//! its thread, which yields (sched_yield(2)) and has the timer set again once it is back: it works for
//! a slice each time, however long it was away. On a core of its own that costs a hundredth.

use std::cell::Cell;
use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;

const SLICE: Duration = Duration::from_micros(250);

thread_local! {
    /// For the handler: this thread's timer, where it has one.
    static TIMER: Cell<libc::timer_t> = const { Cell::new(ptr::null_mut()) };
    /// Whether the timer is to be set again.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
    /// How often this thread has yielded: for tests.
    #[cfg(test)]
    static YIELDED: Cell<u64> = const { Cell::new(0) };
}

/// This thread's timer. It stays on the thread that made it.
pub struct Slices {
    /// None: the system gives none, and work is not cut.
    timer: Option<libc::timer_t>,
}

impl Slices {
    pub fn new() -> Slices {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(handle_signal);
        let timer = timer();
        TIMER.set(timer.unwrap_or(ptr::null_mut()));
        Slices { timer }
    }

    /// Runs `work` in slices.
    pub fn cut<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(timer) = self.timer else {
            return work();
        };
        let _end = Cutting::start(timer);
        work()
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            // SAFETY: it is from timer_create, deleted here only, and nobody sets it any more: only `cut`
            // does, and what it starts it ends.
            unsafe { libc::timer_delete(timer) };
        }
    }
}

/// From the start of some work to its end, by a panic too.
struct Cutting(libc::timer_t);

impl Cutting {
    fn start(timer: libc::timer_t) -> Cutting {
        AT_WORK.set(true);
        // The handler runs on this very thread: all it takes is that the compiler keeps the order.
        compiler_fence(Ordering::SeqCst);
        set(timer, SLICE);
        Cutting(timer)
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        // In this order: a signal in between does not set the timer again.
        AT_WORK.set(false);
        compiler_fence(Ordering::SeqCst);
        set(self.0, Duration::ZERO);
    }
}

/// Sets the timer to go off once; zero stops it.
fn set(timer: libc::timer_t, after: Duration) {
    // SAFETY: all zeros are a valid itimerspec, which the call only reads.
    let mut once: libc::itimerspec = unsafe { mem::zeroed() };
    once.it_value.tv_nsec = after.subsec_nanos().into();
    // SAFETY: `timer` is this thread's, and not deleted; where to put the old value may be null.
    unsafe { libc::timer_settime(timer, 0, &raw const once, ptr::null_mut()) };
}

/// One that sends the signal to the thread that calls.
fn timer() -> Option<libc::timer_t> {
    // SAFETY: all zeros are a valid sigevent, and what matters is set below.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = signal();
    // SAFETY: it takes nothing and can't fail.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer: libc::timer_t = ptr::null_mut();
    // SAFETY: both point to values of ours, which the call reads and fills.
    let failed =
        unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
    (failed == 0).then_some(timer)
}

/// The first of those that are left to programs (signal(7)).
fn signal() -> i32 {
    libc::SIGRTMIN()
}

fn handle_signal() {
    // SAFETY: all zeros are a valid sigaction: no flags, no signals blocked beside its own.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = give_turn as extern "C" fn(i32) as usize;
    // What a job waits for in the kernel goes on waiting.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does only what a handler may: two system calls that take no lock of ours, and
    // cells of this thread, which are plain memory (no destructor, no first use to set up). It
    // leaves errno as it was.
    unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) };
}

extern "C" fn give_turn(_signal: i32) {
    // SAFETY: errno's place is this thread's own, and there as long as it is.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: it takes nothing.
    unsafe { libc::sched_yield() };
    #[cfg(test)]
    YIELDED.set(YIELDED.get() + 1);
    if AT_WORK.get() {
        set(TIMER.get(), SLICE);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::spin_loop;
    use std::io::{Write, pipe};
    use std::os::fd::AsRawFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn yielded_thrice() {
        let before = YIELDED.get();
        while YIELDED.get() < before + 3 {
            spin_loop();
        }
    }

    /// Whether the timer runs (timer_gettime(2)).
    fn is_set(slices: &Slices) -> bool {
        // SAFETY: all zeros are a valid itimerspec, and the timer is there.
        unsafe {
            let mut left: libc::itimerspec = mem::zeroed();
            let timer = slices.timer.expect("the system has timers");
            assert_eq!(libc::timer_gettime(timer, &raw mut left), 0);
            left.it_value.tv_nsec > 0
        }
    }

    #[test]
    fn work_is_cut_again_and_again_and_nothing_else_is() {
        let slices = Slices::new();
        assert!(!is_set(&slices));
        for _ in 0..3 {
            assert_eq!(
                slices.cut(|| {
                    yielded_thrice();
                    7
                }),
                7
            );
            assert!(!is_set(&slices));
        }
        let work = AssertUnwindSafe(|| slices.cut(|| panic!("as a test of the slices")));
        assert!(catch_unwind(work).is_err());
        assert!(!is_set(&slices), "it does not outlive a panic");
    }

    #[test]
    fn each_thread_is_cut_by_a_timer_of_its_own() {
        let threads = [(); 4].map(|()| std::thread::spawn(|| Slices::new().cut(yielded_thrice)));
        for thread in threads {
            thread.join().expect("it yields and ends");
        }
    }

    #[test]
    fn what_waits_in_the_kernel_goes_on_waiting() {
        let (reader, mut writer) = pipe().expect("a pipe");
        let other = std::thread::spawn(move || {
            // Longer than a slice of who reads.
            Slices::new().cut(yielded_thrice);
            writer.write_all(b"x").expect("it is read");
        });
        let mut byte = [0];
        let read = Slices::new().cut(|| {
            // SAFETY: the buffer has room for the byte. Std would ask again by itself.
            unsafe { libc::read(reader.as_raw_fd(), byte.as_mut_ptr().cast(), 1) }
        });
        assert_eq!((read, byte), (1, *b"x"));
        other.join().expect("it wrote");
    }
}
