//! Pages of a list, newest first. A cursor names the last entry seen, so entries that come or go
//! meanwhile neither repeat nor hide others, and page one million costs what page one does.

use super::clock::Moment;
use super::fields::{Faults, Invalid};
use serde::Deserialize;
use std::{fmt, str::FromStr};

const MOST: u32 = 100;
const USUAL: u32 = 20;

/// A question for one page, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<C = Cursor> {
    pub limit: u32,
    pub after: Option<C>,
}

/// The identifier of the last entry seen; opaque to clients, so that the order may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cursor(pub i64);

/// The same for lists whose entries are in several databases, where those that are newer need not have higher
/// numbers: newer ones come first, and of those of one second the higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// To the second.
    pub at: Moment,
    pub id: i64,
}

/// The question as asked, for lists that are asked nothing else.
#[derive(Debug, Default, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

impl PageQuery {
    pub fn check<C: FromStr<Err = ()>>(self) -> Result<Page<C>, Invalid> {
        let mut faults = Faults::default();
        let page = Page::read(self.limit.as_deref(), self.cursor.as_deref(), &mut faults);
        faults.finish(page)
    }
}

impl<C: FromStr<Err = ()>> Page<C> {
    /// Some page, where something is wrong; the faults say so.
    pub fn read(limit: Option<&str>, cursor: Option<&str>, faults: &mut Faults) -> Self {
        let limit = limit.map_or(Some(USUAL), |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        });
        let after = cursor.map(str::parse).transpose();
        faults.note(
            "limit",
            limit.is_some(),
            "must be a whole number from 1 to 100",
        );
        faults.note(
            "cursor",
            after.is_ok(),
            "must be the `next` of an earlier page",
        );
        Self {
            limit: limit.unwrap_or(USUAL),
            after: after.unwrap_or_default(),
        }
    }
}

impl Page {
    /// Entries older than this are on the page.
    pub fn before(&self) -> i64 {
        self.after.map_or(i64::MAX, |cursor| cursor.0)
    }
}

impl Page<Stamp> {
    /// Entries before this one are on the page.
    pub fn before(&self) -> Stamp {
        self.after.unwrap_or(Stamp::LAST)
    }

    /// Of what several databases found, each the newest it has, the newest; one more than the page holds.
    pub fn newest<T>(&self, mut found: Vec<T>, stamp: impl Fn(&T) -> Stamp) -> Vec<T> {
        found.sort_by_key(|entry| std::cmp::Reverse(stamp(entry)));
        found.truncate(self.limit as usize + 1);
        found
    }
}

impl<C> Page<C> {
    /// Cuts what was found, one more than the page holds if there is more, and says where the next
    /// page begins.
    pub fn cut<T, P: Into<C>>(&self, found: &mut Vec<T>, place: impl Fn(&T) -> P) -> Option<C> {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more)?;
        Some(place(last).into())
    }
}

impl Stamp {
    pub const LAST: Self = Self {
        at: Moment(253_402_300_799_000),
        id: i64::MAX,
    };
}

impl From<i64> for Cursor {
    fn from(id: i64) -> Self {
        Self(id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        number(text.strip_prefix('n').ok_or(())?).map(Self)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{:x}-{:x}", self.at.seconds(), self.id)
    }
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text
            .strip_prefix('t')
            .and_then(|both| both.split_once('-'))
            .ok_or(())?;
        let at = Moment(0).plus_seconds(number(at)?);
        let id = number(id)?;
        (at <= Self::LAST.at).then_some(Self { at, id }).ok_or(())
    }
}

/// In hexadecimal digits as they are written here: a page has one cursor, and an edge one key for it.
fn number(digits: &str) -> Result<i64, ()> {
    let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.starts_with('0') || !digits.bytes().all(plain) {
        return Err(());
    }
    match i64::from_str_radix(digits, 16) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_survives_the_round_trip() {
        for id in [1, 255, i64::MAX] {
            assert_eq!(Cursor(id).to_string().parse(), Ok(Cursor(id)));
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in [
            "",
            "n",
            "5",
            "n-1",
            "n0",
            "nzz",
            "n10000000000000000",
            "n+5",
            "nF",
            "n05",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn a_page_is_cut_where_the_next_begins() {
        let page: Page = PageQuery::default().check().expect("a good question");
        assert_eq!((page.limit, page.before()), (20, i64::MAX));
        let mut found: Vec<i64> = (1..=21).rev().collect();
        assert_eq!(page.cut(&mut found, |id| *id), Some(Cursor(2)));
        assert_eq!(found.len(), 20);
        assert_eq!(page.cut(&mut found, |id| *id), None);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let query = PageQuery {
            limit: Some("0".into()),
            cursor: Some("x".into()),
        };
        let Invalid(faults) = query.check::<Cursor>().expect_err("both are wrong");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["limit", "cursor"]);
    }

    #[test]
    fn foreign_stamps_are_refused() {
        for text in [
            "",
            "t",
            "t5",
            "t5-",
            "t-5",
            "n5",
            "t05-5",
            "t5-0",
            "t5-5-5",
            "t3afff44180-1",
        ] {
            assert_eq!(text.parse::<Stamp>(), Err(()), "{text:?}");
        }
    }

    proptest! {
        /// Wherever the entries are, and though several are of one second: the pages are the list, in order.
        #[test]
        fn pages_of_several_databases_are_one_list(
            entries in prop::collection::btree_map(1i64..60, (1i64..6, 0usize..3), 0..40),
            limit in 1u32..8,
        ) {
            let stamp = |(id, (second, _)): (&i64, &(i64, usize))| Stamp {
                at: Moment(0).plus_seconds(*second),
                id: *id,
            };
            let mut expected: Vec<Stamp> = entries.iter().map(stamp).collect();
            expected.sort_by_key(|stamp| std::cmp::Reverse(*stamp));
            let mut databases = [const { Vec::new() }; 3];
            for entry in &entries {
                databases[entry.1.1].push(stamp(entry));
            }
            databases.iter_mut().for_each(|one| one.sort_by_key(|stamp| std::cmp::Reverse(*stamp)));

            let (mut listed, mut cursor) = (Vec::new(), None);
            loop {
                let query = PageQuery { limit: Some(limit.to_string()), cursor };
                let page: Page<Stamp> = query.check().expect("a good question");
                let before = page.before();
                let found = databases.iter().flat_map(|one| {
                    let older = one.iter().filter(move |stamp| **stamp < before);
                    older.take(limit as usize + 1).copied()
                });
                let mut found = page.newest(found.collect(), |stamp| *stamp);
                let next: Option<Stamp> = page.cut(&mut found, |stamp| *stamp);
                prop_assert!(found.len() <= limit as usize);
                listed.extend(found);
                match next {
                    Some(next) => cursor = Some(next.to_string()),
                    None => break,
                }
            }
            prop_assert_eq!(listed, expected);
        }
    }
}
