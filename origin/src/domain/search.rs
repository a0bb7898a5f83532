//! What of all listings somebody wants to see.

use super::days::{Days, day, written};
use super::fields::{Faults, Invalid, NO_DAY};
use super::listing::is_category;
use super::page::{Cursor, Page};
use serde::Deserialize;
use std::{fmt::Write, ops::RangeInclusive};

const MOST_WORDS: usize = 8;
const MOST_CHARACTERS: usize = 100;

/// Combining diacritical marks.
const MARK: RangeInclusive<char> = '\u{300}'..='\u{36f}';

/// The question as asked.
#[derive(Debug, Default, Deserialize)]
pub struct SearchQuery {
    limit: Option<String>,
    cursor: Option<String>,
    q: Option<String>,
    category: Option<String>,
    place: Option<String>,
    price_from: Option<String>,
    price_to: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl SearchQuery {
    #[cfg(test)]
    pub fn for_place(place: &str) -> Self {
        Self {
            place: Some(place.into()),
            ..Self::default()
        }
    }

    pub fn for_words(words: &str, most: u32) -> Self {
        Self {
            q: Some(words.into()),
            limit: Some(most.to_string()),
            ..Self::default()
        }
    }
}

/// The question, checked. Every condition that there is must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub page: Page,
    /// Lower case, letters and digits; the last one may have only begun. Where none of what was typed is a word,
    /// nothing has it.
    pub words: Option<Vec<String>>,
    pub category: Option<String>,
    pub place: Option<String>,
    /// Cents a day, both included.
    pub price_from: Option<i64>,
    pub price_to: Option<i64>,
    /// Free on all of these days.
    pub days: Option<Days>,
}

impl SearchQuery {
    pub fn check(self) -> Result<Search, Invalid> {
        let mut faults = Faults::default();
        let search = Search {
            page: Page::read(self.limit.as_deref(), self.cursor.as_deref(), &mut faults),
            words: words(self.q.as_deref(), &mut faults),
            place: place(self.place, &mut faults),
            price_from: price("price_from", self.price_from.as_deref(), &mut faults),
            price_to: price("price_to", self.price_to.as_deref(), &mut faults),
            days: days(self.from.as_deref(), self.to.as_deref(), &mut faults),
            category: self.category,
        };
        let known_spelling = search.category.as_deref().is_none_or(is_category);
        let rule = "must be 1 to 40 of a-z, 0-9 and -";
        faults.note("category", known_spelling, rule);
        faults.finish(search)
    }
}

impl Search {
    /// The query that asks this from there on. All that people wrote is percent-encoded.
    pub fn query_after(&self, cursor: Cursor) -> String {
        let mut query = format!("limit={}&cursor={cursor}", self.page.limit);
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                write!(query, "&{name}={}", encoded(&value)).expect("text can be appended to");
            }
        };
        add("q", self.words.as_ref().map(|words| words.join(" ")));
        add("category", self.category.clone());
        add("place", self.place.clone());
        add("price_from", self.price_from.map(|cents| cents.to_string()));
        add("price_to", self.price_to.map(|cents| cents.to_string()));
        add("from", self.days.map(|days| written(days.first)));
        add("to", self.days.map(|days| written(days.last)));
        query
    }
}

/// As a name is compared with others, whatever their case. Upper case, as `ß` has one of two letters; of what is lower
/// case first, as `ẞ` has not.
pub fn folded(name: &str) -> String {
    name.trim().to_lowercase().to_uppercase()
}

/// What somebody types, as words to look for. Marks that are characters of their own are left out, as they are where
/// it is looked for.
fn words(text: Option<&str>, faults: &mut Faults) -> Option<Vec<String>> {
    let text = text.filter(|text| !text.trim().is_empty())?;
    let plain: String = text.to_lowercase().replace(|c: char| MARK.contains(&c), "");
    let words = plain.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let few = words.len() <= MOST_WORDS && text.chars().count() <= MOST_CHARACTERS;
    faults.note("q", few, "must have at most 8 words and 100 characters");
    Some(words)
}

fn place(text: Option<String>, faults: &mut Faults) -> Option<String> {
    let good = |text: &String| (1..=120).contains(&text.chars().count()) && !text.contains('\0');
    faults.note(
        "place",
        text.as_ref().is_none_or(good),
        "must have 1 to 120 characters",
    );
    text
}

fn price(field: &str, text: Option<&str>, faults: &mut Faults) -> Option<i64> {
    let cents = text?
        .parse()
        .ok()
        .filter(|cents| (0..=10_000_000).contains(cents));
    let rule = "must be a whole number of cents from 0 to 10000000";
    faults.note(field, cents.is_some(), rule);
    cents
}

/// One day alone is that day.
fn days(from: Option<&str>, to: Option<&str>, faults: &mut Faults) -> Option<Days> {
    let first = day(from.or(to)?);
    let last = day(to.or(from)?);
    faults.note("from", from.is_none() || first.is_some(), NO_DAY);
    faults.note("to", to.is_none() || last.is_some(), NO_DAY);
    let days = Days {
        first: first?,
        last: last?,
    };
    faults.note("to", days.first <= days.last, "must not be before `from`");
    Some(days)
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            other => write!(encoded, "%{other:02X}").expect("text can be appended to"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = SearchQuery {
            limit: Some("0".into()),
            q: Some("a b c d e f g h i".into()),
            category: Some("Ä".into()),
            place: Some(String::new()),
            price_from: Some("-1".into()),
            from: Some("2026-02-30".into()),
            ..SearchQuery::default()
        };
        let Invalid(faults) = wrong.check().expect_err("all are wrong");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            named,
            ["limit", "q", "place", "price_from", "from", "category"]
        );
    }

    #[test]
    fn what_operators_mean_to_a_database_is_no_word() {
        let query = SearchQuery {
            q: Some("Leiter* NEAR(\"x\") -y OR".into()),
            ..SearchQuery::default()
        };
        let search = query.check().expect("a good question");
        let words = ["leiter", "near", "x", "y", "or"].map(str::to_owned);
        assert_eq!(search.words, Some(words.to_vec()));
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        for (one, other) in [
            ("österreicher Straße", "Österreicher STRASSE"),
            ("GROẞE GASSE", " große gasse "),
            ("Οδός", "ΟΔΌΣ"),
            ("Ðjúpavogur", "ðJÚPAVOGUR"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("Muhle"), folded("Mühle"));
    }

    proptest! {
        #[test]
        fn a_folded_name_is_that_of_its_lower_and_upper_case(name in ".{0,12}") {
            prop_assert_eq!(folded(&name), folded(&name.to_lowercase()));
            prop_assert_eq!(folded(&folded(&name)), folded(&name));
        }
    }

    #[test]
    fn nothing_typed_asks_for_all_and_no_word_for_nothing() {
        let words = |typed: &str| {
            let query = SearchQuery::for_words(typed, 1);
            query.check().expect("a good question").words
        };
        assert_eq!(words(" "), None);
        assert_eq!(words("!!!"), Some(Vec::new()));
        assert_eq!(
            words("\u{130}zmir Cafe\u{301}s"),
            Some(vec!["izmir".into(), "cafes".into()])
        );
    }

    #[test]
    fn the_next_page_is_asked_for_in_the_same_words() {
        let query = SearchQuery {
            q: Some("red kayak".into()),
            place: Some("Mühle & Co".into()),
            to: Some("2026-05-31".into()),
            ..SearchQuery::default()
        };
        let search = query.check().expect("a good question");
        assert_eq!(
            search.query_after(Cursor(255)),
            "limit=20&cursor=nff&q=red%20kayak&place=M%C3%BChle%20%26%20Co\
             &from=2026-05-31&to=2026-05-31"
        );
    }
}
