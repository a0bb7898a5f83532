//! Whose turn it is: the pure core of picking a server.
//!
//! A `Pool` asks with a question of its own, "how many requests does this server carry, if it may
//! have one more?", so this file knows neither sockets nor health. Runs on every request that goes
//! upstream: it must never lock, allocate, or give anything to a weight of 0.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many times a random draw may hit a server that can't be used before all are looked at.
const DRAWS: usize = 4;

/// What the heaviest server's turn costs it. Large, so that dividing by a weight rounds little;
/// small, so that 2⁶⁴ of it outlast any process.
const STEP: u64 = 1 << 16;

/// The weights of a pool, and who had a turn when.
///
/// Turns are stride scheduling: each server is due again after a time inverse to its weight, and
/// the one due first is next. Equal weights take strict turns, unequal ones are interleaved
/// smoothly, and racing threads keep the shares exact because each turn taken is added to `due`.
pub struct Shares {
    shares: Box<[Share]>,
    /// Running sums of the weights: a random number below the last is a draw by weight.
    up_to: Box<[u64]>,
    heaviest: u64,
    /// Where the turns are. A server that comes back starts here: it must not be flooded to make
    /// up for the turns that it missed.
    now: AtomicU64,
}

struct Share {
    due: AtomicU64,
    weight: u32,
}

/// A server's load as it is compared: requests per weight, then who is due.
#[derive(Clone, Copy)]
struct Load {
    in_flight: u64,
    weight: u64,
    due: u64,
}

impl Shares {
    pub fn new(weights: &[u32]) -> Shares {
        let heaviest = weights.iter().copied().max().unwrap_or(0).into();
        let share = |&weight: &u32| Share {
            due: stride(heaviest, weight).into(),
            weight,
        };
        Shares {
            shares: weights.iter().map(share).collect(),
            up_to: running_sums(weights),
            heaviest,
            now: AtomicU64::new(0),
        }
    }

    pub fn weight(&self, index: usize) -> u32 {
        self.shares[index].weight
    }

    /// The fewest requests per weight; of equals, the one whose turn it is. Idle servers are
    /// equals whatever their weight, so that light traffic is shared by weight too, instead of
    /// all going to the heaviest.
    pub fn least_loaded(&self, in_flight: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        let mut least: Option<(usize, Load)> = None;
        for (index, share) in self.shares.iter().enumerate() {
            if share.weight == 0 {
                continue;
            }
            let Some(in_flight) = in_flight(index) else {
                continue;
            };
            let load = share.load(in_flight);
            if least.is_none_or(|(_, least)| load.comes_before(&least)) {
                least = Some((index, load));
            }
        }
        let (index, load) = least?;
        self.take_turn(index, load.due);
        Some(index)
    }

    /// Weighted round robin. Asks only about servers that would be next: most are never touched.
    pub fn next_in_turn(&self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut next: Option<(usize, u64)> = None;
        for (index, share) in self.shares.iter().enumerate() {
            let due = share.due.load(Relaxed);
            let earlier = next.is_none_or(|(_, earliest)| due < earliest);
            if earlier && share.weight > 0 && usable(index) {
                next = Some((index, due));
            }
        }
        let (index, due) = next?;
        self.take_turn(index, due);
        Some(index)
    }

    /// The less loaded of two drawn by weight. `below(n)` is a random number below `n`. Servers
    /// that can't be used are drawn again; when most can't, all are compared instead.
    pub fn two_choices(
        &self,
        in_flight: impl Fn(usize) -> Option<usize>,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<usize> {
        let Some((one, first)) = self.draw(&in_flight, &mut below) else {
            return self.least_loaded(in_flight);
        };
        let others = |index| if index == one { None } else { in_flight(index) };
        let second = self.draw(others, below);
        let lighter = second.filter(|(_, second)| second.is_lighter_than(&first));
        Some(lighter.map_or(one, |(other, _)| other))
    }

    /// `due` is as the picker saw it. Another thread may have picked the same server since; were
    /// `now` to follow that far ahead, the servers due in between would lose their turns.
    fn take_turn(&self, index: usize, due: u64) {
        let share = &self.shares[index];
        let now = self.now.load(Relaxed).max(due);
        if share.due.load(Relaxed) < now {
            share.due.fetch_max(now, Relaxed);
        }
        let stride = stride(self.heaviest, share.weight);
        share.due.fetch_add(stride, Relaxed);
        self.now.fetch_max(due, Relaxed);
    }

    fn draw(
        &self,
        in_flight: impl Fn(usize) -> Option<usize>,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<(usize, Load)> {
        let total = self.up_to.last().copied().filter(|total| *total > 0)?;
        (0..DRAWS).find_map(|_| {
            let number = below(total);
            let index = self.up_to.partition_point(|sum| *sum <= number);
            Some((index, self.shares[index].load(in_flight(index)?)))
        })
    }
}

impl Share {
    fn load(&self, in_flight: usize) -> Load {
        Load {
            in_flight: in_flight as u64,
            weight: self.weight.into(),
            due: self.due.load(Relaxed),
        }
    }
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
        let mine = self.in_flight * other.weight;
        (mine, other.in_flight * self.weight)
    }
}

/// How long a server waits for its next turn. A weight of 0 never gets one.
fn stride(heaviest: u64, weight: u32) -> u64 {
    (STEP * heaviest)
        .checked_div(weight.into())
        .unwrap_or(u64::MAX)
}

fn running_sums(weights: &[u32]) -> Box<[u64]> {
    let add = |sum: &mut u64, weight: &u32| {
        *sum += u64::from(*weight);
        Some(*sum)
    };
    weights.iter().scan(0, add).collect()
}

/// A number below `n`, good for spreading load and nothing secret: xorshift64*, one per thread.
pub fn random_below(n: u64) -> u64 {
    thread_local! {
        // Never 0: xorshift would stay there.
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    let mut x = STATE.get();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    STATE.set(x);
    let x = x.wrapping_mul(0x2545_F491_4F6C_DD1D);
    ((u128::from(x) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PICKS: usize = 100_000;

    fn all(_: usize) -> bool {
        true
    }

    fn idle(_: usize) -> Option<usize> {
        Some(0)
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
        let shares = Shares::new(&[7, 7, 7]);
        let turns: Vec<_> = (0..6).map(|_| shares.next_in_turn(all)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn unequal_servers_are_interleaved() {
        let shares = Shares::new(&[3, 1]);
        let turns: Vec<_> = (0..8).filter_map(|_| shares.next_in_turn(all)).collect();
        assert_eq!(turns, [0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn a_server_that_comes_back_is_not_flooded() {
        let shares = Shares::new(&[1, 1]);
        assert!((0..1000).all(|_| shares.next_in_turn(|i| i == 0) == Some(0)));
        let back = (0..10)
            .filter(|_| shares.next_in_turn(all) == Some(1))
            .count();
        assert!((5..=6).contains(&back), "{back} of 10");
    }

    #[test]
    fn the_fewest_requests_per_weight_win() {
        let shares = Shares::new(&[4, 1, 2]);
        let carried = [7, 2, 3];
        assert_eq!(shares.least_loaded(|i| Some(carried[i])), Some(2));
    }

    #[test]
    fn two_that_tie_among_many_share_equally() {
        let shares = Shares::new(&[1; 10]);
        let carried = |i: usize| Some(usize::from(i > 1));
        let counts = counts(10, || shares.least_loaded(carried).expect("all are usable"));
        assert_eq!(counts[..3], [PICKS / 2, PICKS / 2, 0]);
    }

    #[test]
    fn the_lighter_of_two_different_draws_wins() {
        let shares = Shares::new(&[1, 1, 1]);
        let carried = [5, 0, 2];
        let mut drawn = [0, 0, 2].into_iter();
        let below = |_| drawn.next().expect("three draws at most");
        let picked = shares.two_choices(|i| Some(carried[i]), below);
        assert_eq!(picked, Some(2));
    }

    #[test]
    fn nothing_to_pick_from() {
        for shares in [Shares::new(&[]), Shares::new(&[0, 0])] {
            assert_eq!(shares.least_loaded(idle), None);
            assert_eq!(shares.next_in_turn(all), None);
            assert_eq!(shares.two_choices(idle, random_below), None);
        }
    }

    #[test]
    fn racing_threads_keep_the_shares() {
        let shares = Shares::new(&[5, 3, 2]);
        let counts: [AtomicU64; 3] = Default::default();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..PICKS / 4 {
                        let picked = shares.next_in_turn(all).expect("all are usable");
                        counts[picked].fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_shared_by_weight(&[5, 3, 2], &counts.map(|c| c.into_inner() as usize));
    }

    #[test]
    fn random_numbers_stay_below_and_spread() {
        let counts = counts(10, || random_below(10) as usize);
        assert_shared_by_weight(&[1; 10], &counts);
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
            let picked = Shares::new(&weights).least_loaded(carried);
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
            let shares = Shares::new(&weights);
            let carried = |i: usize| pool[i].2.then_some(pool[i].1 as usize);
            let some_usable = pool.iter().any(|s| s.2 && s.0 > 0);
            for _ in 0..20 {
                for picked in [
                    shares.least_loaded(carried),
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
            let shares = Shares::new(&weights);
            let some = "the first has a weight";
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                shares.least_loaded(idle).expect(some)
            }));
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                shares.next_in_turn(all).expect(some)
            }));
            assert_shared_by_weight(&weights, &counts(weights.len(), || {
                shares.two_choices(idle, random_below).expect(some)
            }));
        }
    }
}
