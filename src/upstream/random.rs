//! Random numbers that spread load: fast, one stream per thread, nothing secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

thread_local! {
    // Never 0: xorshift would stay there.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

/// A number below `n`: xorshift64*.
pub fn random_below(n: u64) -> u64 {
    let mut x = STATE.get();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    STATE.set(x);
    let x = x.wrapping_mul(0x2545_F491_4F6C_DD1D);
    ((u128::from(x) * u128::from(n)) >> 64) as u64
}

/// Makes this thread draw the same numbers each time it runs: for simulations.
pub fn seed(seed: u64) {
    STATE.set(seed | 1);
}

/// A share of `whole` from `low` to `high`.
pub(super) fn jittered(whole: Duration, low: f64, high: f64) -> Duration {
    let draw = random_below(1 << 32) as f64 / (1u64 << 32) as f64;
    whole.mul_f64(low + (high - low) * draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_and_spread() {
        let mut counts = [0; 10];
        (0..100_000).for_each(|_| counts[random_below(10) as usize] += 1);
        assert!(
            counts.iter().all(|n: &i32| n.abs_diff(10_000) < 1000),
            "{counts:?}"
        );
    }

    #[test]
    fn a_seed_is_a_stream() {
        let draw = || {
            seed(42);
            [(); 8].map(|()| random_below(1000))
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn jitter_stays_in_its_bounds() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_secs(10), 0.9, 1.1);
            assert!((9.0..11.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }
}
