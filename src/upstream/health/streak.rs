//! Active health: how many probes in a row it takes to change one's mind.

/// Up or down, and how many probes in a row have said the opposite.
#[derive(Debug)]
pub struct Streak {
    up: bool,
    against: u32,
}

/// Probes in a row that it takes.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub down: u32,
    pub up: u32,
}

impl Streak {
    pub fn new() -> Streak {
        Streak {
            up: true,
            against: 0,
        }
    }

    pub fn up(&self) -> bool {
        self.up
    }

    /// Up, with nothing lately that speaks against it.
    pub fn settled_up(&self) -> bool {
        self.up && self.against == 0
    }

    /// Takes a probe's result; true when it turned the state.
    pub fn observe(&mut self, healthy: bool, thresholds: Thresholds) -> bool {
        if healthy == self.up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let enough = match self.up {
            true => thresholds.down,
            false => thresholds.up,
        };
        self.against >= enough && self.set(healthy)
    }

    /// Whatever the streak; true when it was the opposite.
    pub fn set(&mut self, up: bool) -> bool {
        self.against = 0;
        std::mem::replace(&mut self.up, up) != up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The state is what the last run of equal results, as long as its threshold, has said.
        #[test]
        fn a_streak_turns_exactly_at_its_threshold(
            results in proptest::collection::vec(any::<bool>(), 0..60),
            (down, up) in (1..4u32, 1..4u32),
        ) {
            let mut streak = Streak::new();
            let (mut is_up, mut last, mut run) = (true, true, 0);
            for healthy in results {
                run = if healthy == last { run + 1 } else { 1 };
                last = healthy;
                let enough = if healthy { up } else { down };
                let turns = healthy != is_up && run >= enough;
                prop_assert_eq!(streak.observe(healthy, Thresholds { down, up }), turns);
                is_up ^= turns;
                prop_assert_eq!(streak.up(), is_up);
            }
        }
    }
}
