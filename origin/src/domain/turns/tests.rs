//! Crowds of clients of all kinds, on a clock of their own.

use super::*;
use proptest::prelude::*;

const FEW: usize = 3;

/// What clients may do; which one, by its place among those that can.
#[derive(Clone, Debug)]
enum Step {
    Enter { left: u64 },
    Come { which: usize, bytes: u64 },
    Leave { which: usize },
    Wait { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![0..TRICKLE, TRICKLE..2 * FAST];
    let step = prop_oneof![
        (1..10 * FAST).prop_map(|left| Step::Enter { left }),
        (any::<usize>(), bytes).prop_map(|(which, bytes)| Step::Come { which, bytes }),
        any::<usize>().prop_map(|which| Step::Leave { which }),
        prop_oneof![0..30u64, 0..150u64, Just(3100)].prop_map(|millis| Step::Wait { millis }),
    ];
    prop::collection::vec(step, 0..200)
}

struct Crowd {
    turns: Turns,
    numbers: Vec<u64>,
    now: Instant,
}

impl Crowd {
    fn new() -> Self {
        Self {
            turns: Turns::of(FEW),
            numbers: Vec::new(),
            now: Instant::now(),
        }
    }

    fn enter(&mut self, left: u64) -> u64 {
        let number = self.turns.enter(left, self.now);
        self.numbers.push(number);
        number
    }

    fn leave(&mut self, number: u64) -> Option<u64> {
        self.numbers.retain(|one| *one != number);
        self.turns.leave(number, self.now)
    }

    fn go(&mut self, step: &Step) -> Option<u64> {
        match *step {
            Step::Enter { left } => {
                self.enter(left);
                None
            }
            Step::Come { which, bytes } => {
                let mut read = self.numbers.clone();
                read.retain(|number| self.waits_since(*number).is_none());
                let number = *read.get(which.checked_rem(read.len())?)?;
                self.turns.came(number, bytes, self.now)
            }
            Step::Leave { which } => {
                let which = which.checked_rem(self.numbers.len())?;
                self.leave(self.numbers[which])
            }
            Step::Wait { millis } => {
                self.now += Duration::from_millis(millis);
                None
            }
        }
    }

    fn waits_since(&self, number: u64) -> Option<Instant> {
        match self.turns.standing(number) {
            Standing::Waiting { since } => Some(since),
            Standing::Slow | Standing::Fast { .. } => None,
        }
    }

    fn waiting(&self) -> Vec<u64> {
        let numbers = self.numbers.iter().copied();
        numbers
            .filter(|number| self.waits_since(*number).is_some())
            .collect()
    }

    fn fast(&self) -> Vec<u64> {
        let is_fast = |number: &u64| matches!(self.turns.standing(*number), Standing::Fast { .. });
        self.numbers.iter().copied().filter(is_fast).collect()
    }

    /// For so long that nobody keeps a turn.
    fn nothing_comes(&mut self) {
        self.now += EARLY;
        for number in self.fast() {
            self.turns.came(number, 0, self.now);
        }
    }
}

proptest! {
    /// More than usual only by one who has waited too long.
    #[test]
    fn no_more_turns_are_out_than_there_are_and_none_is_kept_while_somebody_waits(steps in steps()) {
        let mut crowd = Crowd::new();
        for step in &steps {
            let before = crowd.waiting();
            let since: Vec<_> = before.iter().map(|one| crowd.waits_since(*one)).collect();
            let most = crowd.fast().len().max(FEW);
            let told = crowd.go(step);
            let (fast, waiting) = (crowd.fast(), crowd.waiting());
            prop_assert_eq!(fast.len(), crowd.turns.out);
            prop_assert!(waiting.is_empty() || fast.len() >= crowd.turns.turns);
            let place = before.iter().position(|one| told == Some(*one));
            let was_late = place.and_then(|place| since[place]).is_some_and(|at| crowd.now - at >= PATIENCE);
            prop_assert!(fast.len() <= most || was_late);
            // Who has a turn now and waited for it is told, and nobody else.
            prop_assert!(told.is_none_or(|one| fast.contains(&one)));
            let called: Vec<_> = before.into_iter().filter(|one| fast.contains(one)).collect();
            prop_assert!(called.is_empty() || called == told.into_iter().collect::<Vec<_>>());
        }
        for number in crowd.numbers.clone() {
            crowd.leave(number);
        }
        let turns = &crowd.turns;
        prop_assert_eq!((turns.out, turns.turns, turns.uploads.len()), (0, FEW, 0));
    }

    /// Of those who wait, the one is next that has waited longest, if that is longer than `PATIENCE`, else the one
    /// with the least left.
    #[test]
    fn who_is_next_has_least_left_or_has_waited_too_long(steps in steps()) {
        let mut crowd = Crowd::new();
        for step in &steps {
            let before: Vec<_> = crowd.waiting().into_iter().map(|number| {
                let since = crowd.waits_since(number).expect("it waits");
                (number, since, crowd.turns.upload(number).left)
            }).collect();
            let told = crowd.go(step);
            let Some((_, since, left)) = before.iter().find(|one| Some(one.0) == told) else {
                continue;
            };
            let is_late = |since: Instant| crowd.now.duration_since(since) >= PATIENCE;
            let others = before.iter().filter(|one| crowd.numbers.contains(&one.0));
            for (_, others_since, others_left) in others {
                match is_late(*others_since) {
                    true => prop_assert!(since <= others_since),
                    false => prop_assert!(is_late(*since) || left <= others_left),
                }
            }
        }
    }

    /// However many come that are fast and have less left.
    #[test]
    fn who_waits_has_a_turn_in_the_end(lefts in prop::collection::vec(1..4 * FAST, 1..30)) {
        let mut crowd = Crowd::new();
        let victim = crowd.enter(20 * FAST);
        let mut smaller = lefts.iter().cycle();
        // The victim's patience, and each of the others with one turn after that, of at most four windows.
        let windows = u32::try_from(lefts.len() * 5).expect("few");
        let deadline = crowd.now + PATIENCE + WINDOW * windows;
        while !crowd.fast().contains(&victim) {
            prop_assert!(crowd.now <= deadline);
            crowd.now += WINDOW;
            while crowd.numbers.len() <= lefts.len() {
                crowd.enter(*smaller.next().expect("it has no end"));
            }
            for number in crowd.numbers.clone() {
                if crowd.waits_since(number).is_none() {
                    crowd.turns.came(number, FAST, crowd.now);
                }
                if crowd.turns.upload(number).left == 0 {
                    crowd.leave(number);
                }
            }
        }
    }

    /// Whatever the others do, and whatever they did.
    #[test]
    fn who_gives_little_neither_waits_nor_is_waited_for(steps in steps(), bytes in 1..=TRICKLE) {
        let mut crowd = Crowd::new();
        let slow = crowd.turns.enter(20 * FAST, crowd.now);
        for step in &steps {
            crowd.go(step);
            crowd.now += WINDOW;
            crowd.turns.came(slow, bytes, crowd.now);
            prop_assert_eq!(crowd.turns.standing(slow), Standing::Slow);
        }
        for _ in 0..=crowd.numbers.len() {
            crowd.nothing_comes();
        }
        prop_assert_eq!((crowd.waiting(), crowd.turns.out), (vec![], 0));
    }
}

#[test]
fn who_becomes_slow_is_read_without_a_turn_until_it_is_fast_again() {
    let mut turns = Turns::of(1);
    let start = Instant::now();
    let one = turns.enter(20 * FAST, start);
    let other = turns.enter(10 * FAST, start);
    assert_eq!(turns.came(one, TRICKLE, start), None);
    assert_eq!(turns.standing(one), Standing::Slow);
    assert_eq!(turns.came(one, 1, start), Some(one));
    assert_eq!(turns.came(other, TRICKLE + 1, start), None);
    assert_eq!(turns.standing(other), Standing::Waiting { since: start });

    let until = start + WINDOW;
    let fast = |since, until| Standing::Fast { since, until };
    assert_eq!(turns.standing(one), fast(start, until));
    assert_eq!(turns.came(one, 0, until), Some(other));
    turns.begin(other, until + WINDOW);
    assert_eq!(turns.standing(other), fast(start, until + 2 * WINDOW));
    assert_eq!(turns.came(one, FAST, until), None);
    assert_eq!(turns.standing(one), Standing::Slow);
    assert_eq!(turns.came(one, 1, until), None);
    assert_eq!(turns.standing(one), Standing::Waiting { since: until });
    assert_eq!(turns.leave(other, until), Some(one));
    assert_eq!(turns.leave(one, until), None);
    assert_eq!(turns.out, 0);
}

#[test]
fn a_turn_is_kept_by_what_it_brings_and_may_be_late_by_as_much_as_it_was_early() {
    let mut turns = Turns::of(1);
    let mut now = Instant::now();
    let one = turns.enter(1000 * FAST, now);
    assert_eq!(turns.came(one, FAST, now), Some(one));
    let fast = |turns: &Turns| matches!(turns.standing(one), Standing::Fast { .. });
    for _ in 0..100 {
        now += WINDOW / 2;
        turns.came(one, FAST / 2 + 1, now);
        assert!(fast(&turns));
    }
    turns.came(one, 100 * FAST, now);
    turns.came(one, 0, now + EARLY - Duration::from_millis(1));
    assert!(fast(&turns));
    turns.came(one, 0, now + EARLY);
    assert_eq!(turns.standing(one), Standing::Slow);
}

/// A hundred lines of 100 Mbit/s need not be read one after the other.
#[test]
fn a_crowd_that_is_just_fast_enough_has_more_turns() {
    const STEP: Duration = Duration::from_millis(10);
    let a_step = 12_500_000 / 100;
    let mut crowd = Crowd::new();
    crowd.turns = Turns::of(1);
    let start = crowd.now;
    for _ in 0..100 {
        crowd.enter(40 * a_step);
    }
    let (mut at_once, mut later) = (0, 0);
    while !crowd.numbers.is_empty() {
        crowd.now += STEP;
        for number in crowd.numbers.clone() {
            if crowd.waits_since(number).is_none() {
                crowd.turns.came(number, a_step, crowd.now);
            }
            if crowd.turns.upload(number).left == 0 {
                crowd.leave(number);
            }
        }
        match crowd.now - start < PATIENCE {
            true => at_once = at_once.max(crowd.fast().len()),
            false => later = later.max(crowd.fast().len()),
        }
    }
    // One after the other it would be 40 s.
    assert!(crowd.now - start < Duration::from_secs(8));
    assert!(at_once == 1 && later > 10);
    assert_eq!(crowd.turns.turns, 1);
}
