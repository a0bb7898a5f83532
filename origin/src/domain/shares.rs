//! Who of several does what, without anybody telling them: each finds the same from the same names, and when one
//! comes or goes, only what it does changes hands.

use sha2::{Digest, Sha256};

/// Of the names in `hands`, the one that has `thing`. Rendezvous hashing.
pub fn hand_of<'a>(thing: &str, hands: &'a [String]) -> Option<&'a str> {
    let weight = |hand: &&String| Sha256::digest(format!("{hand}\0{thing}"));
    hands.iter().max_by_key(weight).map(String::as_str)
}

/// Places in `weights`, from the one that is to have `thing` on: each comes first for its share of all things.
/// Weighted rendezvous hashing: an exponential variable of each place's rate, and the smallest is first.
pub fn order_of(thing: &str, weights: &[(&str, u32)]) -> Vec<usize> {
    let distance = |(name, weight): &(&str, u32)| {
        let hash = Sha256::digest(format!("{name}\0{thing}"));
        let (first, _) = hash.split_first_chunk().expect("it has 32 bytes");
        // 52 bits, so that it is neither 0 nor 1.
        let uniform = ((u64::from_be_bytes(*first) >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
        -uniform.ln() / f64::from(*weight)
    };
    let mut places: Vec<_> = weights.iter().map(distance).enumerate().collect();
    places.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    places.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROVIDERS: [(&str, u32); 3] = [("a", 70), ("b", 20), ("c", 10)];

    #[test]
    fn each_comes_first_for_its_share() {
        let mut firsts = [0; 3];
        for thing in 0..10_000 {
            firsts[order_of(&thing.to_string(), &PROVIDERS)[0]] += 1;
        }
        for (count, (_, weight)) in firsts.iter().zip(PROVIDERS) {
            let share = f64::from(*count) / 100.0;
            assert!((share - f64::from(weight)).abs() < 2.0, "{firsts:?}");
        }
    }

    proptest! {
        #[test]
        fn who_goes_leaves_the_order_of_the_others(thing in any::<String>(), gone in 0..3usize) {
            let name = |place: usize| PROVIDERS[place].0;
            let mut expected: Vec<_> = order_of(&thing, &PROVIDERS).into_iter().map(name).collect();
            expected.retain(|one| *one != name(gone));
            let left: Vec<_> = PROVIDERS.into_iter().filter(|(one, _)| *one != name(gone)).collect();
            let order: Vec<_> = order_of(&thing, &left).into_iter().map(|place| left[place].0).collect();
            prop_assert_eq!(order, expected);
        }
    }

    #[test]
    fn who_goes_leaves_the_rest_as_it_was_and_all_have_some() {
        let all: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let fewer = &all[..2];
        let mut counts = [0; 3];
        for thing in (0..300).map(|thing| thing.to_string()) {
            let had = hand_of(&thing, &all).expect("there are three");
            let place = all
                .iter()
                .position(|hand| hand == had)
                .expect("one of them");
            counts[place] += 1;
            if had != "c" {
                assert_eq!(hand_of(&thing, fewer), Some(had));
            }
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
        assert_eq!(hand_of("x", &[]), None);
    }
}
