//! What goes wrong again and again, and is told once.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that may not work for a while.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// It failed. True when that is to be told: the time before it worked, or failed otherwise.
    pub fn is_news(&self, why: &str) -> bool {
        let mut known = self.known();
        if known.as_deref() == Some(why) {
            return false;
        }
        *known = Some(why.to_owned());
        true
    }

    /// Whether it failed the last time.
    pub fn lasts(&self) -> bool {
        self.known().is_some()
    }

    /// It worked. True when it had not the time before.
    pub fn is_over(&self) -> bool {
        self.known().take().is_some()
    }

    /// No code panics while it holds this.
    fn known(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_it_begins_when_its_cause_changes_and_when_it_is_over() {
        let trouble = Trouble::default();
        assert!(!trouble.is_over() && !trouble.lasts());
        assert!(trouble.is_news("refused") && !trouble.is_news("refused"));
        assert!(trouble.is_news("timed out") && !trouble.is_news("timed out"));
        assert!(trouble.lasts() && trouble.is_over() && !trouble.is_over());
        assert!(trouble.is_news("timed out"));
    }
}
