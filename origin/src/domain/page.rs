//! Pages of a list, newest first. A cursor names the last entry seen, so entries that come or go
//! meanwhile neither repeat nor hide others, and page one million costs what page one does.

use super::fields::{Faults, Invalid};
use serde::Deserialize;
use std::{fmt, str::FromStr};

const MOST: u32 = 100;
const USUAL: u32 = 20;

/// A question for one page, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub limit: u32,
    pub after: Option<Cursor>,
}

/// The identifier of the last entry seen; opaque to clients, so that the order may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cursor(pub i64);

/// The question as asked, for lists that are asked nothing else.
#[derive(Debug, Default, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

impl PageQuery {
    pub fn check(self) -> Result<Page, Invalid> {
        let mut faults = Faults::default();
        let page = Page::read(self.limit.as_deref(), self.cursor.as_deref(), &mut faults);
        faults.finish(page)
    }
}

impl Page {
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

    /// Entries older than this are on the page.
    pub fn before(&self) -> i64 {
        self.after.map_or(i64::MAX, |cursor| cursor.0)
    }

    /// Cuts what was found, one more than the page holds if there is more, and says where the next
    /// page begins.
    pub fn cut<T>(&self, found: &mut Vec<T>, id: impl Fn(&T) -> i64) -> Option<Cursor> {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        found.last().filter(|_| more).map(|last| Cursor(id(last)))
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
        let digits = text.strip_prefix('n').ok_or(())?;
        // As they are written here: a page has one cursor, and an edge one key for it.
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.starts_with('0') || !digits.bytes().all(plain) {
            return Err(());
        }
        match i64::from_str_radix(digits, 16) {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let page = PageQuery::default().check().expect("a good question");
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
        let Invalid(faults) = query.check().expect_err("both are wrong");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["limit", "cursor"]);
    }
}
