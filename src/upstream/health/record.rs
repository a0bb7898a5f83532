//! The state machine of a server: what probes, requests and operators say of it, and what follows.
//!
//! Whoever changes a record holds its server's lock; who has changed what it says (`state`) tells
//! the pools. Nothing here reads a clock.

use super::breaker::Breaker;
use super::ejection::{Ejection, Row};
use super::streak::{Streak, Thresholds};
use crate::upstream::Time;
use crate::upstream::settings::{
    BreakerSettings, EjectionSettings, HealthCheckSettings, UpstreamSettings,
};
use std::time::Duration;

/// How soon a server that is down or in doubt is probed again, when its interval is longer: it
/// should be back soon after it recovered.
const RECHECK: Duration = Duration::from_millis(500);

/// With so much of its weight a server starts slowly, in percent.
const FIRST_STEP: u32 = 10;

/// Into so many steps a slow start is cut.
const STEPS: u32 = 20;

/// How servers of an upstream are judged: what the configuration in force says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub health_check: Option<HealthCheckSettings>,
    pub ejection: Option<EjectionSettings>,
    pub circuit_breaker: Option<BreakerSettings>,
    pub slow_start: Duration,
}

/// How a request went, as far as it says something about its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered(u16),
    /// Nobody listens there.
    Refused,
    NoConnection,
    TimedOut,
    /// Broke off, or answered something that is not HTTP.
    Broken,
}

/// What a server may get, and why. Of several reasons against it the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Up,
    /// By an operator; finishes what it has.
    Draining,
    /// By its probes, or by a refused connection where probes can bring it back.
    Down,
    /// Its breaker is open; from then on one request may try.
    Open {
        until: Time,
    },
    /// One request is trying.
    HalfOpen,
    /// By failures in a row.
    Ejected {
        until: Time,
    },
}

/// A server as a pool sees it at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub state: State,
    /// In percent of its weight: less than 100 while it starts slowly.
    pub level: u32,
    /// It may have one request, which must be claimed.
    pub trial: bool,
    /// When it came back; None when it was never away.
    pub back: Option<Time>,
    /// When it may be different without anybody telling.
    pub until: Time,
}

#[derive(Debug)]
pub struct Record {
    streak: Streak,
    /// Whether a probe runs. Without one nothing would bring a server back up.
    probed: bool,
    row: Row,
    ejection: Ejection,
    breaker: Breaker,
    drained: bool,
    back: Option<Time>,
    since: Time,
    why: Option<String>,
    /// Of the last probe, if it failed.
    probe_error: Option<String>,
}

impl Rules {
    pub fn of(upstream: &UpstreamSettings) -> Rules {
        Rules {
            health_check: upstream.health_check.clone(),
            ejection: upstream.ejection.clone(),
            circuit_breaker: upstream.circuit_breaker.clone(),
            slow_start: upstream.slow_start,
        }
    }

    fn thresholds(&self) -> Thresholds {
        let check = self.health_check.as_ref();
        Thresholds {
            down: check.map_or(1, |check| check.unhealthy_after),
            up: check.map_or(1, |check| check.healthy_after),
        }
    }

    fn interval(&self) -> Duration {
        self.health_check.as_ref().map_or(RECHECK, |c| c.interval)
    }

    fn gap(&self) -> Option<Duration> {
        self.ejection.as_ref().map(|ejection| ejection.interval)
    }
}

impl Outcome {
    pub fn is_failure(self) -> bool {
        !matches!(self, Outcome::Answered(status) if status < 500)
    }

    /// Whether it tells how long the server takes: no connection says nothing of that.
    pub fn took_its_time(self) -> bool {
        matches!(self, Outcome::Answered(_) | Outcome::TimedOut)
    }

    fn text(self) -> String {
        match self {
            Outcome::Answered(status) => format!("status {status}"),
            Outcome::Refused => "refused a connection".into(),
            Outcome::NoConnection => "no connection".into(),
            Outcome::TimedOut => "no answer in time".into(),
            Outcome::Broken => "the answer broke off".into(),
        }
    }
}

impl State {
    /// For people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Draining => "draining",
            State::Down => "down",
            State::Open { .. } => "open",
            State::HalfOpen => "half_open",
            State::Ejected { .. } => "ejected",
        }
    }

    /// Used all the same when too few others are left: what put it out may be what is wrong.
    pub fn bears_panic(self) -> bool {
        matches!(self, State::Up | State::Down | State::Ejected { .. })
    }
}

impl Record {
    /// `late`: the server joins others that are at work, so it starts slowly.
    pub fn new(late: bool, now: Time) -> Record {
        Record {
            streak: Streak::new(),
            probed: false,
            row: Row::default(),
            ejection: Ejection::default(),
            breaker: Breaker::Closed,
            drained: false,
            back: late.then_some(now),
            since: now,
            why: None,
            probe_error: None,
        }
    }

    pub fn state(&self) -> State {
        match (self.breaker, self.ejection.until()) {
            _ if self.drained => State::Draining,
            _ if !self.streak.up() => State::Down,
            (Breaker::Open { until }, _) => State::Open { until },
            (Breaker::HalfOpen, _) => State::HalfOpen,
            (Breaker::Closed, Some(until)) => State::Ejected { until },
            (Breaker::Closed, None) => State::Up,
        }
    }

    /// Passes its probes, or has none.
    pub fn healthy(&self) -> bool {
        self.streak.up()
    }

    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    pub fn ejected(&self) -> bool {
        self.ejection.until().is_some()
    }

    /// When it came into its state.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Why it is in its state, or the last error while it is still up.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    pub fn probe_error(&self) -> Option<&str> {
        self.probe_error.as_deref()
    }

    /// Until when the ejection lasts.
    pub fn ejected_until(&self) -> Option<Time> {
        self.ejection.until()
    }

    /// A success is news to this record.
    pub fn in_doubt(&self) -> bool {
        self.row != Row::default() || self.breaker != Breaker::Closed
    }

    /// Ends what time ends.
    pub fn settle(&mut self, now: Time) {
        if self.ejection.end(now) {
            self.turned(now, None);
        }
    }

    /// After `settle`.
    pub fn standing(&self, rules: &Rules, now: Time) -> Standing {
        let state = self.state();
        let due = matches!(state, State::Open { until } if now >= until);
        let (level, step) = self.level(rules.slow_start, now);
        Standing {
            state,
            level,
            trial: due,
            back: self.back,
            until: match state {
                State::Ejected { until } => until,
                State::Open { until } if !due => until,
                State::Up => step,
                _ => Time::NEVER,
            },
        }
    }

    /// How much of its weight it has, and until when.
    fn level(&self, slow_start: Duration, now: Time) -> (u32, Time) {
        let Some(back) = self.back.filter(|back| now.since(*back) < slow_start) else {
            return (100, Time::NEVER);
        };
        let percent = 100 * now.since(back).as_millis() / slow_start.as_millis();
        (FIRST_STEP.max(percent as u32), now + slow_start / STEPS)
    }

    /// A request has failed, or its answer has begun. `may_eject` is asked for one more server that may be out.
    pub fn told(
        &mut self,
        outcome: Outcome,
        rules: &Rules,
        may_eject: impl FnOnce() -> bool,
        now: Time,
    ) {
        if !outcome.is_failure() {
            if self.breaker.succeeded() {
                self.turned(now, None);
            }
            return;
        }
        let failures = self.row.failed(rules.gap(), now);
        let in_a_row = || Some(format!("{failures} failed in a row: {}", outcome.text()));
        if outcome == Outcome::Refused && self.probed && self.streak.set(false) {
            self.turned(now, Some(outcome.text()));
        }
        if let Some(breaker) = &rules.circuit_breaker
            && self.breaker.failed(failures, breaker, now)
        {
            self.turned(now, in_a_row());
        }
        if let Some(ejection) = &rules.ejection
            && failures >= ejection.consecutive_failures
            && self.state() == State::Up
            && may_eject()
        {
            self.ejection.begin(ejection, now);
            self.turned(now, in_a_row());
        }
    }

    /// An answer has come to its end, or its client has left. Only this ends a row of failures: a
    /// server that begins every answer and breaks off each must not look well at each beginning.
    pub fn finished(&mut self) {
        self.row = Row::default();
    }

    /// The one request that a breaker lets through; false when there is none to be had.
    pub fn try_once(&mut self, now: Time) -> bool {
        let takes = matches!(self.state(), State::Open { .. }) && self.breaker.try_once(now);
        if takes {
            self.since = now;
        }
        takes
    }

    /// That request ended without an outcome.
    pub fn abandon_trial(&mut self, now: Time) {
        self.breaker.abandon(now);
    }

    /// Takes a probe's result; gives how long to wait before the next.
    pub fn probed(&mut self, result: Result<(), String>, rules: &Rules, now: Time) -> Duration {
        // A probe may end just after its task was told to stop: its word no longer counts.
        if self.probed {
            let turned = self.streak.observe(result.is_ok(), rules.thresholds());
            let error = result.err();
            self.probe_error.clone_from(&error);
            if turned {
                self.turned(now, error);
            } else if error.is_some() || self.state() == State::Up && self.streak.settled_up() {
                self.why = error;
            }
        }
        match self.streak.settled_up() {
            true => rules.interval(),
            false => rules.interval().min(RECHECK),
        }
    }

    /// From here on a probe decides, or nobody: then the server counts as up, as one that was
    /// never probed.
    pub fn set_probed(&mut self, probed: bool, now: Time) {
        let was_probed = std::mem::replace(&mut self.probed, probed);
        self.probe_error = self.probe_error.take().filter(|_| probed);
        if was_probed && !probed && self.streak.set(true) {
            self.turned(now, None);
        }
    }

    /// By an operator, whatever else it is.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    pub fn set_drained(&mut self, drained: bool, now: Time) {
        if std::mem::replace(&mut self.drained, drained) != drained {
            self.turned(now, drained.then(|| "drained by an operator".into()));
        }
    }

    /// Rules that left the configuration put nobody out any more.
    pub fn judged_by(&mut self, rules: &Rules, now: Time) {
        let before = self.state();
        if rules.ejection.is_none() {
            self.ejection = Ejection::default();
        }
        if rules.circuit_breaker.is_none() {
            self.breaker = Breaker::Closed;
        }
        if self.state() != before {
            self.turned(now, None);
        }
    }

    fn turned(&mut self, now: Time, why: Option<String>) {
        self.since = now;
        self.why = why;
        if self.state() == State::Up {
            self.row = Row::default();
            self.back = Some(now);
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
