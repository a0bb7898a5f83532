//! Who is refused most, in little memory whoever comes: the Space-Saving algorithm (Metwally,
//! Agrawal, El Abbadi 2005) over the last five to ten minutes.

use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(300);
/// Who has more than one in so many of a window's refusals is among those known.
const KNOWN: usize = 256;

pub struct Heavy {
    began: Instant,
    current: Counts,
    /// Of the window before.
    before: Counts,
}

/// An address that limits refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limited {
    pub address: IpAddr,
    /// How often; never less than it was, and more by what others had whose place it took.
    pub refused: u64,
    /// The limit that did so last.
    pub by: String,
}

type Counts = HashMap<IpAddr, (u64, String)>;

impl Heavy {
    pub fn new(now: Instant) -> Heavy {
        Heavy {
            began: now,
            current: Counts::new(),
            before: Counts::new(),
        }
    }

    pub fn note(&mut self, address: IpAddr, by: &str, now: Instant) {
        self.turn(now);
        if let Some((count, limit)) = self.current.get_mut(&address) {
            *count += 1;
            if limit != by {
                *limit = by.to_owned();
            }
            return;
        }
        let mut inherited = 0;
        if self.current.len() == KNOWN {
            let least = self.current.iter().min_by_key(|(_, (count, _))| *count);
            let (least, count) = least.map(|(a, (c, _))| (*a, *c)).expect("there are some");
            self.current.remove(&least);
            inherited = count;
        }
        self.current.insert(address, (inherited + 1, by.to_owned()));
    }

    /// The most refused first.
    pub fn top(&mut self, most: usize, now: Instant) -> Vec<Limited> {
        self.turn(now);
        let mut all = self.before.clone();
        for (address, (count, by)) in &self.current {
            let known = all.entry(*address).or_insert((0, String::new()));
            *known = (known.0 + count, by.clone());
        }
        let limited = all.into_iter().map(|(address, (refused, by))| Limited {
            address,
            refused,
            by,
        });
        let mut limited: Vec<_> = limited.collect();
        limited.sort_by(|a, b| b.refused.cmp(&a.refused).then(a.address.cmp(&b.address)));
        limited.truncate(most);
        limited
    }

    fn turn(&mut self, now: Instant) {
        let windows = now.saturating_duration_since(self.began).as_secs() / WINDOW.as_secs();
        if windows == 0 {
            return;
        }
        self.before = std::mem::take(&mut self.current);
        if windows > 1 {
            self.before.clear();
        }
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    proptest! {
        /// Space-Saving: never too little, at most N/KNOWN too much, and who has more than that is there.
        #[test]
        fn who_is_refused_most_is_known(
            heavy_ones in prop::collection::vec((0u16..50, 20u64..200), 1..20),
            others in 0u16..2000,
        ) {
            let now = Instant::now();
            let (mut heavy, mut truth) = (Heavy::new(now), HashMap::<u16, u64>::new());
            let mut note = |n: u16| {
                *truth.entry(n).or_default() += 1;
                heavy.note(address(n), "few", now);
            };
            for (n, times) in heavy_ones {
                (0..times).for_each(|_| note(n));
            }
            (100..100 + others).for_each(&mut note);
            let total: u64 = truth.values().sum();
            let bound = total / KNOWN as u64;
            let top = heavy.top(KNOWN, now);
            for (n, times) in &truth {
                let found = top.iter().find(|limited| limited.address == address(*n));
                match found {
                    Some(found) => {
                        prop_assert!((*times..=*times + bound).contains(&found.refused));
                    }
                    None => prop_assert!(*times <= bound, "{times} of {total}"),
                }
            }
            prop_assert!(top.is_sorted_by(|a, b| a.refused >= b.refused));
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let start = Instant::now();
        let mut heavy = Heavy::new(start);
        heavy.note(address(1), "few", start);
        heavy.note(address(1), "fewer", start + WINDOW);
        let top = heavy.top(9, start + WINDOW);
        assert_eq!((top[0].refused, top[0].by.as_str()), (2, "fewer"));
        assert_eq!(heavy.top(9, start + 2 * WINDOW)[0].refused, 1);
        assert!(heavy.top(9, start + 4 * WINDOW).is_empty());
    }
}
