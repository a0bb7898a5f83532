//! Who of several does what, without anybody telling them: each finds the same from the same names, and when one
//! comes or goes, only what it does changes hands.

use sha2::{Digest, Sha256};

/// Of the names in `hands`, the one that has `thing`. Rendezvous hashing.
pub fn hand_of<'a>(thing: &str, hands: &'a [String]) -> Option<&'a str> {
    let weight = |hand: &&String| Sha256::digest(format!("{hand}\0{thing}"));
    hands.iter().max_by_key(weight).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

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
