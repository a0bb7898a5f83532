//! Sharing by weight: the fewest requests in flight, strict turns, the better of two draws.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many times a random draw may hit a server that can't be used before all are looked at.
const DRAWS: usize = 4;

/// More servers than this are not compared one by one: looking at a thousand costs more than the
/// rest of the request's way.
const COMPARED: usize = 128;

/// How many of a large pool are compared instead, drawn by weight. Two already keep the fullest
/// server close to the mean; eight keep it within a request or two, for less than the draws cost.
const DRAWN: usize = 8;

/// What the heaviest server's turn costs it. Large, so that dividing by a weight rounds little;
/// small, so that 2⁶⁴ of it outlast any process.
const STEP: u64 = 1 << 16;

/// The servers of a pool that may be picked now.
///
/// Turns are stride scheduling: each server is due again after a time inverse to its weight, and
/// the one due first is next. Equal weights take strict turns, unequal ones are interleaved
/// smoothly, and racing threads keep the shares exact because each turn taken is added to `due`.
pub struct Shares {
    /// None weighs nothing.
    shares: Box<[Share]>,
    /// Running sums of the weights: a random number below the last is a draw by weight.
    up_to: Box<[u64]>,
    /// By place; 0 for those that may not be picked.
    weights: Box<[u32]>,
    heaviest: u64,
    turns: Arc<Turns>,
}

/// Who had a turn when, by place in the pool. Outlives the `Shares`, which change with every
/// server that comes or goes.
pub struct Turns {
    due: Box<[AtomicU64]>,
    /// Where the turns are. A server that comes back starts here: it must not be flooded to make
    /// up for the turns that it missed.
    now: AtomicU64,
}

/// A server by its place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub place: u32,
    pub weight: u32,
}

/// A server's load as it is compared: requests per weight, then who is due.
#[derive(Clone, Copy)]
struct Load {
    share: Share,
    in_flight: u64,
    due: u64,
}

impl Turns {
    pub fn new(servers: usize) -> Arc<Turns> {
        Arc::new(Turns {
            due: (0..servers).map(|_| AtomicU64::new(0)).collect(),
            now: AtomicU64::new(0),
        })
    }

    fn copied(&self) -> Turns {
        let copy = |turn: &AtomicU64| AtomicU64::new(turn.load(Relaxed));
        Turns {
            due: self.due.iter().map(copy).collect(),
            now: copy(&self.now),
        }
    }

    /// A server's first turn comes after one stride: the heavy ones begin.
    fn enter(&self, share: &Share, heaviest: u64) {
        let due = &self.due[share.place as usize];
        // An error means that it had a turn before.
        let _ = due.compare_exchange(0, share.stride(heaviest), Relaxed, Relaxed);
    }
}

impl Share {
    /// How long it waits for its next turn.
    fn stride(&self, heaviest: u64) -> u64 {
        STEP * heaviest / u64::from(self.weight)
    }
}

impl Shares {
    pub fn new(shares: impl Iterator<Item = Share>, turns: Arc<Turns>) -> Shares {
        let shares: Box<[Share]> = shares.filter(|share| share.weight > 0).collect();
        let heaviest = shares.iter().map(|share| share.weight).max().unwrap_or(0);
        let mut weights = vec![0; turns.due.len()];
        for share in &shares {
            weights[share.place as usize] = share.weight;
            turns.enter(share, heaviest.into());
        }
        Shares {
            up_to: running_sums(&shares),
            weights: weights.into(),
            shares,
            heaviest: heaviest.into(),
            turns,
        }
    }

    /// The same, with turns of their own: what is picked there takes nobody's turn here.
    pub fn apart(&self) -> Shares {
        Shares {
            shares: self.shares.clone(),
            up_to: self.up_to.clone(),
            weights: self.weights.clone(),
            heaviest: self.heaviest,
            turns: Arc::new(self.turns.copied()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Of the server at a place; 0 when it may not be picked.
    pub fn weight(&self, place: usize) -> u32 {
        self.weights[place]
    }

    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.shares.iter().map(|share| share.place as usize)
    }

    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.up_to.last().copied().unwrap_or(0)
    }

    /// The fewest requests per weight; of equals, the one whose turn it is. Idle servers are
    /// equals whatever their weight, so that light traffic is shared by weight too, instead of
    /// all going to the heaviest. `in_flight` says how many requests the server at a place
    /// carries, if it may have one more; `below(n)` is a random number below `n`.
    pub fn least_loaded(
        &self,
        in_flight: impl Fn(usize) -> Option<usize>,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<usize> {
        if self.shares.len() > COMPARED {
            let drawn = (0..DRAWN).filter_map(|_| self.draw(&in_flight, &mut below));
            if let Some(least) = least(drawn) {
                return Some(self.take(least));
            }
        }
        let loads = self.shares.iter().filter_map(|s| self.load(*s, &in_flight));
        least(loads).map(|least| self.take(least))
    }

    /// Weighted round robin. Asks only about servers that would be next: most are never touched.
    pub fn next_in_turn(&self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut next: Option<(Share, u64)> = None;
        for share in &self.shares {
            let due = self.turns.due[share.place as usize].load(Relaxed);
            let earlier = next.is_none_or(|(_, earliest)| due < earliest);
            if earlier && usable(share.place as usize) {
                next = Some((*share, due));
            }
        }
        let (share, due) = next?;
        Some(self.take(Load {
            share,
            in_flight: 0,
            due,
        }))
    }

    /// The less loaded of two drawn by weight. Servers that can't be used are drawn again; when
    /// most can't, all are compared instead.
    pub fn two_choices(
        &self,
        in_flight: impl Fn(usize) -> Option<usize>,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<usize> {
        let again = |below: &mut dyn FnMut(u64) -> u64, not: Option<Share>| {
            let others = |place| match not {
                Some(share) if share.place as usize == place => None,
                _ => in_flight(place),
            };
            (0..DRAWS).find_map(|_| self.draw(&others, &mut *below))
        };
        let Some(first) = again(&mut below, None) else {
            return self.least_loaded(in_flight, below);
        };
        let second = again(&mut below, Some(first.share));
        let lighter = second.filter(|second| second.is_lighter_than(&first));
        Some(lighter.unwrap_or(first).share.place as usize)
    }

    /// `due` is as the picker saw it. Another thread may have picked the same server since; were
    /// `now` to follow that far ahead, the servers due in between would lose their turns.
    fn take(&self, picked: Load) -> usize {
        let (place, turns) = (picked.share.place as usize, &*self.turns);
        let now = turns.now.load(Relaxed).max(picked.due);
        if turns.due[place].load(Relaxed) < now {
            turns.due[place].fetch_max(now, Relaxed);
        }
        turns.due[place].fetch_add(picked.share.stride(self.heaviest), Relaxed);
        turns.now.fetch_max(picked.due, Relaxed);
        place
    }

    fn draw(
        &self,
        in_flight: &impl Fn(usize) -> Option<usize>,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<Load> {
        let total = Some(self.total()).filter(|total| *total > 0)?;
        let number = below(total);
        let index = self.up_to.partition_point(|sum| *sum <= number);
        self.load(self.shares[index], in_flight)
    }

    fn load(&self, share: Share, in_flight: &impl Fn(usize) -> Option<usize>) -> Option<Load> {
        let place = share.place as usize;
        Some(Load {
            share,
            in_flight: in_flight(place)? as u64,
            due: self.turns.due[place].load(Relaxed),
        })
    }
}

fn least(loads: impl Iterator<Item = Load>) -> Option<Load> {
    loads.reduce(|least, load| {
        if load.comes_before(&least) {
            load
        } else {
            least
        }
    })
}

impl Load {
    fn comes_before(&self, other: &Load) -> bool {
        let (mine, theirs) = self.beside(other);
        mine < theirs || (mine == theirs && self.due < other.due)
    }

    fn is_lighter_than(&self, other: &Load) -> bool {
        let (mine, theirs) = self.beside(other);
        mine < theirs
    }

    /// a/b < c/d without a division: a·d < c·b.
    fn beside(&self, other: &Load) -> (u64, u64) {
        let mine = self.in_flight * u64::from(other.share.weight);
        (mine, other.in_flight * u64::from(self.share.weight))
    }
}

fn running_sums(shares: &[Share]) -> Box<[u64]> {
    let add = |sum: &mut u64, share: &Share| {
        *sum += u64::from(share.weight);
        Some(*sum)
    };
    shares.iter().scan(0, add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::random_below;
    use proptest::prelude::*;

    const PICKS: usize = 100_000;

    fn all(_: usize) -> bool {
        true
    }

    fn idle(_: usize) -> Option<usize> {
        Some(0)
    }

    fn shares(weights: &[u32]) -> Shares {
        let share = |(place, weight): (usize, &u32)| Share {
            place: place as u32,
            weight: *weight,
        };
        let turns = Turns::new(weights.len());
        Shares::new(weights.iter().enumerate().map(share), turns)
    }

    fn counts(servers: usize, mut pick: impl FnMut() -> usize) -> Vec<usize> {
        let mut counts = vec![0; servers];
        (0..PICKS).for_each(|_| counts[pick()] += 1);
        counts
    }

    fn assert_shared_by_weight(weights: &[u32], counts: &[usize]) {
        let total: u32 = weights.iter().sum();
        for (weight, count) in weights.iter().zip(counts) {
            let wanted = f64::from(*weight) / f64::from(total);
            let got = *count as f64 / PICKS as f64;
            assert!((wanted - got).abs() < 0.01, "{weights:?} {counts:?}");
        }
    }

    #[test]
    fn equal_servers_take_strict_turns() {
        let pool = shares(&[7, 7, 7]);
        let turns: Vec<_> = (0..6).map(|_| pool.next_in_turn(all)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn unequal_servers_are_interleaved() {
        let pool = shares(&[3, 1]);
        let turns: Vec<_> = (0..8).filter_map(|_| pool.next_in_turn(all)).collect();
        assert_eq!(turns, [0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn a_server_that_comes_back_is_not_flooded() {
        let pool = shares(&[1, 1]);
        assert!((0..1000).all(|_| pool.next_in_turn(|i| i == 0) == Some(0)));
        let back = (0..10)
            .filter(|_| pool.next_in_turn(all) == Some(1))
            .count();
        assert!((5..=6).contains(&back), "{back} of 10");
    }

    #[test]
    fn the_fewest_requests_per_weight_win() {
        let pool = shares(&[4, 1, 2]);
        let carried = [7, 2, 3];
        assert_eq!(
            pool.least_loaded(|i| Some(carried[i]), random_below),
            Some(2)
        );
    }

    #[test]
    fn two_that_tie_among_many_share_equally() {
        let pool = shares(&[1; 10]);
        let carried = |i: usize| Some(usize::from(i > 1));
        let counts = counts(10, || {
            pool.least_loaded(carried, random_below)
                .expect("all are usable")
        });
        assert_eq!(counts[..3], [PICKS / 2, PICKS / 2, 0]);
    }

    #[test]
    fn a_large_pool_is_shared_by_weight_and_load_too() {
        let mut weights = vec![1; 999];
        weights.push(999);
        let pool = shares(&weights);
        let carried: Vec<_> = (0..1000).map(|_| std::cell::Cell::new(0usize)).collect();
        for _ in 0..PICKS {
            let load = |i: usize| Some(carried[i].get());
            let picked = pool
                .least_loaded(load, random_below)
                .expect("all are usable");
            carried[picked].set(carried[picked].get() + 1);
        }
        let half = carried[999].get();
        assert!(half.abs_diff(PICKS / 2) < PICKS / 50, "{half}");
        let others = carried[..999].iter().map(|c| c.get());
        let (least, most) = (others.clone().min(), others.max());
        assert!(
            least >= Some(44) && most <= Some(56),
            "{least:?} to {most:?}"
        );
    }

    #[test]
    fn a_large_pool_with_one_usable_server_finds_it() {
        let pool = shares(&[1; 1000]);
        let one = |i: usize| (i == 613).then_some(9);
        for _ in 0..100 {
            assert_eq!(pool.least_loaded(one, random_below), Some(613));
        }
    }

    #[test]
    fn the_lighter_of_two_different_draws_wins() {
        let pool = shares(&[1, 1, 1]);
        let carried = [5, 0, 2];
        let mut drawn = [0, 0, 2].into_iter();
        let below = |_| drawn.next().expect("three draws at most");
        let picked = pool.two_choices(|i| Some(carried[i]), below);
        assert_eq!(picked, Some(2));
    }

    #[test]
    fn nothing_to_pick_from() {
        for pool in [shares(&[]), shares(&[0, 0])] {
            assert_eq!(pool.least_loaded(idle, random_below), None);
            assert_eq!(pool.next_in_turn(all), None);
            assert_eq!(pool.two_choices(idle, random_below), None);
        }
    }

    #[test]
    fn racing_threads_keep_the_shares() {
        let pool = shares(&[5, 3, 2]);
        let counts: [AtomicU64; 3] = Default::default();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..PICKS / 4 {
                        let picked = pool.next_in_turn(all).expect("all are usable");
                        counts[picked].fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_shared_by_weight(&[5, 3, 2], &counts.map(|c| c.into_inner() as usize));
    }

    /// Weights and, for each, the requests carried and whether it can be used.
    fn pool() -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
        proptest::collection::vec((0..=65535u32, 0..1000u32, any::<bool>()), 0..40)
    }

    proptest! {
        #[test]
        fn the_least_loaded_is_the_true_minimum(pool in pool()) {
            let weights: Vec<u32> = pool.iter().map(|s| s.0).collect();
            let carried = |i: usize| pool[i].2.then_some(pool[i].1 as usize);
            let picked = shares(&weights).least_loaded(carried, random_below);
            let ratio = |i: usize| f64::from(pool[i].1) / f64::from(pool[i].0);
            let fair = (0..pool.len()).filter(|i| pool[*i].2 && pool[*i].0 > 0);
            match picked {
                None => prop_assert_eq!(fair.count(), 0),
                Some(picked) => {
                    prop_assert!(pool[picked].2 && pool[picked].0 > 0);
                    prop_assert!(fair.into_iter().all(|i| ratio(picked) <= ratio(i)));
                }
            }
        }

        #[test]
        fn no_way_of_picking_takes_what_it_must_not(pool in pool()) {
            let weights: Vec<u32> = pool.iter().map(|s| s.0).collect();
            let shares = shares(&weights);
            let carried = |i: usize| pool[i].2.then_some(pool[i].1 as usize);
            let some_usable = pool.iter().any(|s| s.2 && s.0 > 0);
            for _ in 0..20 {
                for picked in [
                    shares.least_loaded(carried, random_below),
                    shares.next_in_turn(|i| pool[i].2),
                    shares.two_choices(carried, random_below),
                ] {
                    prop_assert_eq!(picked.is_some(), some_usable);
                    prop_assert!(picked.is_none_or(|i| pool[i].2 && pool[i].0 > 0));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn idle_servers_share_by_weight(
            mut weights in proptest::collection::vec(0..200u32, 1..12),
        ) {
            weights[0] += 1;
            let pool = shares(&weights);
            let some = "the first has a weight";
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                pool.least_loaded(idle, random_below).expect(some)
            }));
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                pool.next_in_turn(all).expect(some)
            }));
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                pool.two_choices(idle, random_below).expect(some)
            }));
        }
    }
}
