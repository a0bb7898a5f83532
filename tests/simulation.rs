//! An hour of fifty servers that fail, hang, slow down and flap, on a clock that isn't ours to wait
//! for: the real pool, breaker, ejection and retries, without a socket. Seeded, so that it is the
//! same hour each time. `cargo test --test simulation -- --nocapture` shows the table.

use lakh::observe::Metrics;
use lakh::upstream::{
    Asked, BreakerSettings, EjectionSettings, Lease, Outcome, Pool, Registry, RetrySettings,
    ServerSettings, Time, Tries, UpstreamSettings, budget, random_below, seed,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const SERVERS: usize = 50;
const PER_SECOND: u64 = 600;
const MINUTE: u64 = 60_000_000;
/// Mean time that a server takes for an answer, and when a client's patience with a try ends. In
/// microseconds, as all times here.
const WORK: u64 = 20_000;
const PATIENCE: u64 = 1_000_000;

/// Every fifth server has twice the weight and is twice as fast.
fn weight(server: usize) -> u32 {
    1 + u32::from(server.is_multiple_of(5))
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Refuses,
    Answers(u16),
    Hangs,
    Slow,
}

struct Phase {
    name: &'static str,
    until: u64,
    fault: fn(usize, u64) -> Fault,
}

const PHASES: &[Phase] = &[
    Phase {
        name: "all well",
        until: 10 * MINUTE,
        fault: |_, _| Fault::None,
    },
    Phase {
        name: "one refuses connections",
        until: 15 * MINUTE,
        fault: |server, _| only(server == 3, Fault::Refuses),
    },
    Phase {
        name: "one answers 503",
        until: 20 * MINUTE,
        fault: |server, _| only(server == 5, Fault::Answers(503)),
    },
    Phase {
        name: "one hangs",
        until: 25 * MINUTE,
        fault: |server, _| only(server == 7, Fault::Hangs),
    },
    Phase {
        name: "five are ten times slower",
        until: 35 * MINUTE,
        fault: |server, _| only(server % 10 == 1, Fault::Slow),
    },
    Phase {
        name: "two flap every 7 seconds",
        until: 42 * MINUTE,
        fault: |server, now| only(server < 2 && now / 7_000_000 % 2 == 0, Fault::Refuses),
    },
    Phase {
        name: "storm: all answer 503",
        until: 42 * MINUTE + MINUTE / 2,
        fault: |_, _| Fault::Answers(503),
    },
    Phase {
        name: "after the storm",
        until: 45 * MINUTE,
        fault: |_, _| Fault::None,
    },
    Phase {
        name: "all well again",
        until: 60 * MINUTE,
        fault: |_, _| Fault::None,
    },
];

fn only(holds: bool, fault: Fault) -> Fault {
    if holds { fault } else { Fault::None }
}

/// What was seen in a phase.
#[derive(Default)]
struct Seen {
    requests: u64,
    failed: u64,
    tries: u64,
    times: Vec<u64>,
    by_server: Vec<u64>,
    /// The most requests in another try at once, beside what the budget allowed just then.
    most_retrying: usize,
    over_budget: u64,
}

struct Request {
    began: u64,
    tries: Tries,
    lease: Option<Lease>,
    /// Since when it waits for a place in the budget.
    waits: Option<u64>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    /// Another try, or the first, of a request.
    Tries(usize),
    /// The try of a request ends so; 0 stands for no connection, 1 for no answer in time.
    Ends(usize, u16),
}

struct World {
    pool: Arc<Pool>,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Keeps events of one time in order.
    sequence: u64,
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
    seen: Vec<Seen>,
    /// Requests to server 3 by second after its ejection has ended.
    returning: Vec<u64>,
}

impl World {
    fn new(pool: Arc<Pool>) -> World {
        let seen = || Seen {
            by_server: vec![0; SERVERS],
            ..Seen::default()
        };
        World {
            pool,
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            requests: Vec::new(),
            free: Vec::new(),
            seen: PHASES.iter().map(|_| seen()).collect(),
            returning: vec![0; 3600],
        }
    }

    fn run(&mut self) {
        self.at(0, Event::Arrives);
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            self.now = now;
            match event {
                Event::Arrives => self.arrives(),
                Event::Tries(request) => self.tries(request),
                Event::Ends(request, status) => self.ends(request, status),
            }
        }
    }

    fn at(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        let due = (self.now + wait, self.sequence, event);
        self.events.push(Reverse(due));
    }

    /// As the pools see it. It begins late, for servers were made at the real clock's zero.
    fn time(&self) -> Time {
        Time::from_millis(1_000_000 + self.now / 1000)
    }

    fn phase(&self) -> usize {
        let phase = PHASES.iter().position(|phase| self.now < phase.until);
        phase.unwrap_or(PHASES.len() - 1)
    }

    fn seen(&mut self) -> &mut Seen {
        let phase = self.phase();
        &mut self.seen[phase]
    }

    fn arrives(&mut self) {
        let request = Request {
            began: self.now,
            tries: Tries::default(),
            lease: None,
            waits: None,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.requests.push(None);
            self.requests.len() - 1
        });
        self.requests[place] = Some(request);
        self.seen().requests += 1;
        self.at(0, Event::Tries(place));
        if self.now < 60 * MINUTE {
            self.at(exponential(1_000_000 / PER_SECOND), Event::Arrives);
        }
    }

    fn tries(&mut self, place: usize) {
        let now = self.time();
        let began = self.now;
        let request = self.requests[place].as_mut().expect("it is under way");
        if request.tries.failed() && !request.tries.takes_place(&self.pool) {
            // As long as `Tries::ready` waits.
            let since = *request.waits.get_or_insert(began);
            return match began - since < 500_000 {
                true => self.at(2_000, Event::Tries(place)),
                false => self.done(place, false),
            };
        }
        request.waits = None;
        let asked = Asked {
            tried: &request.tries.tried,
            preferred: None,
            key: None,
            now,
        };
        let Some(lease) = self.pool.pick(&asked) else {
            return self.done(place, false);
        };
        request.tries.add(&lease);
        let server = usize::from(lease.server().address.port().expect("a port") - 9000);
        request.lease = Some(lease);
        let fault = (PHASES[self.phase()].fault)(server, self.now);
        let now = self.now;
        if server == 3 {
            self.returning[(now / 1_000_000).min(3599) as usize] += 1;
        }
        let seen = self.seen();
        seen.tries += 1;
        seen.by_server[server] += 1;
        let work = exponential(WORK / u64::from(weight(server)));
        match fault {
            Fault::None => self.at(work, Event::Ends(place, 200)),
            Fault::Slow => self.at((10 * work).min(PATIENCE), Event::Ends(place, 200)),
            Fault::Answers(status) => self.at(1000, Event::Ends(place, status)),
            Fault::Refuses => self.at(200, Event::Ends(place, 0)),
            Fault::Hangs => self.at(PATIENCE, Event::Ends(place, 1)),
        }
    }

    fn ends(&mut self, place: usize, status: u16) {
        let now = self.time();
        let outcome = match status {
            0 => Outcome::Refused,
            1 => Outcome::TimedOut,
            status => Outcome::Answered(status),
        };
        let request = self.requests[place].as_mut().expect("it is under way");
        let mut lease = request.lease.take().expect("it has a server");
        lease.tell(outcome, now);
        let allowed = budget(self.pool.group.in_flight(), 0.2);
        let again = outcome.is_failure() && request.tries.again(&self.pool, outcome, true, now);
        let pause = request.tries.take_pause().filter(|_| again);
        drop(lease);
        let retrying = self.pool.group.retrying();
        let seen = self.seen();
        seen.most_retrying = seen.most_retrying.max(retrying);
        match pause {
            Some(pause) => {
                // One was let in just now, so the bound held just now.
                seen.over_budget += u64::from(retrying > allowed);
                self.at(pause.as_micros() as u64, Event::Tries(place));
            }
            None => self.done(place, !outcome.is_failure()),
        }
    }

    fn done(&mut self, place: usize, well: bool) {
        let request = self.requests[place].take().expect("it is under way");
        let took = self.now - request.began;
        self.free.push(place);
        let seen = self.seen();
        seen.times.push(took);
        seen.failed += u64::from(!well);
    }
}

fn exponential(mean: u64) -> u64 {
    let draw = (random_below(1 << 32) + 1) as f64 / (1u64 << 32) as f64;
    (-draw.ln() * mean as f64) as u64
}

fn pool() -> (Arc<Registry>, Arc<Pool>) {
    let server = |n: usize| ServerSettings {
        weight: weight(n),
        ..ServerSettings::of(SocketAddr::from(([127, 0, 0, 1], 9000 + n as u16)))
    };
    let settings = UpstreamSettings {
        servers: (0..SERVERS).map(server).collect(),
        ejection: Some(EjectionSettings::default()),
        circuit_breaker: Some(BreakerSettings {
            failures: 10,
            open_for: Duration::from_secs(20),
        }),
        slow_start: Duration::from_secs(30),
        retry: RetrySettings::default(),
        ..UpstreamSettings::default()
    };
    let registry = Registry::new(Arc::new(Metrics::new()));
    let pool = registry
        .pools(&[settings])
        .expect("good settings")
        .remove(0);
    registry.commit(std::slice::from_ref(&pool));
    (registry, pool)
}

/// How far the fullest or emptiest server is from its share by weight.
fn spread(by_server: &[u64]) -> f64 {
    let total: u64 = by_server.iter().sum();
    let weights: u32 = (0..SERVERS).map(weight).sum();
    let off = |(server, count): (usize, &u64)| {
        let ideal = total as f64 * f64::from(weight(server)) / f64::from(weights);
        (*count as f64 / ideal - 1.0).abs()
    };
    by_server.iter().enumerate().map(off).fold(0.0, f64::max)
}

fn p99(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn an_hour_of_failures() {
    seed(2026);
    let (_registry, pool) = pool();
    let mut world = World::new(pool);
    world.run();

    println!(
        "{:<27}{:>9}{:>8}{:>11}{:>10}{:>9}{:>9}",
        "phase", "requests", "failed", "tries each", "retrying", "spread", "p99 ms"
    );
    let mut worst = Vec::new();
    for (phase, seen) in PHASES.iter().zip(&mut world.seen) {
        let each = seen.tries as f64 / seen.requests as f64;
        let (spread, slowest) = (spread(&seen.by_server), p99(&mut seen.times));
        println!(
            "{:<27}{:>9}{:>8}{:>11.3}{:>10}{:>8.1}%{:>9.1}",
            phase.name,
            seen.requests,
            seen.failed,
            each,
            seen.most_retrying,
            spread * 100.0,
            slowest as f64 / 1000.0,
        );
        worst.push((each, spread, slowest));
        assert_eq!(seen.over_budget, 0, "{}: the budget holds", phase.name);
        if !phase.name.contains("storm") {
            assert_eq!(seen.failed, 0, "{}: no client sees it", phase.name);
        }
    }
    let (healthy, storm, last) = (worst[0], worst[6], worst[8]);
    assert!(healthy.1 < 0.05 && last.1 < 0.05, "spread by weight");
    assert!(
        storm.0 < 1.3,
        "{} tries for each request of the storm",
        storm.0
    );
    for (phase, (_, _, slowest)) in PHASES.iter().zip(&worst) {
        let slow_by_nature = phase.name.contains("slower");
        assert!(
            slow_by_nature || *slowest < 2 * healthy.2,
            "{}: {slowest} µs",
            phase.name
        );
    }

    // Server 3 came back during the second phase's end or after it; its share grows step by step.
    let fair = PER_SECOND as f64 * f64::from(weight(3)) / 60.0;
    let back = world.returning.iter().enumerate().skip(15 * 60);
    let busiest = back.take(120).map(|(_, n)| *n).max().unwrap_or(0);
    assert!(
        (busiest as f64) < fair * 3.0,
        "{busiest} in a second, of {fair}"
    );
}
