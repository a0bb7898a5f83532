//! Answers from what is lent here: things that have the words of the question in their text.

use super::{Answer, Processor};
use crate::domain::listing::{Availability, Listing};
use crate::domain::search::SearchQuery;
use crate::jobs::Failure;
use crate::store::Store;
use std::sync::Arc;

const MOST_FOUND: u32 = 3;

/// As many as a search takes.
const MOST_WORDS: usize = 8;

/// Words of questions that say nothing about the thing.
const EMPTY_WORDS: [&str; 30] = [
    "a", "an", "and", "any", "anybody", "are", "borrow", "can", "could", "do", "does", "for",
    "free", "have", "i", "in", "is", "lend", "me", "my", "need", "of", "please", "somebody", "the",
    "there", "to", "want", "where", "you",
];

pub struct Rules {
    store: Arc<Store>,
}

impl Rules {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Processor for Rules {
    fn process<'a>(&'a self, text: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let words = telling_words(text);
            if words.is_empty() {
                return Ok("What would you like to borrow?".into());
            }
            let unreadable = |_| Failure::ForGood("it can't be searched for".into());
            let search = SearchQuery::for_words(&words, MOST_FOUND).check();
            let found = self.store.listings(&search.map_err(unreadable)?).await?;
            Ok(answer(&words, &found))
        })
    }
}

/// The question's words that say what it is about, as far as a search takes them.
fn telling_words(text: &str) -> String {
    let words = text
        .split(|letter: char| !letter.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !EMPTY_WORDS.contains(&word.as_str()));
    let mut taken = String::new();
    for word in words.take(MOST_WORDS) {
        if taken.chars().count() + 1 + word.chars().count() > 100 {
            break;
        }
        if !taken.is_empty() {
            taken.push(' ');
        }
        taken += &word;
    }
    taken
}

fn answer(words: &str, found: &[Listing]) -> String {
    if found.is_empty() {
        return format!("Nobody lends that at the moment: {words}.");
    }
    let lines = found.iter().take(MOST_FOUND as usize).map(|listing| {
        let draft = &listing.draft;
        let when = match &draft.availability {
            Availability::Now(true) => "now".to_owned(),
            Availability::Now(false) => "not now".to_owned(),
            Availability::Between { from, to } => format!("from {from} to {to}"),
        };
        let (euros, cents) = (draft.price_cents / 100, draft.price_cents % 100);
        format!(
            "{}, {}, {euros}.{cents:02} euros a day, {when}",
            draft.title, draft.place
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_searched_by_the_words_that_tell_something() {
        assert_eq!(
            telling_words("Can I borrow a wooden ladder, please?"),
            "wooden ladder"
        );
        assert_eq!(telling_words("is there any?"), "");
        assert!(telling_words(&"ladder ".repeat(200)).len() <= 100);
    }

    #[test]
    fn what_nobody_lends_is_said_so() {
        assert_eq!(
            answer("kayak", &[]),
            "Nobody lends that at the moment: kayak."
        );
    }
}
