//! Stretches of time, from a moment up to another, which is not part of it.

use super::clock::Moment;
use super::fields::{Fields, Invalid};
use serde::Serialize;
use serde_json::Value;
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    pub from: Moment,
    pub to: Moment,
}

impl Span {
    /// Fields `from` and `to`, among others.
    pub fn among(fields: &mut Fields) -> Self {
        let span = Self {
            from: fields.moment("from"),
            to: fields.moment("to"),
        };
        fields.fault_unless(span.from < span.to, "to", "must be after `from`");
        span
    }

    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let span = Self::among(&mut fields);
        fields.finish(span)
    }

    pub fn seconds(self) -> i64 {
        self.to.seconds() - self.from.seconds()
    }

    pub fn covers(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    /// The same time in as few spans as it takes, in order.
    pub fn merged(mut spans: Vec<Self>) -> Vec<Self> {
        spans.sort_unstable();
        let mut merged: Vec<Self> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => merged.push(span),
            }
        }
        merged
    }
}

/// In seconds since 1970, as 1780272000/1780275600.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.from.seconds(), self.to.seconds())
    }
}

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = text.split_once('/').ok_or(())?;
        let moment = |seconds: &str| seconds.parse().map(|s| Moment(0).plus_seconds(s));
        Ok(Self {
            from: moment(from).map_err(drop)?,
            to: moment(to).map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(from: i64, to: i64) -> Span {
        let moment = |seconds| Moment(0).plus_seconds(seconds);
        Span {
            from: moment(from),
            to: moment(to),
        }
    }

    #[test]
    fn what_ends_when_another_begins_does_not_overlap_it() {
        assert!(!span(1, 2).overlaps(span(2, 3)) && !span(2, 3).overlaps(span(1, 2)));
        assert!(span(1, 3).overlaps(span(2, 3)) && span(1, 3).covers(span(2, 3)));
        assert!(!span(2, 3).covers(span(1, 3)));
    }

    proptest! {
        #[test]
        fn merging_keeps_the_time_and_leaves_gaps(
            spans in prop::collection::vec((0i64..30, 1i64..6), 0..8),
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(from, long)| span(from, from + long)).collect();
            let merged = Span::merged(spans.clone());
            for second in 0..40 {
                let is_in = |spans: &[Span]| spans.iter().any(|one| one.covers(span(second, second + 1)));
                prop_assert_eq!(is_in(&spans), is_in(&merged));
            }
            prop_assert!(merged.is_sorted_by(|one, next| one.to < next.from));
            for one in merged {
                prop_assert_eq!(one.to_string().parse(), Ok(one));
            }
        }
    }
}
