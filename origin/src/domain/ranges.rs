//! Which of several shards has what belongs to a device: each has a range of names, in the order of their bytes, and
//! together they have every name once.

use super::device::DeviceName;
use std::{fmt, str::FromStr};

/// From `first` on, up to `until`, which is not part of it; without one, to the end. Written as a..m, ..m or m..
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    pub first: String,
    pub until: Option<String>,
}

/// Ranges, each with the number of its shard, in order.
#[derive(Debug)]
pub struct Ranges(Vec<(Range, usize)>);

impl Range {
    pub fn all() -> Self {
        Self {
            first: String::new(),
            until: None,
        }
    }
}

impl Ranges {
    /// Or all that is wrong with them, for whoever wrote them.
    pub fn of(mut ranges: Vec<(Range, usize)>) -> Result<Self, Vec<String>> {
        ranges.sort_by(|(one, _), (other, _)| one.first.cmp(&other.first));
        let mut wrong = Vec::new();
        // Up to there all names have a shard; None: to the end.
        let mut reached = Some(String::new());
        let mut last: Option<&Range> = None;
        for (range, _) in &ranges {
            match &reached {
                Some(reached) if *reached < range.first => {
                    wrong.push(format!(
                        "no shard has {}",
                        names(reached, Some(&range.first))
                    ));
                }
                Some(reached) if *reached == range.first => {}
                _ => {
                    let other = last.expect("a name has a shard by a range");
                    let end = earlier(&reached, &range.until);
                    let twice = names(&range.first, end.as_deref());
                    wrong.push(format!(
                        "two shards have {twice}: those of {other} and {range}"
                    ));
                }
            }
            if earlier(&reached, &range.until) == reached {
                (reached, last) = (range.until.clone(), Some(range));
            }
        }
        if let Some(reached) = reached {
            wrong.push(format!("no shard has {}", names(&reached, None)));
        }
        match wrong.is_empty() {
            true => Ok(Self(ranges)),
            false => Err(wrong),
        }
    }

    pub fn shard_of(&self, device: &DeviceName) -> usize {
        let after = |(range, _): &(Range, usize)| range.first.as_str() <= device.as_str();
        let place = self.0.partition_point(after);
        self.0[place - 1].1
    }

    /// What the other shards have.
    pub fn of_others(&self, shard: usize) -> impl Iterator<Item = &Range> {
        let others = self.0.iter().filter(move |(_, other)| *other != shard);
        others.map(|(range, _)| range)
    }
}

/// Of two ends, the one that comes first.
fn earlier(one: &Option<String>, other: &Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other).clone()),
        (None, end) | (end, None) => end.clone(),
    }
}

/// In words.
fn names(first: &str, until: Option<&str>) -> String {
    match (first, until) {
        ("", None) => "any device".into(),
        ("", Some(until)) => format!("devices before `{until}`"),
        (first, None) => format!("devices from `{first}` on"),
        (first, Some(until)) => format!("devices from `{first}` up to `{until}`"),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.until.as_deref().unwrap_or(""))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a range of device names as a..m, ..m, m.. or ..".to_owned();
        let (first, until) = text.split_once("..").ok_or_else(wrong)?;
        let is_name = |name: &str| name.is_empty() || name.parse::<DeviceName>().is_ok();
        if !is_name(first) || !is_name(until) {
            return Err(wrong());
        }
        let until = (!until.is_empty()).then(|| until.to_owned());
        if until.as_deref().is_some_and(|until| until <= first) {
            return Err(format!("the range {text} is empty: its end comes first"));
        }
        Ok(Self {
            first: first.into(),
            until,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(ranges: &[&str]) -> Result<Ranges, Vec<String>> {
        let ranges = ranges.iter().map(|text| text.parse().expect("a range"));
        Ranges::of(ranges.zip(0..).collect())
    }

    fn shard_of(ranges: &Ranges, name: &str) -> usize {
        ranges.shard_of(&name.parse().expect("a name"))
    }

    #[test]
    fn every_name_has_the_shard_of_its_range() {
        let ranges = read(&["m..z", "..m", "z.."]).expect("good ranges");
        let found = ["0", "lz", "m", "m-1", "yz", "z"].map(|name| shard_of(&ranges, name));
        assert_eq!(found, [1, 1, 0, 0, 0, 2]);
        let others: Vec<_> = ranges.of_others(0).map(Range::to_string).collect();
        assert_eq!(others, ["..m", "z.."]);
    }

    #[test]
    fn gaps_and_overlaps_are_named_all_at_once() {
        let wrong = |ranges: &[&str]| read(ranges).expect_err("they are wrong").join("; ");
        assert_eq!(wrong(&[]), "no shard has any device");
        let gaps = "no shard has devices before `b`; no shard has devices from `g` up to `m`; \
                    no shard has devices from `z` on";
        assert_eq!(wrong(&["m..z", "b..g"]), gaps);
        let twice = "two shards have devices from `g` up to `m`: those of ..m and g..";
        assert_eq!(wrong(&["..m", "g.."]), twice);
        // One that has another within it reaches further.
        let within = "two shards have devices from `b` up to `c`: those of .. and b..c; \
                      two shards have devices from `d` on: those of .. and d..";
        assert_eq!(wrong(&["..", "b..c", "d.."]), within);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "a", "m..a", "a..a", "A..b", "a...b", "a..b..c"] {
            assert!(text.parse::<Range>().is_err(), "{text:?}");
        }
        for text in ["..", "a..", "..m", "a..m", "a-1..b"] {
            let range: Range = text.parse().expect("a range");
            assert_eq!(range.to_string(), text);
        }
    }

    proptest! {
        /// However they are cut and listed: it is the shard whose range has the name.
        #[test]
        fn cuts_leave_neither_gaps_nor_overlaps(
            cuts in prop::collection::btree_set("[a-z0-9-]{1,3}", 0..6),
            name in "[a-z0-9-]{1,4}",
            turn in 0usize..6,
        ) {
            let cuts: Vec<String> = cuts.into_iter().collect();
            let firsts = [String::new()].into_iter().chain(cuts.clone());
            let ends = cuts.into_iter().map(Some).chain([None]);
            let mut ranges: Vec<Range> =
                firsts.zip(ends).map(|(first, until)| Range { first, until }).collect();
            let turn = turn % ranges.len();
            ranges.rotate_left(turn);
            let all = Ranges::of(ranges.iter().cloned().zip(0..).collect()).expect("good ranges");
            let has = &ranges[shard_of(&all, &name)];
            prop_assert!(has.first <= name && has.until.as_ref().is_none_or(|until| name < *until));
            // Without one of them there is a gap; with one of them twice, an overlap.
            let twice = ranges.iter().chain(ranges.first()).cloned().zip(0..).collect();
            prop_assert!(Ranges::of(twice).is_err());
            let fewer = ranges[1..].iter().cloned().zip(0..).collect();
            prop_assert!(Ranges::of(fewer).is_err());
        }
    }
}
