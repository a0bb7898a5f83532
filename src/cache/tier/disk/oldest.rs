//! Which block of the disk is given up next: the one that was written first.
//!
//! The engine's own picker does not know after a restart which that is. Were a newer block given up
//! before an older one, the older copy of an object that is in both would come back with the next
//! start, though its successor is gone.

use foyer::{EvictionInfo, EvictionPicker};
use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::SystemTime;

type Block = u32;

/// First in, first out.
#[derive(Debug)]
pub struct Oldest {
    /// When the blocks were written that an earlier process left.
    left: HashMap<Block, SystemTime>,
    /// Those, until each is given up, and then the others in order.
    queue: VecDeque<(Option<SystemTime>, Block)>,
}

impl Oldest {
    /// `folder` holds a file for each block. To be called before the engine opens them, which
    /// changes their times.
    pub fn of(folder: &Path) -> io::Result<Oldest> {
        let mut left = HashMap::new();
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.rsplit_once('-'));
            if let Some(block) = number.and_then(|(_, number)| number.parse().ok()) {
                left.insert(block, file.metadata()?.modified()?);
            }
        }
        let queue = VecDeque::new();
        Ok(Oldest { left, queue })
    }

    fn add(&mut self, block: Block) {
        match self.left.remove(&block) {
            None => self.queue.push_back((None, block)),
            Some(written) => {
                let is_older = |(other, _): &(Option<SystemTime>, Block)| {
                    other.is_some_and(|other| other <= written)
                };
                let place = self.queue.partition_point(is_older);
                self.queue.insert(place, (Some(written), block));
            }
        }
    }

    fn remove(&mut self, block: Block) {
        self.left.remove(&block);
        self.queue.retain(|(_, queued)| *queued != block);
    }
}

impl EvictionPicker for Oldest {
    fn pick(&mut self, info: EvictionInfo<'_>) -> Option<Block> {
        let mut blocks = self.queue.iter().map(|(_, block)| *block);
        blocks.find(|block| info.evictable.contains(block))
    }

    fn on_block_evictable(&mut self, _: EvictionInfo<'_>, block: Block) {
        self.add(block);
    }

    fn on_block_evict(&mut self, _: EvictionInfo<'_>, block: Block) {
        self.remove(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn order(oldest: &Oldest) -> Vec<Block> {
        oldest.queue.iter().map(|(_, block)| *block).collect()
    }

    proptest! {
        /// Blocks of before come by their times, whatever the order in which the engine finds them,
        /// and all that are written now come after.
        #[test]
        fn what_was_written_first_goes_first(
            ages in prop::collection::vec(0u64..1000, 1..20),
            found in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let time = |age: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            let left = ages.iter().enumerate().map(|(n, age)| (n as Block, time(*age))).collect();
            let mut oldest = Oldest { left, queue: VecDeque::new() };
            let mut found: Vec<Block> = found.iter().map(|i| i.index(ages.len()) as Block).collect();
            found.extend(0..ages.len() as Block);
            let mut seen = std::collections::HashSet::new();
            found.retain(|block| seen.insert(*block));
            found.iter().for_each(|block| oldest.add(*block));
            let sorted = order(&oldest);
            prop_assert_eq!(sorted.len(), ages.len());
            prop_assert!(sorted.is_sorted_by_key(|block| ages[*block as usize]));
            // The first is given up, and written anew.
            oldest.remove(sorted[0]);
            oldest.add(sorted[0]);
            prop_assert_eq!(order(&oldest).last().copied(), Some(sorted[0]));
        }
    }
}
