//! One route's requests shared out among upstreams: blue-green, canary.
//!
//! A side is chosen by share, and stays a client's side where a key is given. One whose requests
//! fail more than they may gets nothing from then on, and says so; the last one always serves.

use super::Time;
use super::balance::mix;
use super::pool::Pool;
use super::random::random_below;
use super::settings::{HashKey, RollbackSettings, SplitSettings};
use crate::observe::Metrics;
use prometheus::Gauge;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What all shares together are.
pub const WHOLE: u32 = 10_000;

pub struct Split {
    pub key: Option<HashKey>,
    pub sides: Box<[Side]>,
    verdicts: Arc<Verdicts>,
}

pub struct Side {
    pub pool: Arc<Pool>,
    share: u32,
}

/// What was found out about the sides. Survives reloads, as long as the split is the same.
pub struct Verdicts {
    route: String,
    settings: SplitSettings,
    sides: Box<[Verdict]>,
}

struct Verdict {
    out: AtomicBool,
    /// Its requests are counted together with the time that they are of.
    window: Mutex<Window>,
    /// Percent of the route's requests that it gets.
    shown: Gauge,
}

/// Requests of one side, from `since` on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    since: Time,
    requests: u32,
    errors: u32,
}

impl Verdicts {
    pub fn new(route: &str, settings: SplitSettings, metrics: &Metrics) -> Arc<Verdicts> {
        let verdict = |(name, _): &(String, u32)| Verdict {
            out: AtomicBool::new(false),
            window: Mutex::default(),
            shown: metrics.split(route, name),
        };
        let verdicts = Verdicts {
            route: route.to_owned(),
            sides: settings.sides.iter().map(verdict).collect(),
            settings,
        };
        verdicts.show();
        Arc::new(verdicts)
    }

    /// Whether they are about this split.
    pub fn fit(&self, route: &str, settings: &SplitSettings) -> bool {
        self.route == route && self.settings == *settings
    }

    /// Lets all sides have their shares again.
    pub fn restore(&self) {
        for side in &self.sides {
            side.out.store(false, Relaxed);
            *side.window() = Window::default();
        }
        self.show();
    }

    /// What a side gets while some are out.
    fn share(&self, side: usize) -> u32 {
        match self.sides[side].out.load(Relaxed) {
            true => 0,
            false => self.settings.sides[side].1,
        }
    }

    fn told(&self, side: usize, failed: bool, now: Time) {
        let Some(rules) = &self.settings.rollback else {
            return;
        };
        let verdict = &self.sides[side];
        if verdict.out.load(Relaxed) || !verdict.window().told(failed, rules, now) {
            return;
        }
        let others = (0..self.sides.len()).filter(|other| *other != side);
        let (route, upstream) = (&self.route, &self.settings.sides[side].0);
        if others.map(|other| self.share(other)).sum::<u32>() == 0 {
            tracing::warn!(%route, %upstream, "too many errors, but nothing else is left: see why its servers fail");
            return;
        }
        verdict.out.store(true, Relaxed);
        let limit = format!("{}%", rules.errors * 100.0);
        tracing::error!(%route, %upstream, limit, "rolled back: more errors than the limit; mend it, then `lakh restore {route}`");
        self.show();
    }

    fn show(&self) {
        let shares = (0..self.sides.len()).map(|side| self.share(side));
        let total = shares.sum::<u32>().max(1);
        for (side, verdict) in self.sides.iter().enumerate() {
            let share = f64::from(self.share(side)) / f64::from(total);
            verdict.shown.set(share * 100.0);
        }
    }
}

impl Split {
    /// `pools` in the order of the sides.
    pub fn new(pools: impl Iterator<Item = Arc<Pool>>, verdicts: Arc<Verdicts>) -> Split {
        let shares = verdicts.settings.sides.iter().map(|(_, share)| *share);
        Split {
            key: verdicts.settings.key.clone(),
            sides: pools
                .zip(shares)
                .map(|(pool, share)| Side { pool, share })
                .collect(),
            verdicts,
        }
    }

    /// The side of a request, by its key's hash or else by chance.
    pub fn choose(&self, key: Option<u64>) -> usize {
        let key = key.unwrap_or_else(|| random_below(u64::MAX));
        let home = self.at(key, |side| self.sides[side].share);
        match self.verdicts.share(home) {
            // Only the clients of a side that is out move.
            0 => self.at(mix(key), |side| self.verdicts.share(side)),
            _ => home,
        }
    }

    /// How a request of that side went.
    pub fn told(&self, side: usize, failed: bool, now: Time) {
        self.verdicts.told(side, failed, now);
    }

    /// For the admin API: each side's name and share in force, in hundredths of a percent.
    pub fn shares(&self) -> impl Iterator<Item = (&str, u32)> {
        let names = self.sides.iter().map(|side| &*side.pool.name);
        names.zip((0..).map(|side| self.verdicts.share(side)))
    }

    pub fn restore(&self) {
        self.verdicts.restore();
    }

    fn at(&self, key: u64, share: impl Fn(usize) -> u32) -> usize {
        let all = 0..self.sides.len();
        let total: u32 = all.clone().map(&share).sum();
        let mut place = ((u128::from(key) * u128::from(total)) >> 64) as u32;
        let fits = |side: &usize| {
            let share = share(*side);
            let fits = place < share;
            place = place.saturating_sub(share);
            fits
        };
        all.clone().find(fits).unwrap_or(0)
    }
}

impl Verdict {
    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window
            .lock()
            .expect("nothing panics while it holds a window")
    }
}

impl Window {
    /// Counts a request; true when too many have failed.
    pub fn told(&mut self, failed: bool, rules: &RollbackSettings, now: Time) -> bool {
        if now.since(self.since) > rules.interval {
            *self = Window {
                since: now,
                ..Window::default()
            };
        }
        self.requests += 1;
        self.errors += u32::from(failed);
        let limit = f64::from(self.requests) * rules.errors;
        self.requests >= rules.requests && f64::from(self.errors) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::fixtures::{registry, upstream};
    use crate::upstream::{UpstreamSettings, hash_of};

    fn settings(shares: &[u32], rollback: bool) -> SplitSettings {
        let side = |(n, share): (usize, &u32)| (format!("side{n}"), *share);
        SplitSettings {
            sides: shares.iter().enumerate().map(side).collect(),
            key: None,
            rollback: rollback.then(RollbackSettings::default),
        }
    }

    fn split(settings: SplitSettings) -> Split {
        let side = |(name, _): &(String, u32)| UpstreamSettings {
            name: name.clone(),
            ..upstream(&[1])
        };
        let upstreams: Vec<_> = settings.sides.iter().map(side).collect();
        let pools = registry().pools(&upstreams);
        let verdicts = Verdicts::new("all", settings, &Metrics::new());
        Split::new(pools.expect("good settings").into_iter(), verdicts)
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..10_000u32).map(|n| hash_of(&n.to_be_bytes()))
    }

    fn counts(split: &Split) -> Vec<usize> {
        let mut counts = vec![0; split.sides.len()];
        keys().for_each(|key| counts[split.choose(Some(key))] += 1);
        counts
    }

    #[test]
    fn sides_get_their_shares_and_keys_stay() {
        let split = split(settings(&[9000, 1000, 0], false));
        let counts = counts(&split);
        assert!(
            counts[1].abs_diff(1000) < 100 && counts[2] == 0,
            "{counts:?}"
        );
        assert!(keys().all(|key| split.choose(Some(key)) == split.choose(Some(key))));
    }

    #[test]
    fn without_a_key_chance_decides() {
        let split = split(settings(&[5000, 5000], false));
        let first = (0..10_000).filter(|_| split.choose(None) == 0).count();
        assert!(first.abs_diff(5000) < 300, "{first}");
    }

    #[test]
    fn a_side_with_too_many_errors_gets_nothing_and_only_its_clients_move() {
        let split = split(settings(&[5000, 3000, 2000], true));
        let before: Vec<_> = keys().map(|key| split.choose(Some(key))).collect();
        for n in 0..100 {
            split.told(2, n % 10 == 0, Time::from_millis(n));
        }
        assert_eq!(
            split.shares().map(|s| s.1).collect::<Vec<_>>(),
            [5000, 3000, 0]
        );
        for (key, before) in keys().zip(before) {
            let after = split.choose(Some(key));
            assert!(after == before || before == 2 && after != 2);
        }
        split.restore();
        assert!(counts(&split)[2] > 0);
    }

    #[test]
    fn the_last_side_serves_whatever_it_answers() {
        let split = split(settings(&[9000, 1000], true));
        for side in [0, 1] {
            (0..200).for_each(|n| split.told(side, true, Time::from_millis(n)));
        }
        assert_eq!(split.shares().map(|s| s.1).collect::<Vec<_>>(), [0, 1000]);
    }

    #[test]
    fn few_requests_and_old_ones_prove_nothing() {
        let (rules, mut window) = (RollbackSettings::default(), Window::default());
        let at = |seconds: u64| Time::from_millis(seconds * 1000);
        assert!((0..99).all(|_| !window.told(true, &rules, at(1))));
        assert!((0..99).all(|_| !window.told(true, &rules, at(62))));
        assert!(window.told(true, &rules, at(63)));
        let mut window = Window::default();
        let at_limit = (0..100).any(|n| window.told(n % 20 == 0, &rules, at(1)));
        assert!(!at_limit, "5 of 100 are allowed");
    }
}
