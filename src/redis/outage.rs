//! That Redis can't be used: told when it begins, with what is to be done, and when it is over.

use crate::observe::Trouble;
use std::fmt::Display;

pub struct Outage {
    /// What Redis is used for.
    what: &'static str,
    /// What is done without it.
    meanwhile: &'static str,
    trouble: Trouble,
}

impl Outage {
    pub fn new(what: &'static str, meanwhile: &'static str) -> Outage {
        let trouble = Trouble::default();
        Outage {
            what,
            meanwhile,
            trouble,
        }
    }

    /// It fails. What comes of one cause differs from try to try, so that the first is told.
    pub fn goes_on(&self, why: &impl Display) {
        if self.trouble.is_news("") {
            let (what, meanwhile) = (self.what, self.meanwhile);
            tracing::warn!(
                "Redis can't be used for {what}: {why}; meanwhile {meanwhile}. It is tried again: see that it \
                 answers at redis.url from this machine, and takes the user and password there"
            );
        }
    }

    pub fn is_over(&self) {
        if self.trouble.is_over() {
            tracing::info!("Redis is used for {} again", self.what);
        }
    }
}
