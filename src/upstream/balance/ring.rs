//! The consistent hash ring: equal keys meet the same server, and few move when servers change.
//!
//! Each server has points on a ring of 2⁶⁴ places, as many as its weight says; a key belongs to
//! the first point at or after it. Points come from the address alone, so every edge of a fleet,
//! and every start of it, has the same ring. The load is bounded ("Consistent Hashing with
//! Bounded Loads", Mirrokni et al.): a server with 1.25 times its share is passed by, so that one
//! loud key can't take a server down.

use super::Shares;

/// Points of a server of mean weight. Its share of the keys is off by 1/√160, 8 %.
const POINTS: usize = 160;

/// On all of a ring: looking a key up must stay within a processor's cache.
const MOST_POINTS: usize = 1 << 16;

/// How far above its share a server may be loaded, in quarters.
const BOUND: (u64, u64) = (5, 4);

pub struct Ring {
    /// By hash. The second is a place in the pool.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// `ids` and weights of a pool's servers, by place.
    pub fn new(servers: &[(u64, u32)]) -> Ring {
        let total: u64 = servers.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let weighing = servers.iter().filter(|(_, weight)| *weight > 0).count();
        let points = (weighing * POINTS).min(MOST_POINTS) as u64;
        let of = |(place, (id, weight)): (usize, &(u64, u32))| {
            let share = u64::from(*weight) * points;
            let count = share
                .checked_div(total)
                .unwrap_or(0)
                .max((*weight > 0).into());
            let id = *id;
            (0..count).map(move |n| (mix(id ^ mix(n)), place as u32))
        };
        let mut points: Box<[_]> = servers.iter().enumerate().flat_map(of).collect();
        points.sort_unstable();
        Ring { points }
    }

    /// The server of `key`, or the next one on the ring that is among `shares`, may have one more
    /// request, and is not loaded beyond its bound. `load` is what all of them carry. None when no
    /// server fits.
    pub fn find(
        &self,
        key: u64,
        load: usize,
        shares: &Shares,
        in_flight: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        let (load, total) = (load as u64 + 1, shares.total());
        let fits = |place: usize| {
            let weight = Some(shares.weight(place)).filter(|weight| *weight > 0)?;
            let carried = in_flight(place)? as u64;
            let (above, below) = BOUND;
            (carried * total * below < load * u64::from(weight) * above).then_some(place)
        };
        self.from(key).find_map(|place| fits(place as usize))
    }

    /// Places from `key` on, each point once.
    fn from(&self, key: u64) -> impl Iterator<Item = u32> {
        let start = self.points.partition_point(|(hash, _)| *hash < key);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|(_, place)| *place)
    }
}

/// A place on the ring for what a request is told apart by. The same on every edge: FNV-1a, mixed
/// because its high bits are poor for short texts.
pub fn hash_of(key: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    mix(key.iter().fold(0xCBF2_9CE4_8422_2325, step))
}

/// Another place for a place: the finish of splitmix64.
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::{Share, Turns};
    use super::*;
    use proptest::prelude::*;

    const KEYS: u64 = 20_000;

    fn servers(weights: &[u32]) -> Vec<(u64, u32)> {
        let id = |n: usize| hash_of(format!("10.0.0.{n}:80").as_bytes());
        let weighed = weights.iter().enumerate();
        weighed.map(|(n, weight)| (id(n), *weight)).collect()
    }

    fn shares(weights: &[u32]) -> Shares {
        let share = |(place, weight): (usize, &u32)| Share {
            place: place as u32,
            weight: *weight,
        };
        let turns = Turns::new(weights.len());
        Shares::new(weights.iter().enumerate().map(share), turns)
    }

    fn homes(ring: &Ring, shares: &Shares) -> Vec<usize> {
        let keys = (0..KEYS).map(|n| hash_of(&n.to_be_bytes()));
        let home = |key| ring.find(key, 0, shares, |_| Some(0));
        keys.map(|key| home(key).expect("all are usable")).collect()
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let weights = [1, 2, 1, 0, 4];
        let homes = homes(&Ring::new(&servers(&weights)), &shares(&weights));
        for (place, weight) in weights.iter().enumerate() {
            let got = homes.iter().filter(|home| **home == place).count() as f64;
            let wanted = KEYS as f64 * f64::from(*weight) / 8.0;
            assert!(
                (got - wanted).abs() <= wanted * 0.25,
                "{place}: {got} of {wanted}"
            );
        }
    }

    #[test]
    fn only_the_keys_of_a_server_that_is_out_move() {
        let ring = Ring::new(&servers(&[1; 5]));
        let (all, without) = (shares(&[1; 5]), shares(&[1, 1, 0, 1, 1]));
        for (before, after) in homes(&ring, &all).iter().zip(homes(&ring, &without)) {
            assert!(*before == after || *before == 2, "{before} to {after}");
            assert_ne!(after, 2);
        }
    }

    #[test]
    fn few_keys_move_when_a_server_is_added() {
        let before = homes(&Ring::new(&servers(&[1; 9])), &shares(&[1; 9]));
        let after = homes(&Ring::new(&servers(&[1; 10])), &shares(&[1; 10]));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
        assert!(
            moved.iter().all(|(_, after)| **after == 9),
            "only to the new one"
        );
        assert!(
            moved.len() < KEYS as usize * 14 / 100,
            "{} moved",
            moved.len()
        );
    }

    #[test]
    fn a_ring_is_the_same_after_a_restart() {
        // Written down once: other numbers would move every client of a fleet at an upgrade.
        let ring = Ring::new(&servers(&[1; 5]));
        let all = shares(&[1; 5]);
        let home = |key: &str| ring.find(hash_of(key.as_bytes()), 0, &all, |_| Some(0));
        let found = ["device-1", "device-2", "device-3", "device-4"].map(home);
        assert_eq!(found, [2, 3, 4, 2].map(Some));
    }

    #[test]
    fn nobody_fits_in_an_empty_ring() {
        let ring = Ring::new(&servers(&[0, 0]));
        assert_eq!(ring.find(7, 0, &shares(&[0, 0]), |_| Some(0)), None);
        let ring = Ring::new(&servers(&[1, 1]));
        assert_eq!(ring.find(7, 0, &shares(&[1, 1]), |_| None), None);
    }

    proptest! {
        /// One key for everything: no server gets more than 5/4 of its share, rounded up.
        #[test]
        fn a_loud_key_fills_no_server_beyond_its_bound(
            weights in proptest::collection::vec(1..9u32, 1..12),
            requests in 1..400usize,
        ) {
            let (ring, shares) = (Ring::new(&servers(&weights)), shares(&weights));
            let mut carried = vec![0usize; weights.len()];
            for load in 0..requests {
                let picked = ring.find(7, load, &shares, |place| Some(carried[place]));
                carried[picked.expect("somebody is below the mean")] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (carried, weight) in carried.iter().zip(&weights) {
                let share = requests as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!(*carried as f64 <= (share * 1.25).ceil(), "{carried} of {share}");
            }
        }
    }
}
