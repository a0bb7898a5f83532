//! Pages of a list, newest first. A cursor names the last entry seen, so entries that come or go
//! meanwhile neither repeat nor hide others, and page one million costs what page one does.

use super::fields::{Fault, Invalid};
use super::listing::is_category;
use serde::Deserialize;
use std::{fmt, str::FromStr};

const MOST: u32 = 100;
const USUAL: u32 = 20;

/// The question as asked.
#[derive(Debug, Default, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
    category: Option<String>,
}

/// The question, checked.
#[derive(Debug, PartialEq)]
pub struct Page {
    pub limit: u32,
    pub after: Option<Cursor>,
    pub category: Option<String>,
}

/// The identifier of the last entry seen; opaque to clients, so that the order may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cursor(pub i64);

impl PageQuery {
    pub fn check(self) -> Result<Page, Invalid> {
        let limit = match self.limit.as_deref().map(str::parse) {
            None => Some(USUAL),
            Some(parsed) => parsed.ok().filter(|limit| (1..=MOST).contains(limit)),
        };
        let after = self.cursor.as_deref().map(str::parse::<Cursor>).transpose();
        let known_spelling = self.category.as_deref().is_none_or(is_category);

        let checks = [
            (
                "limit",
                limit.is_some(),
                "must be a whole number from 1 to 100",
            ),
            (
                "cursor",
                after.is_ok(),
                "must be the `next` of an earlier page",
            ),
            (
                "category",
                known_spelling,
                "must be 1 to 40 of a-z, 0-9 and -",
            ),
        ];
        match (limit, after) {
            (Some(limit), Ok(after)) if known_spelling => Ok(Page {
                limit,
                after,
                category: self.category,
            }),
            _ => Err(Invalid(
                checks
                    .into_iter()
                    .filter(|check| !check.1)
                    .map(fault)
                    .collect(),
            )),
        }
    }
}

fn fault((field, _, detail): (&str, bool, &str)) -> Fault {
    Fault {
        field: field.into(),
        detail: detail.into(),
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
        match i64::from_str_radix(digits, 16) {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: &str, cursor: &str, category: &str) -> PageQuery {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        PageQuery {
            limit: some(limit),
            cursor: some(cursor),
            category: some(category),
        }
    }

    #[test]
    fn a_cursor_survives_the_round_trip() {
        for id in [1, 255, i64::MAX] {
            assert_eq!(Cursor(id).to_string().parse(), Ok(Cursor(id)));
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in ["", "n", "5", "n-1", "n0", "nzz", "n10000000000000000"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn nothing_asked_is_the_first_page() {
        let page = PageQuery::default().check().expect("a good question");
        assert_eq!(
            page,
            Page {
                limit: 20,
                after: None,
                category: None
            }
        );
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let Invalid(faults) = query("0", "x", "Ä")
            .check()
            .expect_err("all three are wrong");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["limit", "cursor", "category"]);
        assert!(query("101", "", "").check().is_err());
        assert!(query("100", "n1", "tools").check().is_ok());
    }
}
