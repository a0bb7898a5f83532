use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// What may be done, to one of few keys so that they meet.
#[derive(Clone, Debug)]
enum Act {
    Get(u8),
    Insert(u8, u64),
    Reweigh(u8, u64),
    Remove(u8),
    Resize(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let weight = || 0..60u64;
    prop_oneof![
        4 => any::<u8>().prop_map(Act::Get),
        4 => (any::<u8>(), weight()).prop_map(|(key, weight)| Act::Insert(key, weight)),
        1 => (any::<u8>(), weight()).prop_map(|(key, weight)| Act::Reweigh(key, weight)),
        1 => any::<u8>().prop_map(Act::Remove),
        1 => (0..1000u64).prop_map(Act::Resize),
    ]
}

/// With as many shards as wanted, whatever the capacity.
fn sharded<K: Hash + Eq, V: Clone>(capacity: u64, shards: usize) -> Slots<K, V> {
    Slots {
        shards: (0..shards).map(|_| RwLock::default()).collect(),
        ..Slots::new(capacity)
    }
}

fn contents(slots: &Slots<u8, u64>) -> HashMap<u8, u64> {
    let mut contents = HashMap::new();
    slots.for_each(|key, value| assert!(contents.insert(*key, *value).is_none()));
    contents
}

/// Queues, index and places say the same.
fn check<K: Hash + Eq, V: Clone>(slots: &Slots<K, V>) {
    let mut all = 0;
    for shard in &slots.shards {
        let shard = shard.read().expect(UNPOISONED);
        let mut linked = 0;
        for (queue, is_old) in [(&shard.young, false), (&shard.old, true)] {
            let (mut at, mut newer, mut weight) = (queue.newest, NOWHERE, 0);
            while at != NOWHERE {
                let entry = shard.entry(at);
                assert_eq!((entry.newer, entry.is_old), (newer, is_old));
                assert_eq!(shard.place(entry.hash, &entry.key), Some(at));
                (weight, linked) = (weight + entry.weight, linked + 1);
                (at, newer) = (entry.older, at);
            }
            assert_eq!((queue.oldest, queue.weight), (newer, weight));
            all += weight;
        }
        assert_eq!(linked, shard.index.len());
        assert_eq!(linked + shard.free.len(), shard.entries.len());
    }
    assert_eq!(all, slots.weight());
}

proptest! {
    /// What is given is what was last kept under the key; what goes is told; and after every step
    /// there is no more than there may be.
    #[test]
    fn nothing_is_mixed_up_lost_unseen_or_kept_beyond_the_capacity(
        acts in prop::collection::vec(act(), 0..400),
        shards in 1..4usize,
    ) {
        let slots = sharded(500, shards);
        // Values are unique: the number of the act that brought them.
        let mut model: HashMap<u8, (u64, u64)> = HashMap::new();
        let mut capacity = 500;
        for (number, act) in (0..).zip(acts) {
            let gone = match act {
                Act::Get(key) => {
                    prop_assert_eq!(slots.get(&key), model.get(&key).map(|(value, _)| *value));
                    vec![]
                }
                Act::Insert(key, weight) => {
                    model.insert(key, (number, weight));
                    slots.insert(key, number, weight)
                }
                Act::Reweigh(key, weight) => {
                    if let Some((_, known)) = model.get_mut(&key) {
                        *known = weight;
                    }
                    slots.reweigh(&key, |_| Some(weight))
                }
                Act::Remove(key) => {
                    prop_assert_eq!(slots.remove(&key), model.remove(&key).map(|(value, _)| value));
                    vec![]
                }
                Act::Resize(to) => {
                    capacity = to;
                    slots.resize(capacity)
                }
            };
            for value in gone {
                let before = model.len();
                model.retain(|_, (known, _)| *known != value);
                prop_assert_eq!(model.len(), before - 1, "told of what was not there");
            }
            let all = model.iter().map(|(key, (value, _))| (*key, *value)).collect();
            prop_assert_eq!(contents(&slots), all);
            prop_assert_eq!(slots.weight(), model.values().map(|(_, weight)| weight).sum::<u64>());
            prop_assert!(slots.weight() <= capacity);
            prop_assert_eq!(slots.len(), model.len());
            check(&slots);
        }
    }
}

#[test]
fn what_is_asked_for_stays_while_others_pass_by() {
    let slots = sharded(1000, 1);
    for wanted in 0..50 {
        slots.insert(wanted, wanted, 10);
    }
    for passing in 1000..20_000 {
        let there = (0..50).filter(|wanted| slots.get(wanted).is_some());
        assert_eq!(there.count(), 50);
        slots.insert(passing, passing, 10);
    }
}

#[test]
fn what_was_wanted_and_is_no_more_makes_room() {
    let slots = sharded(1000, 1);
    let ask = |keys: std::ops::Range<u32>| {
        for _ in 0..40 {
            for key in keys.clone() {
                if slots.get(&key).is_none() {
                    slots.insert(key, key, 10);
                }
            }
        }
    };
    ask(0..90);
    ask(1000..1090);
    let kept = (1000..1090).filter(|key| slots.get(key).is_some()).count();
    assert!(kept >= 80, "{kept} of 90");
}

#[test]
fn few_that_are_large_change_places_too() {
    let slots = sharded(1000, 1);
    for key in 0..10 {
        slots.insert(key, key, 240);
        assert_eq!(slots.get(&key), Some(key), "the newest is kept");
    }
    assert_eq!(slots.insert(99, 99, 1001), [99]);
    assert_eq!(slots.get(&99), None);
}

#[test]
fn many_threads_leave_it_whole() {
    let slots: Slots<u64, Arc<u64>> = sharded(4000, 4);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let slots = &slots;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    let key = random.u64(..1000);
                    match random.u8(..8) {
                        0 => drop(slots.remove(&key)),
                        1..4 => drop(slots.insert(key, Arc::new(key), random.u64(..50))),
                        _ => assert!(slots.get(&key).is_none_or(|value| *value == key)),
                    }
                }
            });
        }
    });
    check(&slots);
    assert!(slots.weight() <= 4000);
}
