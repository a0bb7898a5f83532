//! How many requests an upstream can carry at once, found out from how long it takes for them.
//!
//! A server that has more to do than it can answers later, not less: the latency rises before
//! anything fails. So the limit follows the ratio of the usual latency to the present one: while
//! they are equal it grows by its square root, which is the queue that bursts need, and when the
//! present one is longer it shrinks in proportion. As Netflix's Gradient2 does it.

use std::time::Duration;

/// A window ends when it is that old and has that many answers: fewer say nothing.
const WINDOW: Duration = Duration::from_millis(250);
const ANSWERS: u32 = 10;
/// So much longer than usual an answer may take before it counts as a sign of overload.
const TOLERANCE: f64 = 1.5;
/// How much of a window's finding is taken over at once.
const SMOOTHING: f64 = 0.2;
/// The usual latency is the mean of about so many windows: two and a half minutes under load.
const USUAL_WINDOWS: f64 = 600.0;

/// Between what the limit is sought. A request at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: usize,
    pub max: usize,
}

#[derive(Debug)]
pub struct Gradient {
    bounds: Bounds,
    limit: f64,
    /// In seconds; of all windows so far.
    usual: Option<f64>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    since: Duration,
    answers: u32,
    seconds: f64,
    /// Most requests at once that were seen.
    busiest: usize,
}

impl Gradient {
    pub fn new(bounds: Bounds) -> Gradient {
        Gradient {
            bounds,
            // Between careful and useless: it doubles in a few seconds where that is too little.
            limit: (bounds.min.max(20).min(bounds.max)) as f64,
            usual: None,
            window: Window::default(),
        }
    }

    #[cfg(test)]
    pub fn at(bounds: Bounds, limit: f64) -> Gradient {
        Gradient {
            limit,
            ..Gradient::new(bounds)
        }
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// An answer took `latency`, with `running` requests at once, itself among them. `now`: since
    /// any fixed point in time. True when the limit may have changed.
    pub fn answered(&mut self, latency: Duration, running: usize, now: Duration) -> bool {
        let window = &mut self.window;
        if window.answers == 0 {
            window.since = now;
        }
        window.answers += 1;
        window.seconds += latency.as_secs_f64();
        window.busiest = window.busiest.max(running);
        if window.answers < ANSWERS || now.saturating_sub(window.since) < WINDOW {
            return false;
        }
        let Window {
            answers,
            seconds,
            busiest,
            ..
        } = std::mem::take(window);
        self.learn(seconds / f64::from(answers), busiest);
        true
    }

    fn learn(&mut self, present: f64, busiest: usize) {
        let usual = self.usual.get_or_insert(present);
        *usual += (present - *usual) / USUAL_WINDOWS;
        // After an overload that lasted, what was usual then would let the limit grow too far.
        if *usual > present * 2.0 {
            *usual *= 0.95;
        }
        let gradient = (TOLERANCE * *usual / present.max(1e-9)).clamp(0.5, 1.0);
        // That few requests came says nothing about how many could.
        if gradient == 1.0 && (busiest as f64) < self.limit / 2.0 {
            return;
        }
        let found = self.limit * gradient + self.limit.sqrt();
        let limit = self.limit * (1.0 - SMOOTHING) + found * SMOOTHING;
        self.limit = limit.clamp(self.bounds.min as f64, self.bounds.max as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: f64 = 0.020;

    /// A server that can do `capacity` requests at once; what is more waits for the others.
    fn latency(running: usize, capacity: usize) -> Duration {
        Duration::from_secs_f64(BASE * (running as f64 / capacity as f64).max(1.0))
    }

    /// So many seconds with so many clients, all of which ask again at once.
    fn run(gradient: &mut Gradient, from: Duration, seconds: u64, clients: usize, capacity: usize) {
        let mut now = from;
        while now < from + Duration::from_secs(seconds) {
            let running = clients.min(gradient.limit()).max(1);
            let latency = latency(running, capacity);
            for _ in 0..running {
                gradient.answered(latency, running, now);
            }
            now += latency;
        }
    }

    fn new(min: usize, max: usize) -> Gradient {
        Gradient::new(Bounds { min, max })
    }

    #[test]
    fn the_limit_finds_what_a_server_can_carry() {
        for capacity in [30, 100, 400] {
            let mut gradient = new(5, 10_000);
            run(&mut gradient, Duration::ZERO, 60, 5_000, capacity);
            let found = gradient.limit();
            assert!(
                (capacity * 9 / 10..capacity * 9 / 4).contains(&found),
                "{found} of {capacity}"
            );
        }
    }

    #[test]
    fn it_falls_when_the_server_slows_down_and_comes_back() {
        let mut gradient = new(5, 10_000);
        run(&mut gradient, Duration::ZERO, 60, 5_000, 200);
        let well = gradient.limit();
        run(&mut gradient, Duration::from_secs(60), 10, 5_000, 40);
        let slow = gradient.limit();
        assert!(slow < well / 2, "{slow} after {well}");
        run(&mut gradient, Duration::from_secs(70), 60, 5_000, 200);
        let again = gradient.limit();
        assert!(again > 180, "{again} after {slow}");
    }

    #[test]
    fn light_traffic_moves_nothing_and_the_bounds_hold() {
        let mut gradient = new(50, 100);
        let before = gradient.limit();
        run(&mut gradient, Duration::ZERO, 60, 3, 200);
        assert_eq!(gradient.limit(), before);
        run(&mut gradient, Duration::from_secs(60), 60, 5_000, 5_000);
        assert_eq!(gradient.limit(), 100);
        run(&mut gradient, Duration::from_secs(120), 20, 5_000, 1);
        assert_eq!(gradient.limit(), 50);
    }
}
